// Starts and addresses the processes of actor.ts, and makes the databases they work on.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { Stop } from '../../../domain/stop.js';
import type { CutDatabase, CutHandlers, CutRequest } from '../../../sqlite/cut.js';

export interface ActorReplies {
  chain: { readonly round: number; readonly commitMillisMax: number };
  begin: boolean;
  commit: boolean;
  spill: boolean;
  exclusive: boolean;
  insert: boolean;
  insertOpen: boolean;
  tryLock: 'locked' | 'busy';
  truncate: boolean;
  hash: Readonly<Record<string, string>>;
}

export type ActorRequest =
  | { readonly do: 'chain'; readonly paths: readonly string[] }
  | { readonly do: 'begin' | 'insert' | 'insertOpen'; readonly path: string; readonly rows: number }
  | { readonly do: 'commit' | 'spill' | 'exclusive' | 'tryLock' | 'truncate'; readonly path: string }
  | { readonly do: 'hash'; readonly directory: string };

export class Actor {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #chain: Promise<ActorReplies['chain']> | null = null;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./actor.js', import.meta.url)), [], { execArgv: [] });
    this.#exited = new Promise((resolve) => this.#child.once('exit', () => resolve()));
  }

  call<Request extends ActorRequest>(request: Request): Promise<ActorReplies[Request['do']]> {
    return new Promise((resolve, reject) => {
      const onMessage = (message: { reply?: unknown; failed?: string; started?: boolean }): void => {
        if (message.started === true) return;
        this.#child.off('message', onMessage);
        if (message.failed === undefined) resolve(message.reply as ActorReplies[Request['do']]);
        else reject(new Error(message.failed));
      };
      this.#child.on('message', onMessage);
      this.#child.send(request);
    });
  }

  /** Resolves when the first round is written. */
  async startChain(paths: readonly string[]): Promise<void> {
    const started = new Promise<void>((resolve) => {
      this.#child.on('message', (message: { started?: boolean }) => message.started === true && resolve());
    });
    this.#chain = this.call({ do: 'chain', paths });
    await Promise.race([started, this.#chain]);
  }

  async stopChain(): Promise<ActorReplies['chain']> {
    this.#child.send('stop');
    if (this.#chain === null) throw new Error('no chain was started');
    return this.#chain;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** One test's directory and processes, removed by `end`. */
export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
  readonly #actors: Actor[] = [];

  actor(): Actor {
    const actor = new Actor();
    this.#actors.push(actor);
    return actor;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Makes a database with the table that actors write to; closed, so without sidecars. */
  database(name: string, options: { journalMode?: string; pageSize?: number; rows?: number } = {}): string {
    const path = this.path(name);
    const connection = new Database(path);
    connection.pragma(`page_size = ${options.pageSize ?? 4096}`);
    connection.pragma(`journal_mode = ${options.journalMode ?? 'wal'}`);
    connection.pragma('synchronous = OFF');
    connection.exec('CREATE TABLE chain (n INTEGER PRIMARY KEY, filler BLOB)');
    const insert = connection.prepare('INSERT INTO chain VALUES (?, randomblob(1000))');
    connection.transaction(() => {
      for (let row = 1; row <= (options.rows ?? 0); row += 1) insert.run(row);
    })();
    connection.close();
    return path;
  }

  async end(): Promise<void> {
    for (const actor of this.#actors) await actor.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A cut of `sources` into `<source>.copy<suffix>`, with limits that a healthy test never meets. */
export function cutRequest(sources: readonly string[], overrides: Partial<CutRequest> = {}, suffix = ''): CutRequest {
  return {
    databases: sources.map((source): CutDatabase => ({ source, target: `${source}.copy${suffix}`, locking: 'sqlite' })),
    lockWrites: true,
    statAtCut: [],
    quiesceTimeoutMillis: 30_000,
    pinSecondsMax: 60,
    walGrowthBytesMax: 1024 ** 3,
    ...overrides,
  };
}

export const QUIET: CutHandlers = {
  onInstant: () => undefined,
  onCopied: () => undefined,
  onProgress: () => undefined,
};

/** Highest row, with proof that every row up to it is there and the file is whole. */
export function chainLength(path: string): number {
  const connection = new Database(path, { readonly: true });
  try {
    const row = connection.prepare('SELECT count(*) AS rows, coalesce(max(n), 0) AS highest FROM chain').get() as {
      rows: number;
      highest: number;
    };
    if (row.rows !== row.highest) throw new Error(`${path}: ${row.rows} rows up to ${row.highest}`);
    const verdict = connection.pragma('integrity_check', { simple: true });
    if (verdict !== 'ok') throw new Error(`${path}: ${String(verdict)}`);
    return row.highest;
  } finally {
    connection.close();
  }
}

export function sha256Of(path: string): string | null {
  return existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : null;
}

/** The STOP that `promise` ends with; an error that is none is thrown on, a success fails the test. */
export async function stopOf(promise: Promise<unknown>): Promise<Stop> {
  const outcome = await promise.then(
    () => 'it succeeded',
    (error: unknown) => error,
  );
  if (outcome instanceof Stop) return outcome;
  throw outcome instanceof Error ? outcome : new Error(String(outcome));
}

/** The process ids of this process's children that run a program of that file name. */
export function childrenRunning(program: string, parent = process.pid): readonly number[] {
  return readdirSync(`/proc/${parent}/task`)
    .flatMap((task) => readFileSync(`/proc/${parent}/task/${task}/children`, 'utf8').split(' '))
    .filter((pid) => pid !== '' && commandOf(Number(pid)).includes(program))
    .map(Number);
}

/** Empty for a process that is gone, or dead and not yet reaped. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
