// Hooks: commands of the application, run without a shell in a process group of their own that can be killed, with a
// time limit. They run outside every critical section, and each may be run more than once: resume and attach are idempotent.
import { spawn } from 'node:child_process';
import type { HookDefinition, HookName } from '../domain/definition.js';
import { LIMITS } from '../domain/limits.js';
import { Stop } from '../domain/stop.js';

export interface HookContext {
  readonly store: string;
  readonly operation: string;
  readonly signal?: AbortSignal;
  /** More for the environment of the command, e.g. HOLDFAST_ROOT. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** What a hook inherits: enough to find programs and a locale, nothing secret of the worker. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'USER', 'LOGNAME', 'XDG_RUNTIME_DIR'] as const;

/** Of a hook's last line in a message. */
const LINE_CHARS_MAX = 200;
/** How long after its exit a hook's last output is still waited for. */
const PIPE_GRACE_MILLIS = 250;

/**
 * Runs one hook to its end.
 * @returns its standard output, at most LIMITS.hookOutputBytesMax
 * @throws Stop hook_failed when it exits with anything but 0, is killed by its time limit, or can't be started
 */
export function runHook(name: HookName, hook: HookDefinition, context: HookContext): Promise<string> {
  const [command, ...parameters] = hook.argv;
  if (command === undefined) throw new Error('defect: a hook without a command passed the schema');
  const environment: Record<string, string> = {
    HOLDFAST_HOOK: name,
    HOLDFAST_STORE: context.store,
    HOLDFAST_OPERATION: context.operation,
    ...context.environment,
  };
  for (const key of INHERITED) {
    const value = process.env[key];
    if (value !== undefined) environment[key] = value;
  }
  if (context.signal?.aborted === true)
    return Promise.reject(new Stop('hook_failed', `hook ${name} was not run: the step was cancelled`, { hook: name }));
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
      cwd: '/',
    });
    const output = { stdout: '', stderr: '' };
    let ended: string | undefined;
    const kill = (why: string): void => {
      ended = why;
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const timer = setTimeout(() => kill(`it did not end within ${hook.timeoutSeconds} s`), hook.timeoutSeconds * 1000);
    const onAbort = (): void => kill('the step was cancelled');
    context.signal?.addEventListener('abort', onAbort, { once: true });
    const failed = (why: string, cause?: unknown): Stop =>
      new Stop(
        'hook_failed',
        `hook ${name} failed: ${[why, lastLineOf(output.stderr || output.stdout)].filter((part) => part !== '').join(': ')}`,
        { hook: name, argv: hook.argv, lastOutput: output.stderr.slice(-2000) || output.stdout.slice(-2000) },
        { cause },
      );
    const done = (): void => {
      clearTimeout(timer);
      context.signal?.removeEventListener('abort', onAbort);
    };
    child.stdout
      .setEncoding('utf8')
      .on('data', (chunk: string) => (output.stdout = (output.stdout + chunk).slice(0, LIMITS.hookOutputBytesMax)));
    child.stderr
      .setEncoding('utf8')
      .on('data', (chunk: string) => (output.stderr = (output.stderr + chunk).slice(-LIMITS.hookOutputBytesMax)));
    child.on('error', (error) => {
      done();
      reject(failed('it could not be started', error));
    });
    const settle = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (ended !== undefined) reject(failed(ended));
      else if (code === 0) resolve(output.stdout);
      else reject(failed(signal === null ? `exit status ${code}` : `killed by ${signal}`));
    };
    child.on('close', settle);
    // A hook may leave a daemon behind that holds the pipes open: `close` would then never come
    child.on('exit', () => {
      done();
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, PIPE_GRACE_MILLIS);
    });
  });
}

/** What a person reads first of a failed program; the rest is in the details. */
function lastLineOf(text: string): string {
  const line = text.trimEnd().split('\n').at(-1) ?? '';
  return line.replaceAll(/\p{Cc}/gu, ' ').slice(0, LINE_CHARS_MAX);
}

/** Kills a process group at once; one that is gone is fine. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    // The group ended by itself in the meantime
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
