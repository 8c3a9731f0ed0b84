// Progress for whoever looks: a line that is rewritten on a terminal, now and then a line of its own elsewhere, an
// event with --json. What the rewritten line is made of comes from the heartbeats of the running step.
import type { RunProgress } from '../client/protocols.js';
import type { Progress } from '../domain/protocol.js';
import { formatBytes } from './output.js';
import type { Output } from './output.js';

/** Between two lines of progress where nothing can be rewritten. */
const LINE_MILLIS = 5_000;
const COLUMNS = 80;
const CLEAR_LINE = '\r\u001B[K';

/** Whose progress it is: one workflow id has many runs. */
export type ShownRun = Pick<RunProgress, 'workflowId' | 'runId'>;

export interface Renderer {
  /** @param label for people, before the line; empty where there is but one run */
  show(run: ShownRun, progress: Progress, label?: string): void;
  /** A note for people that does not run into the line of progress. */
  note(line: string): void;
  end(): void;
}

export function createRenderer(output: Output): Renderer {
  if (output.json) return createEvents(output);
  if (output.quiet) return { show: () => undefined, note: () => undefined, end: () => undefined };
  const isRewritable = process.stderr.isTTY === true && process.env['TERM'] !== 'dumb' && !output.verbose;
  const clear = (): void => void (isRewritable && process.stderr.write(CLEAR_LINE));
  const clock = createStepClock();
  const lines = new Map<string, { readonly step: string; readonly at: number }>();
  return {
    show({ runId }, progress, label = '') {
      const line = `${label}${describeProgress({ ...progress, elapsedMillis: clock(progress, runId) })}`;
      if (isRewritable) {
        process.stderr.write(`${CLEAR_LINE}${line.slice(0, (process.stderr.columns || COLUMNS) - 1)}`);
        return;
      }
      const last = lines.get(runId);
      const now = performance.now();
      if (last !== undefined && progress.step === last.step && now - last.at < LINE_MILLIS) return;
      lines.set(runId, { step: progress.step, at: now });
      process.stderr.write(`${line}\n`);
    },
    note(line) {
      clear();
      output.note(line);
    },
    end: clear,
  };
}

/** A heartbeat is looked at more often than it is sent: each is one event. */
function createEvents(output: Output): Renderer {
  const told = new Map<string, string>();
  return {
    show({ workflowId, runId }, progress) {
      const said = JSON.stringify(progress);
      if (told.get(runId) === said) return;
      told.set(runId, said);
      output.event('progress', { workflowId, runId, ...progress, ...rateOf(progress) });
    },
    note: () => undefined,
    end: () => undefined,
  };
}

/** A step that reports nothing new still takes time: counted here, from what its last heartbeat said. */
function createStepClock(): (progress: Progress, runId: string) => number {
  const seen = new Map<string, { readonly progress: string; readonly elapsedMillis: number; readonly at: number }>();
  return (progress, runId) => {
    const said = JSON.stringify(progress);
    const last = seen.get(runId);
    if (last?.progress === said) return last.elapsedMillis + (performance.now() - last.at);
    seen.set(runId, { progress: said, elapsedMillis: progress.elapsedMillis, at: performance.now() });
    return progress.elapsedMillis;
  };
}

function rateOf({ bytesDone, bytesTotal, elapsedMillis }: Progress): {
  readonly bytesPerSecond: number;
  readonly secondsLeft: number | null;
} {
  const bytesPerSecond = elapsedMillis === 0 ? 0 : Math.round((bytesDone * 1000) / elapsedMillis);
  const left =
    bytesTotal === null || bytesPerSecond === 0
      ? null
      : Math.max(0, Math.round((bytesTotal - bytesDone) / bytesPerSecond));
  return { bytesPerSecond, secondsLeft: left };
}

/** One line, the weightiest first, because a narrow terminal cuts its end; only what is known. */
export function describeProgress(progress: Progress): string {
  const { step, phase, bytesDone, bytesTotal, filesDone, filesTotal, elapsedMillis } = progress;
  const { bytesPerSecond, secondsLeft } = rateOf(progress);
  const parts = [phase === 'begins' ? step : `${step}: ${phase}`];
  if (bytesTotal !== null && bytesTotal > 0)
    parts.push(`${Math.min(100, Math.floor((bytesDone * 100) / bytesTotal))}% of ${formatBytes(bytesTotal)}`);
  if (secondsLeft !== null && secondsLeft > 0) parts.push(`${secondsLeft} s left`);
  else if (elapsedMillis >= 1000) parts.push(`${Math.floor(elapsedMillis / 1000)} s`);
  if (bytesPerSecond > 0) parts.push(`${formatBytes(bytesPerSecond)}/s`);
  if (filesTotal !== null && filesTotal > 0) parts.push(`${filesDone} of ${filesTotal} files`);
  return parts.join(', ');
}
