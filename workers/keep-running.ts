// Keeps one process running: starts it again with back-off when it ends, and gives up when it keeps failing.
import { setTimeout as delay } from 'node:timers/promises';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { Stop, STOPS } from '../domain/stop.js';
import type { ProcessEnd } from './processes.js';

export interface Kept {
  readonly ended: Promise<ProcessEnd>;
  readonly stop: () => Promise<void>;
}

export interface KeepOptions<T extends Kept> {
  /** For messages: "temporal", "the worker". */
  readonly what: string;
  readonly start: (signal: AbortSignal) => Promise<T>;
  readonly onUp: (running: T) => void;
  readonly onDown: (reason: string) => void;
  /** Ends it: the process is stopped, and the promise resolves. */
  readonly signal: AbortSignal;
}

function whenAborted(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted');
    signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
}

/** Trying again mends no configuration. */
function isRefusedByConfiguration(problem: unknown): boolean {
  return problem instanceof Stop && STOPS[problem.code].exit === 78;
}

/** Resolves after the signal, with the process stopped. STOP engine_unavailable, or what the last start threw. */
export async function keepRunning<T extends Kept>(options: KeepOptions<T>): Promise<void> {
  const { signal, what } = options;
  const aborted = whenAborted(signal);
  let failures = 0;
  while (!signal.aborted) {
    const begin = performance.now();
    const started = await options.start(signal).catch((error: unknown) => ({ problem: error }));
    let problem: unknown;
    if ('problem' in started) {
      // Called off while it started: start() has cleaned up after itself
      if (signal.aborted) return;
      problem = started.problem;
    } else {
      if (!signal.aborted) options.onUp(started);
      const end = await Promise.race([started.ended, aborted]);
      if (end === 'aborted') return await started.stop();
      problem = new Stop('engine_unavailable', `${what} ended by itself`, { ...end });
    }
    failures = performance.now() - begin > ENGINE_LIMITS.restartForgetMillis ? 1 : failures + 1;
    if (failures >= ENGINE_LIMITS.restartFailuresMax || isRefusedByConfiguration(problem)) throw problem;
    options.onDown(problem instanceof Error ? problem.message : String(problem));
    const pause = Math.min(ENGINE_LIMITS.restartDelayMillis * 2 ** (failures - 1), ENGINE_LIMITS.restartDelayMillisMax);
    await Promise.race([delay(pause, undefined, { ref: false }), aborted]);
  }
}
