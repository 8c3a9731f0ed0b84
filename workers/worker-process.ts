// Starts the worker as a process of its own: native code and activities may bring it down, and the supervisor stays.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import type { Environment } from '../client/state-directory.js';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import { startTimeOf } from '../control/clock.js';
import { endOf, endProcess } from './processes.js';
import type { ProcessEnd } from './processes.js';

export interface RunningWorker {
  readonly pid: number;
  readonly ended: Promise<ProcessEnd>;
  /** Lets critical sections finish: up to ENGINE_LIMITS.workerGraceMillis. */
  readonly stop: () => Promise<void>;
}

export interface StartWorkerOptions {
  /** The embedded engine; absent, the worker reads TEMPORAL_* like every client of a cluster. */
  readonly embedded?: { readonly address: string; readonly namespace: string };
  readonly directory: string;
  readonly environment: Environment;
  readonly signal?: AbortSignal;
}

/** What a worker says instead of `ready` when it does not start: the STOP that ended it. */
export interface WorkerRefusal {
  readonly stop: { readonly code: StopCode; readonly message: string; readonly details: StopDetails };
}

/**
 * Threads come and go in a worker. Left to itself the C library gives each an arena of its own and keeps what they give
 * back, and V8 lets each have 48 MiB of garbage. And V8 lets a heap become four times what was alive in it before it
 * collects: of a store with 100,000 files 100 MiB are. Collected more often it must not mark beside the work, in threads that
 * take the processors from those that pack: a backup of 1.9 GiB took 33 s of processor time with that.
 */
const MEMORY = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072' };
const V8_OPTIONS = ['--max-semi-space-size=4', '--heap-growing-percent=50', '--no-concurrent-marking'];

/**
 * Returns once the worker polls both of its queues. STOP engine_unavailable when it ends before, or is not in time; what
 * the worker itself says, such as host_ambiguous.
 */
export async function startWorker(options: StartWorkerOptions): Promise<RunningWorker> {
  const program = fileURLToPath(new URL('./main.js', import.meta.url));
  const argv =
    options.embedded === undefined
      ? []
      : ['--address', options.embedded.address, '--namespace', options.embedded.namespace];
  const env = { ...MEMORY, ...options.environment, HOLDFAST_STATE_DIRECTORY: options.directory };
  const child = fork(program, argv, {
    detached: true,
    execArgv: V8_OPTIONS,
    cwd: options.directory,
    env,
    stdio: ['ignore', process.stderr, process.stderr, 'ipc'],
  });
  const ended = endOf(child);
  const { pid } = child;
  if (pid === undefined) {
    const reason = await ended.then((end) => JSON.stringify(end), String);
    throw new Stop('engine_unavailable', 'the worker does not start', { reason });
  }
  const name = { pid, startTime: startTimeOf(pid) ?? '' };
  const stop = async (): Promise<void> => {
    await endProcess(name, ENGINE_LIMITS.workerGraceMillis + ENGINE_LIMITS.workerStopMarginMillis);
    await ended;
  };
  try {
    await new Promise<void>((resolve, reject) => {
      const refuse = (reason: string): void =>
        reject(new Stop('engine_unavailable', 'the worker does not start', { reason }));
      const timer = setTimeout(() => refuse('it does not poll in time'), ENGINE_LIMITS.readyMillis);
      options.signal?.addEventListener('abort', () => refuse('it was called off'), { once: true });
      child.once('message', (said: 'ready' | WorkerRefusal) => {
        if (said === 'ready') resolve();
        else reject(new Stop(said.stop.code, said.stop.message, said.stop.details));
      });
      ended
        .then(({ status, signal }) => refuse(signal ?? `status ${status}`), reject)
        .finally(() => clearTimeout(timer));
      child.once('message', () => clearTimeout(timer));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid, ended, stop };
}
