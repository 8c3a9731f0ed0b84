// Runs a program to its end within limits, in a process group of its own that is killed whole when they are passed.
import { spawn } from 'node:child_process';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import type { Environment } from '../client/state-directory.js';

export interface BoundedOptions {
  readonly timeoutMillis: number;
  readonly environment: Environment;
  readonly directory?: string;
  readonly signal?: AbortSignal;
  /** Killed when `measure` has not changed for `millis`. */
  readonly stall?: { readonly millis: number; readonly measure: () => number };
  /** Called every ENGINE_LIMITS.progressIntervalMillis. */
  readonly onTick?: () => void;
}

export interface BoundedResult {
  /** Null when it was killed or could not be started; `output` then ends with why. */
  readonly status: number | null;
  /** The end of stdout and stderr, up to OUTPUT_BYTES. */
  readonly output: string;
}

const OUTPUT_BYTES = 16 * 1024;

/** Never rejects: what became of the program is in the result. */
export function runBounded(program: string, argv: readonly string[], options: BoundedOptions): Promise<BoundedResult> {
  return new Promise((resolve) => {
    const child = spawn(program, argv, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...options.environment },
      ...(options.directory === undefined ? {} : { cwd: options.directory }),
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-OUTPUT_BYTES);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    let killedBecause: string | undefined;
    const kill = (why: string): void => {
      killedBecause ??= why;
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, 'SIGKILL');
    };
    const timer = setTimeout(() => kill(`it took longer than ${options.timeoutMillis} ms`), options.timeoutMillis);
    const ticker = setInterval(() => options.onTick?.(), ENGINE_LIMITS.progressIntervalMillis);
    const watcher = watchStall(options.stall, kill);
    const abort = (): void => kill('it was called off');
    options.signal?.addEventListener('abort', abort, { once: true });
    if (options.signal?.aborted === true) abort();
    const finish = (status: number | null, why?: string): void => {
      clearTimeout(timer);
      clearInterval(ticker);
      clearInterval(watcher);
      options.signal?.removeEventListener('abort', abort);
      const reason = killedBecause ?? why;
      resolve({
        status: reason === undefined ? status : null,
        output: reason === undefined ? output : `${output}\n${reason}`,
      });
    };
    child.once('error', (error) => finish(null, error.message));
    child.once('close', (status) => finish(status));
  });
}

function watchStall(stall: BoundedOptions['stall'], kill: (why: string) => void): NodeJS.Timeout | undefined {
  if (stall === undefined) return undefined;
  let measured = stall.measure();
  let since = performance.now();
  return setInterval(() => {
    const now = stall.measure();
    if (now !== measured) [measured, since] = [now, performance.now()];
    else if (performance.now() - since > stall.millis) kill(`nothing arrived for ${stall.millis} ms`);
  }, 500);
}
