// doctor: what would refuse a backup or a restore is found before one is asked for, each with its remedy.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { examineStore } from '../../control/doctor.js';
import type { Finding } from '../../control/doctor.js';
import { roomOf } from '../../control/store-room.js';
import type { StoreDefinition } from '../../domain/definition.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import type { StoreDefinitionInput } from '../../domain/schema/definition.js';
import { requires } from '../support/requires.js';
import { startChild, temporaryDirectory } from './room.js';

function definitionIn(directory: string, changed: (root: string) => Partial<StoreDefinitionInput>): StoreDefinition {
  const root = join(directory, 'live');
  const backup = { destination: join(directory, 'backups') };
  return toStoreDefinition(
    storeDefinitionSchema.parse({ holdfast: 1, store: 'tested', roots: {}, backup, ...changed(root) }),
  );
}

/** A state directory without notes. */
const NOWHERE = '/nonexistent';

const of = (findings: readonly Finding[], check: string): readonly Finding[] =>
  findings.filter((finding) => finding.check === check);

describe('hooks', () => {
  test('whose program is absent, a directory or not executable are told, each with its remedy, and none is run', async () => {
    const directory = temporaryDirectory();
    const program = join(directory, 'stop.sh');
    const ran = join(directory, 'ran');
    writeFileSync(program, `#!/bin/sh\n: > '${ran}'\n`, { mode: 0o644 });
    mkdirSync(join(directory, 'live'));
    const definition = definitionIn(directory, (root) => ({
      roots: { data: { path: root, trees: [{}] } },
      hooks: {
        detach: { argv: [program] },
        attach: { argv: [join(directory, 'absent'), 'start'] },
        caches: { argv: [directory] },
      },
    }));
    const found = await examineStore(definition, NOWHERE, NOWHERE);
    expect(['detach', 'attach', 'caches'].flatMap((name) => of(found, `hook ${name}`))).toMatchObject([
      { state: 'stop', what: expect.stringContaining(`${program} can't be executed`) },
      {
        state: 'stop',
        what: expect.stringContaining('absent does not exist'),
        remedy: expect.stringContaining('hooks.attach.argv'),
      },
      { state: 'stop', what: expect.stringContaining(`${directory} is no file`) },
    ]);
    chmodSync(program, 0o755);
    expect(of(await examineStore(definition, NOWHERE, NOWHERE), 'hook detach')).toMatchObject([{ state: 'good' }]);
    expect(existsSync(ran)).toBe(false);
  });
});

describe('the audit log', () => {
  test('that can not be read is told, and no other check is lost', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'live'));
    const definition = definitionIn(directory, (root) => ({ roots: { data: { path: root, trees: [{}] } } }));
    const { controlDirectory } = await roomOf(definition);
    mkdirSync(join(controlDirectory, 'audit.jsonl'), { recursive: true });
    const found = await examineStore(definition, NOWHERE, NOWHERE);
    expect(of(found, 'audit log')).toMatchObject([{ state: 'stop', what: expect.stringMatching(/^io_error: /) }]);
    expect(of(found, 'in use')).toHaveLength(1);
    rmSync(join(controlDirectory, 'audit.jsonl'), { recursive: true });
    execFileSync('mkfifo', [join(controlDirectory, 'audit.jsonl')]);
    expect(of(await examineStore(definition, NOWHERE, NOWHERE), 'audit log')).toMatchObject([{ state: 'stop' }]);
  });
});

describe('databases', () => {
  test('that lack what the definition names are told one by one, and are not changed by the look', async () => {
    const directory = temporaryDirectory();
    const root = join(directory, 'live');
    mkdirSync(root);
    const writers = ['a.db', 'b.db', 'c.db'].map((name) => {
      const database = new Database(join(root, name));
      database.pragma('journal_mode = wal');
      database.exec('CREATE TABLE item (id INTEGER PRIMARY KEY)');
      return database;
    });
    const before = readdirSync(root);
    const define = (changed: Partial<StoreDefinitionInput['roots'][string]>): StoreDefinition =>
      definitionIn(directory, (path) => ({ roots: { data: { path, ...changed } } }));
    const look = async (definition: StoreDefinition): Promise<readonly Finding[]> =>
      of(await examineStore(definition, NOWHERE, NOWHERE), 'tables of data');
    expect(
      await look(
        define({
          databases: [
            { path: 'a.db', requiredTables: ['item', 'orders', 'lines'] },
            { path: 'b.db', sequences: [{ table: 'item', column: 'number' }] },
            { path: 'c.db', requiredTables: ['it*'], migrations: { table: 'item', orderBy: 'id' } },
          ],
        }),
      ),
    ).toMatchObject([
      {
        state: 'stop',
        what: expect.stringMatching(/^a\.db: required_table_missing: .*: orders, lines$/),
        remedy: expect.stringContaining('roots.data.databases'),
      },
      { state: 'stop', what: expect.stringMatching(/^b\.db: definition_invalid: .*: item, number$/) },
    ]);
    expect(await look(define({ databases: [{ path: '*.db', requiredTables: ['item'] }] }))).toMatchObject([
      { state: 'good', what: expect.stringContaining('in 3 databases') },
    ]);
    expect(await look(define({ databases: [{ path: '*.db' }] }))).toEqual([]);
    expect(readdirSync(root)).toEqual(before);
    for (const writer of writers) writer.close();
  });
});

test('a root that does not exist is told as that, with what brings it back', async () => {
  const directory = temporaryDirectory();
  const found = await examineStore(
    definitionIn(directory, (path) => ({
      roots: { data: { path, trees: [{}] }, more: { path: `${path}2`, trees: [{}] } },
    })),
    NOWHERE,
    NOWHERE,
  );
  expect(of(found, 'root data')).toMatchObject([
    {
      state: 'stop',
      what: expect.stringContaining(`${join(directory, 'live')} does not exist`),
      remedy: expect.stringMatching(/roots\.data\.path.*`holdfast restore tested latest`/),
    },
  ]);
  expect(found.filter(({ what }) => /ENOENT|failed with/.test(what))).toEqual([]);
});

test('databases and links that are in no backup are told, unless the definition excludes or drops them', async () => {
  const directory = temporaryDirectory();
  const root = join(directory, 'live');
  for (const name of ['', 'cache', 'tree']) mkdirSync(join(root, name));
  for (const path of ['a.db', 'y.db', 'old.db', 'cache/c.db', 'tree/t.db']) {
    const database = new Database(join(root, path));
    database.exec('CREATE TABLE item (id)');
    database.close();
  }
  symlinkSync('/srv/elsewhere', join(root, 'uploads'));
  symlinkSync('t.db', join(root, 'tree', 'excluded'));
  writeFileSync(join(root, 'state.json'), '{}');
  const databases = [{ path: 'a.db' }];
  const trees = [{ path: 'tree', exclude: ['excluded'] }];
  const look = async (changed: Partial<StoreDefinitionInput['roots'][string]>): Promise<readonly Finding[]> => {
    const definition = definitionIn(directory, (path) => ({ roots: { data: { path, databases, trees, ...changed } } }));
    return of(await examineStore(definition, NOWHERE, NOWHERE), 'outside the members of data');
  };
  expect(await look({ drop: ['old.db'] })).toMatchObject([
    { state: 'note', what: 'in no backup: cache/c.db (a database), uploads (a link), y.db (a database)' },
  ]);
  expect(await look({ trees: [{ exclude: ['cache/**', 'uploads', 'tree/excluded'] }] })).toEqual([]);
});

/** What doctor finds as an ordinary user whom nothing belongs to. */
async function foundByOther(definition: StoreDefinition, check: string): Promise<Finding> {
  const child = startChild({ room: await roomOf(definition), does: 'examine', check, stateDirectory: NOWHERE });
  return JSON.parse((await child.line()) ?? '') as Finding;
}

test.skipIf(requires('root'))(
  'a process that can not be looked into is named, with what would help (needs root)',
  async () => {
    const directory = temporaryDirectory();
    chmodSync(directory, 0o755);
    mkdirSync(join(directory, 'live'));
    const definition = definitionIn(directory, (path) => ({ roots: { data: { path, trees: [{}] } } }));
    const { state, what, remedy } = await foundByOther(definition, 'in use');
    expect(state).toBe('stop');
    expect(what).toMatch(/cannot_tell_in_use: process \d+ \(\S.*?\) can not be inspected/);
    expect(remedy).toMatch(/detach hook.*pid namespace/);
  },
);

test.skipIf(requires('root'))(
  'members of other users are noted: an ordinary user can not give them back (needs root)',
  async () => {
    const directory = temporaryDirectory();
    chmodSync(directory, 0o755);
    mkdirSync(join(directory, 'live'));
    writeFileSync(join(directory, 'live', 'theirs'), 'x');
    chownSync(join(directory, 'live'), 12345, 12345);
    const definition = definitionIn(directory, (path) => ({ roots: { data: { path, trees: [{}] } } }));
    expect(await foundByOther(definition, 'owners of data')).toMatchObject({
      state: 'note',
      what: expect.stringMatching(/^1 members belong to other users, such as theirs: .* STOP owner_differs$/),
    });
  },
);
