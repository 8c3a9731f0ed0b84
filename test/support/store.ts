// Stores of tests: a definition, a root with real databases and files, a destination, and hooks that a test can make
// fail, wait, or do something. Everything lies in a directory of its own below the engine's.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { onTestFinished } from 'vitest';
import type { BackupOptions, Operation, OperationOptions } from '../../client/protocols.js';
import { ControlDatabase } from '../../control/control-database.js';
import type { RollbackPoint } from '../../control/control-database.js';
import type { HookName } from '../../domain/definition.js';
import type { Manifest } from '../../domain/manifest.js';
import type { BackupReport, PlanReport, RestoreReport, RestoreSource } from '../../domain/protocol.js';
import type { StoreDefinitionInput } from '../../domain/schema/definition.js';
import { treeDigest } from './tree-digest.js';
import { eventually } from './engine.js';
import type { TestEngine } from './engine.js';

type RootInput = StoreDefinitionInput['roots'][string];

export interface StoreOptions extends Omit<RootInput, 'path'> {
  readonly hooks?: readonly HookName[];
  readonly hookTimeoutSeconds?: number;
  readonly gates?: StoreDefinitionInput['gates'];
  readonly backup?: Partial<StoreDefinitionInput['backup']>;
  readonly rollback?: StoreDefinitionInput['rollback'];
  readonly schedules?: StoreDefinitionInput['schedules'];
  /** Files of the root by relative path; `*.db` are made by `databases` instead. */
  readonly files?: Readonly<Record<string, string>>;
  /** Files of a second root, `more`; without them there is none. */
  readonly more?: Readonly<Record<string, string>>;
  /** SQL by relative path of the database. */
  readonly contents?: Readonly<Record<string, string>>;
}

export const ITEMS =
  "CREATE TABLE item (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO item (v) VALUES ('one'), ('two'), ('three');";
const OPTIONS: OperationOptions = { requestedBy: 'test' };
export const LATEST: RestoreSource = { kind: 'backup', backup: 'latest' };
export const LATEST_POINT: RestoreSource = { kind: 'rollback', point: 'latest' };

/** Runs statements on a database, made in WAL mode if it is absent. */
export function sql(path: string, statements: string, journalMode = 'wal'): void {
  mkdirSync(dirname(path), { recursive: true });
  const database = new Database(path);
  database.pragma(`journal_mode = ${journalMode}`);
  database.exec(statements);
  database.close();
}

/** The first column of a query. On a copy: reading a WAL database leaves sidecars beside it, in an artefact too. */
export function column(path: string, query: string): unknown[] {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-look-'));
  const copy = join(directory, 'copy.db');
  for (const suffix of ['', '-wal']) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
  const database = new Database(copy);
  try {
    return database.prepare(query).pluck().all();
  } finally {
    database.close();
    rmSync(directory, { recursive: true });
  }
}

let made = 0;

/** Makes a store whose name begins with `purpose`; its definition goes when the running test ends. */
export function makeStore(engine: TestEngine, purpose: string, options: StoreOptions = {}): TestStore {
  made += 1;
  const store = new TestStore(engine, `${purpose}-${made}`, options);
  onTestFinished(() => store.forget());
  return store;
}

export class TestStore {
  readonly name: string;
  readonly directory: string;
  readonly root: string;
  /** Of the second root, where there is one. */
  readonly moreRoot: string;
  readonly destination: string;
  readonly #engine: TestEngine;
  #options: StoreOptions;

  constructor(engine: TestEngine, name: string, options: StoreOptions) {
    this.#engine = engine;
    this.#options = options;
    this.name = name;
    this.directory = join(engine.directory, name);
    this.root = join(this.directory, 'live');
    this.moreRoot = join(this.directory, 'more');
    this.destination = join(this.directory, 'backups');
    mkdirSync(this.root, { recursive: true });
    mkdirSync(join(this.directory, 'hooks'));
    for (const [path, content] of Object.entries(options.contents ?? { 'a.db': ITEMS })) sql(this.path(path), content);
    for (const [path, content] of Object.entries(options.files ?? { 'files/one': 'one', 'files/deep/two': 'two' }))
      this.write(path, content);
    for (const [path, content] of Object.entries(options.more ?? {})) this.writeMore(path, content);
    this.define({});
  }

  /** Where the lock, the fence and the rollback points are. */
  get controlDirectory(): string {
    const inside = join(this.root, '.holdfast');
    return existsSync(inside) ? inside : join(this.directory, '.holdfast', 'live');
  }

  /** Writes the definition anew, with some of its options changed. */
  define(changed: StoreOptions): void {
    this.#options = { ...this.#options, ...changed };
    const {
      databases,
      trees,
      drop,
      gates,
      backup,
      rollback,
      schedules,
      more,
      hooks = ['detach', 'attach'],
      hookTimeoutSeconds = 30,
    } = this.#options;
    const script = join(this.directory, 'hooks', 'hook.sh');
    writeFileSync(script, HOOK_SCRIPT.replaceAll('DIRECTORY', join(this.directory, 'hooks')), { mode: 0o755 });
    const definition: StoreDefinitionInput = {
      holdfast: 1,
      store: this.name,
      roots: {
        data: {
          path: this.root,
          databases: databases ?? [{ path: 'a.db' }],
          trees: trees ?? [{ path: 'files' }],
          ...(drop === undefined ? {} : { drop }),
        },
        ...(more === undefined ? {} : { more: { path: this.moreRoot, trees: [{}] } }),
      },
      hooks: Object.fromEntries(
        hooks.map((name) => [name, { argv: ['/bin/sh', script], timeoutSeconds: hookTimeoutSeconds }]),
      ),
      backup: { ...(backup?.vault === undefined && { destination: this.destination }), ...backup },
      ...(gates === undefined ? {} : { gates }),
      ...(rollback === undefined ? {} : { rollback }),
      ...(schedules === undefined ? {} : { schedules }),
    };
    // JSON is YAML
    const path = join(this.#engine.definitionsDirectory, `${this.name}.yaml`);
    writeFileSync(path, JSON.stringify(definition));
    chmodSync(path, 0o644);
  }

  forget(): void {
    rmSync(join(this.#engine.definitionsDirectory, `${this.name}.yaml`), { force: true });
  }

  path(relative: string): string {
    return join(this.root, relative);
  }

  write(relative: string, content: string): void {
    mkdirSync(dirname(this.path(relative)), { recursive: true });
    writeFileSync(this.path(relative), content);
  }

  writeMore(relative: string, content: string): void {
    mkdirSync(this.moreRoot, { recursive: true });
    writeFileSync(join(this.moreRoot, relative), content);
  }

  /** Directories that hold backups: the destination, and that of what restores replace. */
  get destinations(): readonly string[] {
    const kept = this.#options.rollback?.destination;
    return [this.destination, ...(kept === undefined || kept === null ? [] : [kept])].filter((path) =>
      existsSync(path),
    );
  }

  read(relative: string): string {
    return readFileSync(this.path(relative), 'utf8');
  }

  items(database = 'a.db'): unknown[] {
    return column(this.path(database), 'SELECT v FROM item ORDER BY id');
  }

  addItem(value: string, database = 'a.db'): void {
    sql(this.path(database), `INSERT INTO item (v) VALUES ('${value}')`);
  }

  /**
   * Names, modes, owners, times and contents of the live root, without what merely reading a database leaves behind: the
   * index of its log, a log without a frame, and so the time of the root itself.
   * @param except files to leave out: SQLite's online copy of a database has another change counter than the original
   */
  async digest(...except: readonly string[]): Promise<string> {
    const isFleeting = (path: string): boolean =>
      except.includes(path) || path.endsWith('-shm') || (path.endsWith('-wal') && statSync(this.path(path)).size === 0);
    return (await treeDigest(this.root, { times: 'below', skip: isFleeting })).sha256;
  }

  async backup(options: Partial<BackupOptions> = {}): Promise<BackupReport> {
    return (await this.#engine.holdfast.backup(this.name, { ...OPTIONS, ...options })).result();
  }

  async plan(source: RestoreSource = LATEST, options: Partial<OperationOptions> = {}): Promise<PlanReport> {
    return (await this.#engine.holdfast.plan(this.name, source, { ...OPTIONS, ...options })).result();
  }

  /** Plans, and confirms exactly that plan. */
  async restore(source: RestoreSource = LATEST, options: Partial<OperationOptions> = {}): Promise<RestoreReport> {
    const { host } = options;
    const { digest } = await this.plan(source, host === undefined ? {} : { host });
    return (await this.#engine.holdfast.restore(this.name, source, digest, { ...OPTIONS, ...options })).result();
  }

  /** Waits for nothing: the execution, or the request before it, goes on. */
  async startRestore(source: RestoreSource = LATEST): Promise<Operation<RestoreReport>> {
    const { digest } = await this.plan(source);
    return this.#engine.holdfast.restore(this.name, source, digest, OPTIONS);
  }

  rollback(): Promise<RestoreReport> {
    return this.restore(LATEST_POINT);
  }

  manifest(artefact: string): Manifest {
    return JSON.parse(readFileSync(join(artefact, 'manifest.json'), 'utf8')) as Manifest;
  }

  /** Every name in the destination, hidden ones too. */
  published(): string[] {
    return existsSync(this.destination) ? readdirSync(this.destination).sort() : [];
  }

  isFenced(): boolean {
    return existsSync(join(this.controlDirectory, 'fence.json'));
  }

  epochCounter(): number {
    const path = join(this.controlDirectory, 'epoch.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { counter: number }).counter : 0;
  }

  /** Nobody holds the lock, and nothing is staged that is no rollback point. */
  leftovers(): string[] {
    const database = ControlDatabase.open(this.controlDirectory);
    try {
      const { owner } = database.lock();
      const open = database.openOperations().map((operation) => `open operation ${operation.protocol}`);
      const kept = new Set(database.rollbackPoints().map((point) => point.roots[0]?.tree.split('/').at(-2)));
      const staged = [this.controlDirectory, join(this.directory, '.holdfast', 'more')]
        .map((control) => join(control, 'trees'))
        .flatMap((trees) => (existsSync(trees) ? readdirSync(trees).filter((name) => !kept.has(name)) : []));
      const partial = this.destinations.flatMap((path) => readdirSync(path)).filter((name) => name.startsWith('.'));
      return [
        ...(owner === null ? [] : [`lock of ${owner.protocol}`]),
        ...open,
        ...staged,
        ...partial,
        ...(this.isFenced() ? ['fence'] : []),
      ];
    } finally {
      database.close();
    }
  }

  rollbackPoints(): readonly RollbackPoint[] {
    const database = ControlDatabase.open(this.controlDirectory);
    try {
      return database.rollbackPoints();
    } finally {
      database.close();
    }
  }

  /** Names of the hooks that ran, in order, since the last call. */
  hooksRun(): string[] {
    const log = join(this.directory, 'hooks', 'log');
    const names = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [];
    rmSync(log, { force: true });
    return names;
  }

  /** The hook exits with 1 from now on, or `times` times. */
  failHook(name: HookName, times = 1_000_000): void {
    writeFileSync(this.#hookFile('fail', name), 'x'.repeat(times));
  }

  mendHook(name: HookName): void {
    rmSync(this.#hookFile('fail', name), { force: true });
  }

  /** What the hook does from now on, in shell. */
  scriptHook(name: HookName, script: string): void {
    writeFileSync(this.#hookFile('do', name), script);
  }

  /** The hook waits from now on, until it is let go. */
  holdHook(name: HookName): { readonly held: () => Promise<boolean>; readonly letGo: () => void } {
    const hold = this.#hookFile('hold', name);
    writeFileSync(hold, '');
    return {
      held: () => eventually(`hook ${name} is held`, () => existsSync(this.#hookFile('held', name))),
      letGo: () => {
        rmSync(hold, { force: true });
        rmSync(this.#hookFile('held', name), { force: true });
      },
    };
  }

  #hookFile(deed: string, name: HookName): string {
    return join(this.directory, 'hooks', `${deed}-${name}`);
  }
}

/** `fail-<hook>` holds one character for each time that it is to fail. */
const HOOK_SCRIPT = `
cd 'DIRECTORY' || exit 9
echo "$HOLDFAST_HOOK" >> log
while [ -e "hold-$HOLDFAST_HOOK" ]; do
  [ -e "held-$HOLDFAST_HOOK" ] || : > "held-$HOLDFAST_HOOK"
  sleep 0.02
done
if [ -s "fail-$HOLDFAST_HOOK" ]; then
  echo "told to fail" >&2
  truncate -s -1 "fail-$HOLDFAST_HOOK"
  exit 1
fi
if [ -e "do-$HOLDFAST_HOOK" ]; then . "./do-$HOLDFAST_HOOK"; fi
`;
