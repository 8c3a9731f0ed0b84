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
import { groupDatabases } from '../../definitions/draft.js';
import { addDefinition, parseDefinition } from '../../definitions/load.js';
import type { SurveyedDatabase } from '../../definitions/survey.js';
import { LIMITS } from '../../domain/limits.js';
import { jsonLines, run, startCommand } from './room.js';
import type { JsonLine } from './room.js';

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
/** What doctor says of the members, now. */
async function membersFound(): Promise<JsonLine | undefined> {
  const { lines } = jsonLines(await run(environment, 'doctor', 'my-data', '--json'));
  return lines.find(({ check }) => check === 'members of data');
}

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
          expect.objectContaining({ path: 'orders' }),
          expect.objectContaining({ path: 'tenants/*/tenant.db' }),
        ],
        trees: [
          expect.objectContaining({ path: 'incoming', policy: 'immutable' }),
          expect.objectContaining({ path: 'log', policy: 'verify' }),
          { path: '.', include: ['**'], exclude: ['cache/**', String.raw`uploads/\[link\]`], policy: 'verify' },
        ],
      }),
    ]);
    for (const line of [
      '# journal mode wal, 3 tables',
      '# 3 databases, journal mode delete, 1 tables',
      '# requiredTables: ["odd, name", orders]',
      '# sequences: [{ table: note, column: id }]',
      '# policy: append',
      '# migrations: { table: schema_migrations, orderBy: version }',
      'log: 1 file; some grew in 2 s',
      'also what comes later: 3 files; what changed in 2 s, which a backup refuses: state.json',
      'what is in these, now or later, is in no backup: cache (1 file)',
    ])
      expect(written()).toContain(line);
    expect(await run(environment, 'config', 'validate')).toMatchObject({ status: 0 });
    const doctor = jsonLines(await run(environment, 'doctor', 'my-data', '--json'));
    expect(doctor.lines).toContainEqual(expect.objectContaining({ check: 'members of data', state: 'good' }));
  });

  test('each commented key is a key: uncommented, the definition is still accepted', async () => {
    database(
      'a.db',
      'CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, text); CREATE TABLE migrations (id INTEGER PRIMARY KEY)',
    );
    file('cache/thing');
    file('tmp/thing');
    await init('--observe', '0');
    const uncommented = written().replaceAll(/^( *)# (?=\w+:(?: |$)|  \w+: \{)/gm, '$1');
    const definition = parseDefinition(uncommented, 'my-data.yaml');
    expect(definition.roots[0]).toMatchObject({
      databases: [
        {
          requiredTables: ['note'],
          sequences: [{ table: 'note', column: 'id' }],
          migrations: { table: 'migrations', orderBy: 'id' },
        },
      ],
      drop: ['cache/**', 'tmp/**'],
    });
    expect(Object.keys(definition.hooks).sort()).toEqual(['attach', 'detach']);
  });

  test('a database whose name reads like a glob is that one, and no other', async () => {
    for (const name of ['!(neg).db', 'star*.db', 'back\\slash.db']) database(name, 'CREATE TABLE t (x)');
    symlinkSync('elsewhere', join(data, 'link.db'));
    await init('--observe', '0');
    expect(await membersFound()).toMatchObject({ what: expect.stringContaining('3 databases, 0 files') });
    file('star-later.db', 'no database');
    expect(await membersFound()).toMatchObject({ what: expect.stringContaining('3 databases, 1 file') });
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
    expect(root?.trees).toMatchObject([{ path: '.', exclude: [] }]);
  });

  test('a table that holds one version, and changes it, is no history of migrations', async () => {
    database('a.db', 'CREATE TABLE schema_migrations (version uint64, dirty bool)');
    await init('--observe', '0');
    expect(written()).not.toContain('migrations:');
  });

  test('what comes later is in the next backup: databases, directories and files', async () => {
    database('a.db', 'CREATE TABLE t (x)');
    file('uploads/one');
    await init('--observe', '0');
    database('later.db', 'CREATE TABLE t (x)');
    database('later/deep.db', 'CREATE TABLE t (x)');
    for (const path of ['later/file', 'state.json', 'uploads/two']) file(path);
    expect(await membersFound()).toMatchObject({
      state: 'note',
      what: '3 databases, 4 files, 0 entries outside (a restore carries them over); not listed: later.db, later/deep.db',
    });
  });

  test('names every link; one that leads out of the directory is left for the owner to exclude', async () => {
    database('a.db', 'CREATE TABLE t (x)');
    for (let number = 0; number < 60; number += 1) file(`uploads/${number}`);
    for (let number = 0; number < 60; number += 1) symlinkSync(`${number}`, join(data, `uploads/link${number}`));
    symlinkSync('absent', join(data, 'dangling'));
    await init('--observe', '0');
    expect(await membersFound()).toMatchObject({
      state: 'good',
      what: expect.stringContaining('60 files, 61 entries'),
    });
    rmSync(join(directory, 'stores'), { recursive: true });
    writeFileSync(join(directory, 'elsewhere.db'), '');
    symlinkSync('../elsewhere.db', join(data, 'app.db'));
    await init('--observe', '0');
    expect(written()).toContain(`# Not excluded yet: app.db leads to ${join(directory, 'elsewhere.db')}`);
    expect(await membersFound()).toMatchObject({
      state: 'stop',
      what: expect.stringContaining('symlink_found: app.db'),
    });
  });

  test('names no link of too many, and says that a backup is refused', async () => {
    database('a.db', 'CREATE TABLE t (x)');
    for (let number = 0; number < 201; number += 1) symlinkSync('a.db', join(data, `link${number}`));
    await init('--observe', '0');
    expect(written()).toContain('# Not excluded yet: 201 links and special files, such as link0');
    expect(parseDefinition(written(), 'my-data.yaml').roots[0]?.trees).toMatchObject([{ path: '.', exclude: [] }]);
  });

  test('a glob stands beside other databases and other files', async () => {
    for (const name of ['s1', 's2', 's3']) database(`same/${name}.db`, 'CREATE TABLE t (x)');
    for (const name of ['m1', 'm2', 'm3']) database(`mixed/${name}.db`, 'CREATE TABLE t (x)');
    database('mixed/m4.db', 'CREATE TABLE other (y)');
    for (const name of ['t1', 't2', 't3']) database(`thumbs/${name}.db`, 'CREATE TABLE t (x)');
    file('thumbs/thumbs.db', 'no database');
    await init('--observe', '0');
    expect(parseDefinition(written(), 'my-data.yaml').roots[0]?.databases.map(({ path }) => path)).toEqual([
      ...['m1', 'm2', 'm3', 'm4'].map((name) => `mixed/${name}.db`),
      'same/*.db',
      ...['t1', 't2', 't3'].map((name) => `thumbs/${name}.db`),
    ]);
    expect(await membersFound()).toMatchObject({ state: 'good' });
  });

  test('is as short for thousands of files as for one', async () => {
    database('a.db', 'CREATE TABLE t (x)');
    for (let number = 0; number < 5_000; number += 1) file(`${number}`.padEnd(64, 'x'));
    expect((await init('--observe', '0')).status).toBe(0);
    expect(written().length).toBeLessThan(2_000);
    expect(await membersFound()).toMatchObject({ what: expect.stringContaining('5000 files, 0 entries outside') });
  });

  test('writes no definition that is too large to be read', async () => {
    await expect(
      addDefinition(join(directory, 'stores'), `# ${'x'.repeat(LIMITS.definitionBytesMax)}\n`),
    ).rejects.toMatchObject({ code: 'definition_invalid' });
    expect(existsSync(join(directory, 'stores'))).toBe(false);
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
    shape: { journalMode: 'wal', tables: tables.map((name) => ({ name, columns: [], sequence: null })) },
  });
  const paths = (...databases: readonly SurveyedDatabase[]): readonly string[] =>
    groupDatabases(
      databases,
      databases.flatMap(({ path }) => [path, `${path}-wal`]),
    ).map(({ path }) => path);

  test('are one glob from three on, by the one part of their paths that differs', () => {
    expect(paths(of('p/1/x.db', 't'), of('p/2/x.db', 't'))).toEqual(['p/1/x.db', 'p/2/x.db']);
    expect(paths(of('p/1/x.db', 't'), of('p/2/x.db', 't'), of('p/3/x.db', 't'))).toEqual(['p/*/x.db']);
    expect(paths(of('d/1.db', 't'), of('d/2.db', 't'), of('d/3.db', 't'), of('core.db', 't'))).toEqual([
      'core.db',
      'd/*.db',
    ]);
    expect(paths(of('[p]/1.db'), of('[p]/2.db'), of('[p]/3.db'))).toEqual([String.raw`\[p\]/*.db`]);
  });

  test('stay apart where a glob would also name what is none of them', () => {
    const three = ['1', '2', '3'].map((name) => of(`d/${name}.db`, 't'));
    const all = three.map(({ path }) => path);
    expect(groupDatabases(three, all)).toHaveLength(1);
    expect(groupDatabases(three, [...all, 'd/x.db'])).toHaveLength(3);
    expect(groupDatabases(three, [...all, 'd/x'])).toHaveLength(1);
    const deep = ['1', '2', '3', '4', '5'].map((name) => of(`p/${name}/x.db`, 't'));
    const deepPaths = deep.map(({ path }) => path);
    expect(groupDatabases([...three, ...deep], [...all, ...deepPaths, 'p/6/x.db']).map(({ path }) => path)).toEqual([
      'd/*.db',
      ...deepPaths,
    ]);
  });

  test('stay apart where their tables differ', () => {
    expect(paths(of('d/1.db', 't'), of('d/2.db', 't'), of('d/3.db', 'u'))).toEqual(['d/1.db', 'd/2.db', 'd/3.db']);
  });
});
