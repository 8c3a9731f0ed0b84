// holdfast init: a directory looked at while an application works in it, and a definition that is good at once.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { groupDatabases } from '../../control/draft.js';
import { parseDefinition } from '../../control/definitions.js';
import type { SurveyedDatabase } from '../../control/survey.js';
import { jsonLines, run, startCommand } from './room.js';

let directory = '';
let data = '';
let environment: Environment = {};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-init-'));
  data = join(directory, 'My Data');
  mkdirSync(data);
  environment = {
    PATH: process.env['PATH'],
    HOME: directory,
    HOLDFAST_DEFINITIONS_DIRECTORY: join(directory, 'stores'),
  };
});
afterEach(() => rmSync(directory, { recursive: true }));

function database(path: string, statements: string, journalMode = 'delete'): void {
  mkdirSync(join(data, path, '..'), { recursive: true });
  const connection = new Database(join(data, path));
  connection.pragma(`journal_mode = ${journalMode}`);
  connection.exec(statements);
  connection.close();
}

function file(path: string, text = 'x'): void {
  mkdirSync(join(data, path, '..'), { recursive: true });
  writeFileSync(join(data, path), text);
}

const init = (...argv: readonly string[]): ReturnType<typeof run> =>
  run(environment, 'init', data, '--destination', join(directory, 'backups'), ...argv);
const written = (): string => readFileSync(join(directory, 'stores', 'my-data.yaml'), 'utf8');

describe('init', () => {
  test('finds databases, what is in them, and what happens to files; the definition is good at once', async () => {
    for (const tenant of ['a', 'b', 'c'])
      database(`tenants/${tenant}/tenant.db`, 'CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, text)');
    database(
      'orders',
      "CREATE TABLE orders (x); CREATE TABLE 'odd, name' (x); CREATE TABLE schema_migrations (version TEXT); CREATE VIRTUAL TABLE words USING fts5(w)",
      'wal',
    );
    file('uploads/one');
    symlinkSync('one', join(data, 'uploads/[link]'));
    file('incoming/one');
    file('log/app.log');
    file('state.json', 'x'.repeat(16));
    file('yes', '{}');
    file('cache/thing');
    const command = startCommand(
      environment,
      'init',
      data,
      '--destination',
      join(directory, 'backups'),
      '--observe',
      '2',
    );
    await command.says(/watching/);
    const writer = setInterval(() => {
      appendFileSync(join(data, 'log/app.log'), 'line\n');
      file(`incoming/${String(performance.now())}`);
      writeFileSync(join(data, 'state.json'), performance.now().toFixed(3).padStart(16));
    }, 50);
    const { status, stdout } = await command.ended;
    clearInterval(writer);
    expect([status, stdout]).toEqual([0, expect.stringContaining('holdfast doctor my-data')]);
    const definition = parseDefinition(written(), 'my-data.yaml');
    expect(definition.roots).toEqual([
      expect.objectContaining({
        path: data,
        databases: [
          expect.objectContaining({ path: 'orders', migrations: { table: 'schema_migrations', orderBy: 'version' } }),
          expect.objectContaining({ path: 'tenants/*/tenant.db', migrations: null }),
        ],
        trees: [
          expect.objectContaining({ path: 'incoming', policy: 'immutable' }),
          expect.objectContaining({ path: 'log', policy: 'verify' }),
          expect.objectContaining({ path: 'tenants', policy: 'verify' }),
          expect.objectContaining({ path: 'uploads', policy: 'verify', exclude: [String.raw`\[link\]`] }),
          expect.objectContaining({ path: '.', include: ['state.json', 'yes'], policy: 'verify' }),
        ],
      }),
    ]);
    for (const line of [
      '# journal mode wal, 3 tables',
      '# 3 databases, journal mode delete, 1 tables',
      '# requiredTables: ["odd, name", orders]',
      '# sequences: [{ table: note, column: id }]',
      '# policy: append',
      'log: 1 file; some grew in 2 s',
      'state.json changed in 2 s, which a backup refuses',
      'Not captured, because of its name: cache (1 file)',
    ])
      expect(written()).toContain(line);
    expect(await run(environment, 'config', 'validate')).toMatchObject({ status: 0 });
    const doctor = jsonLines(await run(environment, 'doctor', 'my-data', '--json'));
    expect(doctor.lines).toContainEqual(expect.objectContaining({ check: 'members of data', state: 'good' }));
  });

  test('each commented key is a key: uncommented, the definition is still accepted', async () => {
    database('a.db', 'CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, text)');
    file('cache/thing');
    await init('--observe', '0');
    const uncommented = written().replaceAll(/^( *)# (?=\w+:(?: |$)|  \w+: \{)/gm, '$1');
    const definition = parseDefinition(uncommented, 'my-data.yaml');
    expect(definition.roots[0]).toMatchObject({
      databases: [{ requiredTables: ['note'], sequences: [{ table: 'note', column: 'id' }] }],
      drop: ['cache/**'],
    });
    expect(Object.keys(definition.hooks).sort()).toEqual(['attach', 'detach']);
  });

  test('names that look like numbers, or begin with dots, are read back as names', async () => {
    const [parts, names] = [
      ['...', '..x', '.5', '.5e3', '._', '.a'],
      ['..file', '.7'],
    ];
    for (const part of parts) file(`${part}/x`);
    for (const name of names) file(name);
    database('.1', 'CREATE TABLE t (x)');
    expect(await init('--observe', '0')).toMatchObject({ status: 0, stderr: expect.not.stringContaining('STOP') });
    const [root] = parseDefinition(written(), 'my-data.yaml').roots;
    expect(root?.databases.map(({ path }) => path)).toEqual(['.1']);
    expect(root?.trees.map(({ path, include }) => (path === '.' ? include : path))).toEqual([...parts, names]);
  });

  test('a dry run prints the definition and writes nothing', async () => {
    database('a.db', 'CREATE TABLE t (x)');
    const { status, stdout } = await init('--observe', '0', '--dry-run');
    expect(status).toBe(0);
    expect(parseDefinition(stdout, 'my-data.yaml').store).toBe('my-data');
    expect(existsSync(join(directory, 'stores'))).toBe(false);
  });

  test('changes nothing of a live database, and says of one that cannot be read why', async () => {
    database('a.db', 'CREATE TABLE t (x)', 'wal');
    const holder = new Database(join(data, 'a.db'));
    holder.exec('INSERT INTO t VALUES (1)');
    const before = execFileSync('sha256sum', [join(data, 'a.db'), join(data, 'a.db-wal')]).toString();
    file('broken.db', 'SQLite format 3\0'.padEnd(4096, 'x'));
    await init('--observe', '0');
    expect(execFileSync('sha256sum', [join(data, 'a.db'), join(data, 'a.db-wal')]).toString()).toBe(before);
    holder.close();
    expect(written()).toMatch(/can't be read now: \w+\n +- path: broken\.db/);
  });

  test.each([
    ['target_exists: the store is defined', 73, async () => void (await init('--observe', '0'))],
    ['roots_overlap: another store is there', 78, async () => void (await init('--observe', '0', '--store', 'other'))],
    ['member_missing: it is no directory', 65, async () => rm(data, { recursive: true })],
    ['member_missing: nothing is in it', 65, async () => rm(join(data, 'a.db'))],
  ])('%s', async (what, status, prepare) => {
    database('a.db', 'CREATE TABLE t (x)');
    await prepare();
    const ended = await init('--observe', '0');
    expect(ended.stderr).toContain(`STOP ${what.split(':', 1)[0] ?? ''}`);
    expect(ended.status).toBe(status);
  });
});

describe('databases of one shape', () => {
  const of = (path: string, ...tables: readonly string[]): SurveyedDatabase => ({
    path,
    sizeBytes: 0,
    shape: { journalMode: 'wal', tables: tables.map((name) => ({ name, columns: [], sequence: null })) },
  });
  const paths = (...databases: readonly SurveyedDatabase[]): readonly string[] =>
    groupDatabases(databases).map(({ path }) => path);

  test('are one glob from three on, by the one part of their paths that differs', () => {
    expect(paths(of('p/1/x.db', 't'), of('p/2/x.db', 't'))).toEqual(['p/1/x.db', 'p/2/x.db']);
    expect(paths(of('p/1/x.db', 't'), of('p/2/x.db', 't'), of('p/3/x.db', 't'))).toEqual(['p/*/x.db']);
    expect(paths(of('d/1.db', 't'), of('d/2.db', 't'), of('d/3.db', 't'), of('core.db', 't'))).toEqual([
      'core.db',
      'd/*.db',
    ]);
    expect(paths(of('[p]/1.db'), of('[p]/2.db'), of('[p]/3.db'))).toEqual([String.raw`\[p\]/*.db`]);
  });

  test('stay apart where their tables differ', () => {
    expect(paths(of('d/1.db', 't'), of('d/2.db', 't'), of('d/3.db', 'u'))).toEqual(['d/1.db', 'd/2.db', 'd/3.db']);
  });
});
