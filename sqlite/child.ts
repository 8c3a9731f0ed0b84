// Both ends of a process that opens live databases (DESIGN "The cut", step 0): it serves one request and exits.
// It dies with its parent, and the parent never returns before it is gone, so that no pin outlives a call.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { translateErrno } from '../domain/errno.js';
import { Stop } from '../domain/stop.js';
import { outcomeResult, stopOutcome } from './errors.js';
import type { Outcome } from './errors.js';

type Reply<Event, Result> =
  | { readonly type: 'event'; readonly event: Event }
  | Outcome<Result>
  | { readonly type: 'defect'; readonly message: string };

export interface ChildCall<Request, Event> {
  readonly program: URL;
  readonly request: Request;
  /** Called in order; a failure, also of a promise it returns, ends the child and the call. */
  readonly onEvent: (event: Event) => void | Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

const STDERR_CHARS_MAX = 4096;

/**
 * Forks `program`, hands it the request, and resolves with its result once it has exited and every event was handled.
 * Errors: the child's Stop; the reason of `signal` (the child is killed); `io_error` when it can't be started or the
 * kernel ends it; an ordinary Error when it dies otherwise.
 */
export async function callChild<Request, Event, Result>(call: ChildCall<Request, Event>): Promise<Result> {
  call.signal?.throwIfAborted();
  const child = fork(fileURLToPath(call.program), [], {
    serialization: 'advanced',
    execArgv: [],
    env: childEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const failures: { readonly cause: unknown }[] = [];
  const fail = (cause: unknown): void => {
    failures.push({ cause });
    child.kill('SIGKILL');
  };
  const handled: Promise<void>[] = [];
  const replies: Exclude<Reply<Event, Result>, { type: 'event' }>[] = [];
  child.on('message', (message) => {
    const reply = message as Reply<Event, Result>;
    if (reply.type !== 'event') replies.push(reply);
    else handled.push(Promise.resolve(reply.event).then(call.onEvent).catch(fail));
  });
  const onAbort = (): void => fail(call.signal?.reason);
  call.signal?.addEventListener('abort', onAbort, { once: true });
  const ended = ending(child);
  // One that was not started has no channel either; `ended` says why
  if (child.pid !== undefined) {
    child.send({ request: call.request }, (error) => {
      if (error !== null) child.kill('SIGKILL'); // it is gone or going; `ended` says how
    });
  }
  try {
    const end = await ended;
    await Promise.all(handled);
    const [failure] = failures;
    if (failure !== undefined) throw failure.cause;
    const [reply] = replies;
    if (reply === undefined) throw withoutAnswer(end);
    if (reply.type === 'defect') throw new Error(`defect in ${call.program.pathname}: ${reply.message}`);
    return outcomeResult(reply);
  } finally {
    call.signal?.removeEventListener('abort', onAbort);
  }
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** The kernel's answer where memory runs out (SIGKILL) or a mapped page can't be had (SIGBUS) is the machine's refusal. */
function withoutAnswer({ code, signal, stderr }: End): Error {
  if (signal === 'SIGKILL' || signal === 'SIGBUS')
    return new Stop('io_error', `the process that opens the databases was ended by ${signal}`, { signal });
  return new Error(`the process ended without an answer: ${signal ?? `status ${code ?? 'unknown'}`} ${stderr}`.trim());
}

/** No inspector port, no hooks of the parent's runtime: only what the parent's own environment says otherwise. */
function childEnvironment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...rest } = process.env;
  return rest;
}

/** Settles when the process is gone and its channel drained: `exit` alone may come before the last message. */
async function ending(child: ChildProcess): Promise<End> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARS_MAX);
  });
  const drained = new Promise<void>((resolve) => child.once('disconnect', resolve));
  const end = await new Promise<End>((resolve, reject) => {
    child.once('error', (error) => reject(translateErrno(error)));
    child.once('close', (code, signal) => resolve({ code, signal, stderr }));
  });
  await drained;
  return end;
}

/** The child's end: serves the one request of its parent, answers, and exits; exits at once when the parent is gone. */
export function serveParent<Request, Event, Result>(
  serve: (request: Request, send: (event: Event) => void) => Promise<Result>,
): void {
  const answer = (reply: Reply<Event, Result>): void => {
    process.send?.(reply, undefined, undefined, () => process.exit(0));
  };
  process.once('disconnect', () => process.exit(0));
  // A terminal's Ctrl-C and a service manager's stop reach the whole group: the parent decides, and ends us.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  process.once('message', (message) => {
    const { request } = message as { readonly request: Request };
    serve(request, (event) => process.send?.({ type: 'event', event } satisfies Reply<Event, Result>))
      .then((result): Outcome<Result> => ({ type: 'done', result }), stopOutcome)
      .then(answer, (error: unknown) => {
        answer({ type: 'defect', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      });
  });
}
