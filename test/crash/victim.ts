// A worker that dies where a test wants it. It is a real worker process; from some point on strace stops it after each
// system call that changes a name (rename, link, unlink, mkdir): whoever watches lets it go on, or kills it there. Calls
// that only flush are not counted: a SIGKILL loses nothing that was written, so nothing could differ between them.
import { fork, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startTimeOf } from '../../control/clock.js';
import { processesWith } from '../../workers/processes.js';
import type { TestEngine } from '../support/engine.js';

const WORKER = fileURLToPath(new URL('../../workers/main.js', import.meta.url));
const CALLS = 'rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat';

/** A worker of its own host, on the engine of the test. */
export class Victim {
  readonly host: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(host: string, child: ChildProcess, directory: string) {
    this.host = host;
    this.#child = child;
    this.#directory = directory;
  }

  static async start(engine: TestEngine, host: string): Promise<Victim> {
    const log = openSync(join(engine.directory, `${host}.log`), 'a');
    const child = fork(WORKER, ['--address', engine.session.address, '--namespace', engine.session.namespace], {
      env: { ...engine.environment, HOLDFAST_HOST: host },
      cwd: engine.directory,
      stdio: ['ignore', log, log, 'ipc'],
    });
    closeSync(log);
    const [first] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    if (first !== 'ready') throw new Error(`the worker of ${host} did not start`);
    return new Victim(host, child, engine.directory);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('a worker without a pid');
    return pid;
  }

  /**
   * Kills the worker right after its `point`-th call (counted from 1, over all its threads and children), unless `ends`
   * settles before.
   * @returns the calls up to there, and whether it was killed
   */
  async killAt(
    point: number,
    ends: Promise<unknown>,
    begin: () => Promise<void>,
  ): Promise<{ readonly calls: readonly string[]; readonly killed: boolean }> {
    const path = join(this.#directory, `${this.host}.strace`);
    writeFileSync(path, '');
    const strace = spawn(
      'strace',
      [
        '-f',
        '-p',
        String(this.pid),
        '-o',
        path,
        '-s',
        '300',
        '-e',
        `trace=${CALLS}`,
        '-e',
        `inject=${CALLS}:signal=SIGSTOP`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const exited = once(strace, 'exit');
    await attached(strace, exited);
    const state = { ended: false };
    const over = Promise.allSettled([ends.finally(() => (state.ended = true))]);
    const descriptor = openSync(path, 'r');
    try {
      await begin();
      return await this.#watch(descriptor, point, state);
    } finally {
      closeSync(descriptor);
      strace.kill('SIGTERM');
      await this.#releasing(exited);
      void over;
    }
  }

  /**
   * Lets the `nth` of some system calls fail, in each thread that the worker and its children have or start, until `work`
   * is over.
   * @returns what came of the work, and the calls that failed
   */
  async failing<T>(
    { calls, error, nth }: { readonly calls: string; readonly error: string; readonly nth: number },
    work: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly failed: readonly string[] }> {
    const traced = await this.#tracing(
      ['-y', '-e', `trace=${calls}`, '-e', `inject=${calls}:error=${error}:when=${nth}`],
      work,
    );
    return { result: traced.result, failed: traced.changed };
  }

  /**
   * Until `work` is over, the system tells the worker that `directory` is on the filesystem with this magic number.
   * @returns what came of the work, and the answers that were changed
   */
  async told<T>(
    { directory, magic }: { readonly directory: string; readonly magic: number },
    work: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly changed: readonly string[] }> {
    return this.#tracing(toldOf(directory, magic), work);
  }

  /** @returns what came of the work, and the calls that were meddled with */
  async #tracing<T>(
    options: readonly string[],
    work: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly changed: readonly string[] }> {
    const path = join(this.#directory, `${this.host}.strace`);
    writeFileSync(path, '');
    const strace = spawn('strace', ['-f', '-p', String(this.pid), '-o', path, ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(strace, 'exit');
    await attached(strace, exited);
    try {
      const result = await work();
      return {
        result,
        changed: readFileSync(path, 'utf8')
          .split('\n')
          .filter((line) => line.includes('(INJECTED')),
      };
    } finally {
      strace.kill('SIGTERM');
      await exited;
    }
  }

  async #watch(
    descriptor: number,
    point: number,
    state: { readonly ended: boolean },
  ): Promise<{ readonly calls: readonly string[]; readonly killed: boolean }> {
    const calls: string[] = [];
    const last = new Map<string, string>();
    const buffer = Buffer.alloc(64 * 1024);
    let rest = '';
    for (let idle = 0; ; idle += 1) {
      const length = readSync(descriptor, buffer, 0, buffer.length, null);
      if (length === 0) {
        if (state.ended) return { calls, killed: false };
        // A stop that crossed with our signal would last for ever
        if (idle % 50 === 49) this.#continueAll();
        await sleep(1);
        continue;
      }
      const lines = (rest + buffer.toString('utf8', 0, length)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, thread = '', what = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
        if (!what.startsWith('---')) last.set(thread, what);
        if (!what.startsWith('--- SIGSTOP')) continue;
        calls.push(last.get(thread) ?? what);
        if (calls.length === point) {
          await this.kill();
          return { calls, killed: true };
        }
        resume(Number(thread));
      }
    }
  }

  /** Everything of the worker that is stopped goes on: its children, when it has been killed. */
  #continueAll(): void {
    for (const { pid } of this.processes()) resume(pid);
  }

  async #releasing(exited: Promise<unknown>): Promise<void> {
    const gone = exited.then(() => true);
    while (!(await Promise.race([gone, sleep(20)]))) this.#continueAll();
    this.#continueAll();
  }

  /** The worker and what it started, hooks and what they started included. */
  processes(): readonly { readonly pid: number }[] {
    return [...processesWith(`HOLDFAST_HOST=${this.host}`), ...processesWith(`HOLDFAST_STORE=${this.host}`)].filter(
      ({ pid }) => pid !== process.pid,
    );
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  /** Ends what is left, which is nothing but what a failed test left. */
  async end(): Promise<void> {
    await this.kill();
    for (const { pid } of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (startTimeOf(pid) !== undefined) throw error;
      }
    }
  }
}

/** Options of strace that make statfs(2) answer for `directory` that it is on another filesystem. */
export function toldOf(directory: string, magic: number): readonly string[] {
  // f_type, a long, is the first that the call fills in
  const type = Buffer.alloc(8);
  type.writeBigUInt64LE(BigInt(magic));
  return ['-P', directory, '-e', 'trace=statfs', '-e', `inject=statfs:poke_exit=@arg2=${type.toString('hex')}`];
}

async function attached(strace: ChildProcess, exited: Promise<unknown>): Promise<void> {
  let said = '';
  strace.stderr?.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const gone = exited.then(() => 'gone');
  while (!said.includes('attached')) {
    if ((await Promise.race([gone, sleep(5)])) === 'gone') throw new Error(`strace does not attach: ${said}`);
  }
  // One line a thread; the last is there when no more come
  for (let before = ''; before !== said;) {
    before = said;
    await sleep(30);
  }
}

function resume(thread: number): void {
  try {
    process.kill(thread, 'SIGCONT');
  } catch (error) {
    // Gone in the meantime: there is nothing to let go on
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
