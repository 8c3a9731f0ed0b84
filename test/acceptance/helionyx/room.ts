// Helionyx for tests: the definition and the Makefile that holdfast ships, below a directory of the test's own, with a
// small application: events are lines of JSON, projections are made of them by a script.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { parse } from 'yaml';
import type { StoreDefinitionInput } from '../../../domain/schema/definition.js';
import { PROGRAM, run, startProgram, startProgramOnTerminal } from '../../cli/room.js';
import type { Ended, RunningCommand } from '../../cli/room.js';
import type { TestEngine } from '../../support/engine.js';
import { column, sql } from '../../support/store.js';
import { treeDigest } from '../../support/tree-digest.js';

const PROFILE = readFileSync('profiles/helionyx/helionyx-live.yaml', 'utf8');
const SQLITE = createRequire(import.meta.url).resolve('better-sqlite3');

/** Makes the projections of the events anew, unless their last event is the last one there is. */
const REBUILD = `
const { existsSync, readdirSync, readFileSync, rmSync } = require('node:fs');
const Database = require(${JSON.stringify(SQLITE)});
const [directory] = process.argv.slice(2);
const events = readdirSync(directory + '/events').filter((name) => name.endsWith('.jsonl')).sort()
  .flatMap((name) => readFileSync(directory + '/events/' + name, 'utf8').split('\\n').filter(Boolean).map((line) => JSON.parse(line)));
const path = directory + '/projections/projections.db';
const last = events.at(-1)?.seq ?? 0;
if (existsSync(path)) {
  const present = new Database(path);
  const { seq } = present.prepare('SELECT coalesce(max(seq), 0) AS seq FROM note').get();
  present.close();
  if (seq === last) process.exit(0);
}
for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
const made = new Database(path);
made.pragma('journal_mode = wal');
made.exec('CREATE TABLE note (seq INTEGER PRIMARY KEY, text TEXT)');
for (const { seq, text } of events) made.prepare('INSERT INTO note VALUES (?, ?)').run(seq, text);
made.close();
`;

const SETTINGS = {
  EVENT_STORE_PATH: 'data/events',
  PROJECTIONS_DB_PATH: './data/projections/projections.db',
  API_HOST: '127.0.0.1',
  API_PORT: '8000',
  LOG_LEVEL: 'INFO',
  OPENAI_API_KEY: 'sk-proj-Xq8vT3kLm2Nw9Rb4Yc7ZdP1sGh6Jf0Ua',
  TELEGRAM_BOT_TOKEN: '8123456789:AAHq3kVb7Wx2Yc9Zd4Re6Tf1Ug5Ih8Oj0Pl',
};

let made = 0;

export class Helionyx {
  readonly environment: string;
  readonly store: string;
  readonly directory: string;
  readonly #engine: TestEngine;

  constructor(engine: TestEngine, { confirmation = 'typed' }: { readonly confirmation?: 'typed' | 'none' } = {}) {
    made += 1;
    this.#engine = engine;
    this.environment = `env${made}`;
    this.store = `helionyx-${this.environment}`;
    this.directory = join(engine.directory, `srv${made}`);
    mkdirSync(this.path('data/events'), { recursive: true });
    mkdirSync(this.path('data/projections'));
    writeFileSync(this.path('rebuild.cjs'), REBUILD);
    this.settings();
    this.define((definition) => ({ ...definition, confirmation }));
    for (const text of ['one', 'two', 'three']) this.accept(text);
    onTestFinished(() => rmSync(join(engine.definitionsDirectory, `${this.store}.yaml`), { force: true }));
  }

  path(relative: string): string {
    return join(this.directory, relative);
  }

  /** Writes the application's settings, with some changed; null leaves one out. */
  settings(changed: Readonly<Record<string, string | null>> = {}): void {
    const all = Object.entries({ ENV: this.environment, ...SETTINGS, ...changed });
    writeFileSync(
      this.path(`.env.${this.environment}`),
      all.flatMap(([name, value]) => (value === null ? [] : [`${name}=${value}\n`])).join(''),
    );
  }

  /** Writes the shipped definition for this directory, with what `change` makes of it. */
  define(change: (definition: StoreDefinitionInput) => StoreDefinitionInput = (definition) => definition): void {
    const text = PROFILE.replaceAll('/srv/helionyx', this.directory).replaceAll('live', this.environment);
    const shipped = parse(text) as StoreDefinitionInput;
    const noop = { argv: ['/bin/true'] };
    const rebuild = { argv: [process.execPath, this.path('rebuild.cjs'), this.path('data')] };
    const definition = change({ ...shipped, hooks: { detach: noop, attach: noop, migrate: rebuild } });
    writeFileSync(join(this.#engine.definitionsDirectory, `${this.store}.yaml`), JSON.stringify(definition), {
      mode: 0o644,
    });
  }

  /** An event, and its projection. */
  accept(text: string): void {
    this.append(text);
    sql(
      this.path('data/projections/projections.db'),
      `CREATE TABLE IF NOT EXISTS note (seq INTEGER PRIMARY KEY, text TEXT); INSERT INTO note (text) VALUES ('${text}')`,
    );
  }

  /** An event that no projection has taken up yet. */
  append(text: string): void {
    const path = this.path('data/events/2026-02.jsonl');
    const event = JSON.stringify({ seq: this.events().length + 1, text });
    writeFileSync(path, `${event}\n`, { flag: 'a' });
  }

  events(directory = this.path('data/events')): string[] {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.jsonl'))
      .flatMap((name) => readFileSync(join(directory, name), 'utf8').split('\n'))
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { text: string }).text);
  }

  notes(): unknown[] {
    return column(this.path('data/projections/projections.db'), 'SELECT text FROM note ORDER BY seq');
  }

  backups(kind: 'backups' | 'rollbacks' = 'backups'): string[] {
    const directory = this.path(`data/${kind}/${this.environment}`);
    return readdirSync(directory)
      .filter((name) => !name.startsWith('.'))
      .sort()
      .map((name) => join(directory, name));
  }

  /** Of both directories, without what merely reading a database leaves behind. */
  async digest(): Promise<string> {
    const skip = (path: string): boolean => /-(?:shm|wal)$/.test(path);
    const digests = await Promise.all(
      ['events', 'projections'].map((name) => treeDigest(this.path(`data/${name}`), { times: 'below', skip })),
    );
    return digests.map(({ sha256 }) => sha256).join();
  }

  holdfast(...argv: readonly string[]): Promise<Ended> {
    return run(this.#engine.environment, ...argv);
  }

  /** `make TARGET ENV=… NAME=VALUE …` with pipes. */
  make(target: string, variables: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return startProgram(this.#environment(variables), ...this.#make(target, variables)).ended;
  }

  makeOnTerminal(target: string, variables: Readonly<Record<string, string>>): RunningCommand {
    return startProgramOnTerminal(this.#environment(variables), ...this.#make(target, variables));
  }

  #environment({ CONFIRM_LIVE }: Readonly<Record<string, string>>): Record<string, string | undefined> {
    return { ...this.#engine.environment, ...(CONFIRM_LIVE !== undefined && { CONFIRM_LIVE }) };
  }

  #make(target: string, variables: Readonly<Record<string, string>>): [string, ...string[]] {
    const given = { ENV: this.environment, ...variables, HOLDFAST: `'${process.execPath}' '${PROGRAM}'` };
    const words = Object.entries(given).flatMap(([name, value]) =>
      name === 'CONFIRM_LIVE' ? [] : [`${name}=${value}`],
    );
    return ['make', '-f', 'profiles/helionyx/Makefile', target, ...words];
  }
}
