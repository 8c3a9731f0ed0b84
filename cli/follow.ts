// Follows a protocol to its end: progress from the heartbeats of its steps, a line that is rewritten only on a
// terminal. The first interrupt asks the protocol to undo and end; the second leaves it to itself.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Holdfast, Operation, RunProgress } from '../client/protocols.js';
import { executionId } from '../domain/names.js';
import type { Progress } from '../domain/protocol.js';
import { formatBytes } from './output.js';
import type { Output } from './output.js';

const POLL_MILLIS = 400;
/** Between two lines of progress where nothing can be rewritten. */
const LINE_MILLIS = 5_000;

/** Waits for the end of an operation. @throws what ended it */
export async function follow<Report>(holdfast: Holdfast, store: string, operation: Operation<Report>, output: Output): Promise<Report> {
  output.event('started', { operation: operation.operation, workflowId: operation.workflowId, runId: operation.runId, url: operation.url ?? null });
  if (operation.url !== undefined) output.note(`Temporal UI: ${operation.url}`);
  const renderer = createRenderer(output);
  let ended = false;
  let interrupts = 0;
  let told = '';
  const onInterrupt = (): void => {
    interrupts += 1;
    if (interrupts > 1) process.exit(130);
    output.note('\ncancelling: the protocol undoes what it has done (interrupt again to leave it to itself)');
    operation.cancel().catch((error: unknown) => output.note(`cancelling failed: ${String(error)}`));
  };
  process.on('SIGINT', onInterrupt);
  const poll = async (): Promise<void> => {
    while (!ended) {
      const { progress, lastFailure } = await look(holdfast, store, operation);
      if (ended) return;
      if (lastFailure !== null && lastFailure.message !== told) {
        told = lastFailure.message;
        output.event('compensating', lastFailure);
        output.note(`\ntried again (attempt ${lastFailure.attempt}) because: ${lastFailure.message}`);
      }
      if (progress !== null) renderer.show(progress);
      await sleep(POLL_MILLIS);
    }
  };
  const polling = poll().catch((error: unknown) => (ended ? undefined : Promise.reject(error)));
  try {
    return await Promise.race([operation.result(), polling.then(() => new Promise<never>(() => undefined))]);
  } finally {
    ended = true;
    process.off('SIGINT', onInterrupt);
    renderer.end();
  }
}

/** A request has its progress in the execution that it started. */
async function look(holdfast: Holdfast, store: string, operation: Operation<unknown>): Promise<RunProgress> {
  const own = await holdfast.progress(operation.workflowId, operation.runId);
  if (own.progress !== null || operation.workflowId === executionId(store)) return own;
  try {
    return await holdfast.progress(executionId(store));
  } catch (error) {
    // Not started yet
    if (error instanceof Error && error.name === 'WorkflowNotFoundError') return own;
    throw error;
  }
}

interface Renderer {
  show(progress: Progress): void;
  end(): void;
}

export function createRenderer(output: Output): Renderer {
  if (output.json) return { show: (progress) => output.event('progress', { ...progress, ...rateOf(progress) }), end: () => undefined };
  if (output.quiet) return { show: () => undefined, end: () => undefined };
  const isTerminal = process.stderr.isTTY === true;
  let last = { step: '', at: 0 };
  return {
    show(progress) {
      const line = describeProgress(progress);
      if (isTerminal) {
        process.stderr.write(`\r\u001B[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
        return;
      }
      const now = performance.now();
      if (progress.step === last.step && now - last.at < LINE_MILLIS) return;
      last = { step: progress.step, at: now };
      process.stderr.write(`${line}\n`);
    },
    end() {
      if (isTerminal) process.stderr.write('\r\u001B[K');
    },
  };
}

function rateOf({ bytesDone, bytesTotal, elapsedMillis }: Progress): { readonly bytesPerSecond: number; readonly secondsLeft: number | null } {
  const bytesPerSecond = elapsedMillis === 0 ? 0 : Math.round((bytesDone * 1000) / elapsedMillis);
  const left = bytesTotal === null || bytesPerSecond === 0 ? null : Math.max(0, Math.round((bytesTotal - bytesDone) / bytesPerSecond));
  return { bytesPerSecond, secondsLeft: left };
}

/** One line: step, phase, percent, bytes, files, rate, time left; only what is known. */
export function describeProgress(progress: Progress): string {
  const { bytesDone, bytesTotal, filesDone, filesTotal } = progress;
  const { bytesPerSecond, secondsLeft } = rateOf(progress);
  const parts = [`${progress.step}: ${progress.phase}`];
  if (bytesTotal !== null && bytesTotal > 0) parts.push(`${Math.min(100, Math.floor((bytesDone * 100) / bytesTotal))}%`, `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
  if (filesTotal !== null && filesTotal > 0) parts.push(`${filesDone} of ${filesTotal} files`);
  if (bytesPerSecond > 0) parts.push(`${formatBytes(bytesPerSecond)}/s`);
  if (secondsLeft !== null) parts.push(`${secondsLeft} s left`);
  return parts.join(', ');
}

