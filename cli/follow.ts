// Follows a protocol to its end: progress from the heartbeats of its steps. The first interrupt asks the protocol to
// undo and end; the second leaves it to itself.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Holdfast, Operation, RunProgress } from '../client/protocols.js';
import { executionId } from '../domain/names.js';
import type { Output } from './output.js';
import { createRenderer } from './render.js';
import type { Renderer } from './render.js';

const POLL_MILLIS = 400;
/** A host whose worker runs takes a step long before. */
const SILENCE_MILLIS = 5_000;
/** As a shell reports a program that an interrupt has ended. */
const EXIT_INTERRUPTED = 130;

/** Waits for the end of an operation. @throws what ended it */
export async function follow<Report>(
  holdfast: Holdfast,
  store: string,
  operation: Operation<Report>,
  output: Output,
): Promise<Report> {
  output.event('started', {
    operation: operation.operation,
    workflowId: operation.workflowId,
    runId: operation.runId,
    url: operation.url ?? null,
  });
  if (operation.url !== undefined) output.note(`Temporal UI: ${operation.url}`);
  const renderer = createRenderer(output);
  const stopListening = onInterrupt(operation, renderer);
  const watching = new AbortController();
  const polling = poll(holdfast, store, operation, output, renderer, watching.signal);
  try {
    // Only a defect ends the polling first
    return await Promise.race([operation.result(), polling.then(() => new Promise<never>(() => undefined))]);
  } finally {
    watching.abort();
    // A call that is tried again after the connection was closed would throw where nobody can catch it
    await Promise.allSettled([polling]);
    stopListening();
    renderer.end();
  }
}

/** SIGTERM too: a unit or a job that is stopped asks for the same as a person at the terminal. */
function onInterrupt(operation: Operation<unknown>, renderer: Renderer): () => void {
  let interrupts = 0;
  const interrupted = (): void => {
    interrupts += 1;
    if (interrupts > 1) process.exit(EXIT_INTERRUPTED);
    renderer.note('cancelling: the protocol undoes what it has done (interrupt again to leave it to itself)');
    operation.cancel().catch((error: unknown) => renderer.note(`cancelling failed: ${String(error)}`));
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, interrupted);
  return () => {
    for (const signal of signals) process.off(signal, interrupted);
  };
}

async function poll(
  holdfast: Holdfast,
  store: string,
  operation: Operation<unknown>,
  output: Output,
  renderer: Renderer,
  signal: AbortSignal,
): Promise<void> {
  const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  const begun = performance.now();
  let hasBegun = false;
  const tellFailure = createFailureTeller(output, renderer);
  while (!signal.aborted) {
    const seen = await look(holdfast, store, operation);
    if (signal.aborted) return;
    if (seen !== undefined) {
      const { progress } = seen;
      tellFailure(seen);
      hasBegun ||= progress !== null;
      if (progress !== null) renderer.show(seen, progress);
    }
    if (!hasBegun && performance.now() - begun > SILENCE_MILLIS) {
      hasBegun = true;
      renderer.note('no step has begun yet: does `holdfast up` run on the host of the store?');
    }
    await Promise.race([sleep(POLL_MILLIS, undefined, { ref: false }), aborted]);
  }
}

/**
 * Says why a step is tried again, and again at every doubling of the attempts: a compensation is tried without end, and
 * nobody should have to remember why.
 */
export function createFailureTeller(output: Output, renderer: Renderer): (run: RunProgress) => void {
  const told = new Map<string, { readonly message: string; readonly attempt: number }>();
  return ({ workflowId, runId, lastFailure }) => {
    const last = told.get(runId);
    if (lastFailure === null || (lastFailure.message === last?.message && lastFailure.attempt < 2 * last.attempt))
      return;
    told.set(runId, lastFailure);
    output.event('compensating', { workflowId, ...lastFailure });
    renderer.note(`tried again (attempt ${lastFailure.attempt}) because: ${lastFailure.message}`);
  };
}

/** A request has its progress in the execution that it started. Undefined while the engine can't say. */
async function look(
  holdfast: Holdfast,
  store: string,
  operation: Operation<unknown>,
): Promise<RunProgress | undefined> {
  try {
    const own = await holdfast.progress(operation.workflowId, operation.runId);
    if (own.progress !== null || operation.workflowId === executionId(store)) return own;
    return await holdfast.progress(executionId(store));
  } catch (error) {
    // An execution that has not started yet; an engine that restarts, or is gone: waiting for the result decides which
    if (error instanceof Error && ['WorkflowNotFoundError', 'ServiceError'].includes(error.name)) return undefined;
    throw error;
  }
}
