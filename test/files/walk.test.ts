// Walking, selecting members and comparing walks (F-3, P-15).
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import type { RootDefinition, TreeDefinition } from '../../domain/definition.js';
import { compareWalks, listedBy, listedDatabases, selectMembers } from '../../files/members.js';
import type { Members } from '../../files/members.js';
import { walkTree } from '../../files/walk.js';
import { codeOf, fill, stopOf, temporaryDirectory } from './temporary.js';

const detect = { detectDatabases: () => false };

function makeDatabase(path: string): void {
  const database = new Database(path);
  database.exec('CREATE TABLE t (x)');
  database.close();
}

function definition(
  path: string,
  databases: readonly string[],
  trees: readonly Partial<TreeDefinition>[],
  drop: readonly string[] = [],
): RootDefinition {
  return {
    name: 'data',
    path,
    drop,
    databases: databases.map((database) => ({
      path: database,
      requiredTables: [],
      sequences: [],
      appendOnly: [],
      migrations: null,
      locking: 'sqlite',
      optional: false,
    })),
    trees: trees.map((tree) => ({ path: '.', include: ['**'], exclude: [], policy: 'verify', ...tree })),
  };
}

async function select(root: RootDefinition): Promise<Members> {
  return selectMembers(root, await walkTree(root.path, { detectDatabases: listedBy(root) }));
}

const paths = (list: readonly ({ entry: { path: string } } | { path: string })[]): string[] =>
  list.map((item) => ('entry' in item ? item.entry.path : item.path));

describe('walkTree', () => {
  test('leaves the access times of what it looks into', async () => {
    const directory = temporaryDirectory();
    fill(directory, { file: 'x'.repeat(512) });
    utimesSync(join(directory, 'file'), 1, 2);
    await walkTree(directory, detect);
    expect(statSync(join(directory, 'file')).atimeMs).toBe(1000);
  });

  test('tells everything in the order of bytes, the directory itself first, and follows no link', async () => {
    const directory = temporaryDirectory();
    fill(directory, {
      'b/c': '12345',
      'b.d': '',
      'b-e': '',
      '\u{1f600}': '',
      '\uffee': '',
      'sub/.holdfast/kept': '',
      '.holdfast/lock.db': '',
    });
    mkdirSync(join(directory, 'empty'), { mode: 0o700 });
    symlinkSync('/etc', join(directory, 'link'));
    expect(spawnSync('mkfifo', [join(directory, 'fifo')]).status).toBe(0);
    const entries = await walkTree(directory, detect);
    expect(entries.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
      'directory .',
      'directory b',
      'file b-e',
      'file b.d',
      'file b/c',
      'directory empty',
      'special fifo',
      'symlink link',
      'directory sub',
      'directory sub/.holdfast',
      'file sub/.holdfast/kept',
      'file \uffee',
      'file \u{1f600}',
    ]);
    expect(entries.find(({ path }) => path === 'b/c')).toMatchObject({ sizeBytes: 5, linkCount: 1, isDatabase: false });
  });

  test('databases are known by their magic, not by their names, and only when asked for', async () => {
    const directory = temporaryDirectory();
    makeDatabase(join(directory, 'no-name'));
    fill(directory, { 'text.db': 'SQLite format 3', 'long.db': 'SQLite format 3 and more', 'empty.db': '' });
    const databases = (await walkTree(directory, detect)).filter(({ isDatabase }) => isDatabase === true);
    expect(paths(databases)).toEqual(['no-name']);
    expect((await walkTree(directory, { detectDatabases: false })).every(({ isDatabase }) => isDatabase === null)).toBe(
      true,
    );
  });

  test('only a file of whole pages is looked into, or one that has a log or a journal beside it', async () => {
    const directory = temporaryDirectory();
    const head = 'SQLite format 3\0';
    fill(directory, {
      whole: head.padEnd(1024, 'x'),
      odd: head.padEnd(1000, 'x'),
      'cut-in-wal': head.padEnd(1000, 'x'),
      'cut-in-wal-wal': '',
      'cut-by-journal': head.padEnd(1000, 'x'),
      'cut-by-journal-journal': '',
      text: 'x'.repeat(512),
    });
    const entries = await walkTree(directory, detect);
    expect(Object.fromEntries(entries.map(({ path, isDatabase }) => [path, isDatabase]))).toMatchObject({
      whole: true,
      odd: null,
      'cut-in-wal': true,
      'cut-by-journal': true,
      text: false,
    });
    const named = await walkTree(directory, { detectDatabases: (path) => path === 'odd' });
    expect(named.find(({ path }) => path === 'odd')).toMatchObject({ isDatabase: true });
  });

  test('tells of each of many entries what lstat says of it', async () => {
    const directory = temporaryDirectory();
    const names = Array.from({ length: 600 }, (_value, index) => `${index}`);
    for (const [index, name] of names.entries()) {
      fill(directory, { [name]: 'x'.repeat(index) });
      chmodSync(join(directory, name), 0o400 + (index % 8));
      utimesSync(join(directory, name), 1, index - 300);
    }
    const entries = (await walkTree(directory, { detectDatabases: false })).slice(1);
    expect(entries).toHaveLength(names.length);
    for (const entry of entries) {
      const facts = lstatSync(join(directory, entry.path), { bigint: true });
      const { sizeBytes, inode, device, mtimeNanos, ctimeNanos, mode, uid, gid, linkCount } = entry;
      expect([sizeBytes, inode, device, mtimeNanos, ctimeNanos, mode, uid, gid, linkCount].map(String)).toEqual(
        [
          facts.size,
          facts.ino,
          facts.dev,
          facts.mtimeNs,
          facts.ctimeNs,
          facts.mode & 0o7777n,
          facts.uid,
          facts.gid,
          facts.nlink,
        ].map(String),
      );
    }
  });

  test('what is skipped is left out with all below it', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'a/b': '', 'c/b': '', b: '' });
    const entries = await walkTree(directory, {
      ...detect,
      skip: (path, isDirectory) => (isDirectory ? path === 'a' : path === 'b'),
    });
    expect(paths(entries)).toEqual(['.', 'c', 'c/b']);
  });

  test('a name that is not UTF-8 is a stop that shows its bytes', async () => {
    const directory = temporaryDirectory();
    closeSync(openSync(Buffer.concat([Buffer.from(`${directory}/x`), Buffer.from([0xff])]), 'w'));
    expect(await stopOf(async () => await walkTree(directory, detect))).toMatchObject({
      code: 'path_not_utf8',
      details: { nameHex: '78ff' },
    });
  });

  test('an absent directory is a stop, and so is a file', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '' });
    for (const name of ['a', 'absent'])
      expect(await codeOf(async () => await walkTree(join(directory, name), detect))).toBe('io_error');
  });

  test('a tree of 14,000 files takes well under a second and leaves the event loop its turns', async () => {
    const directory = temporaryDirectory();
    for (let index = 0; index < 140; index += 1) {
      mkdirSync(join(directory, `d${index}`));
      for (let file = 0; file < 100; file += 1) writeFileSync(join(directory, `d${index}`, `f${file}`), '');
    }
    let worst = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }, 5);
    const begun = performance.now();
    const entries = await walkTree(directory, { detectDatabases: false });
    const millis = performance.now() - begun;
    clearInterval(timer);
    expect(entries).toHaveLength(14_141);
    expect(millis).toBeLessThan(1500);
    expect(worst).toBeLessThan(400);
  });
});

describe('selectMembers', () => {
  test('every entry is in exactly one class', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'docs/a.md': '', 'docs/b.log': '', 'docs/deep/.c\nd': '', 'tls/key': '', 'cache/big': '' });
    for (const name of ['state.db', 'docs/x.db', 'found.sqlite']) makeDatabase(join(directory, name));
    fill(directory, { 'state.db-wal': '', 'state.db-journal': '', 'docs/x.db-shm': '', 'old.db-wal': '' });
    symlinkSync('key', join(directory, 'tls/link'));
    const root = definition(directory, ['*.db'], [{ path: 'docs', exclude: ['**/*.log'] }], ['cache']);
    const members = await select(root);
    expect(members.databases.map(({ entry, listed }) => [entry.path, listed])).toEqual([
      ['docs/x.db', false],
      ['state.db', true],
    ]);
    expect(paths(members.files)).toEqual(['docs/a.md', 'docs/deep/.c\nd']);
    expect(paths(members.directories)).toEqual(['.', 'docs', 'docs/deep']);
    expect(paths(members.sidecars)).toEqual(['docs/x.db-shm', 'state.db-journal', 'state.db-wal']);
    expect(paths(members.outside)).toEqual(['docs/b.log', 'found.sqlite', 'old.db-wal', 'tls', 'tls/key', 'tls/link']);
    expect(paths(members.dropped)).toEqual(['cache', 'cache/big']);
    const all = [
      members.databases,
      members.files,
      members.directories,
      members.sidecars,
      members.outside,
      members.dropped,
    ].flatMap((list) => paths(list));
    expect(all.sort()).toEqual(paths(await walkTree(directory, detect)).sort());
  });

  test('a name with the characters of a glob is named by itself, letter by letter', async () => {
    const directory = temporaryDirectory();
    for (const name of ['orders[1].db', 'orders1.db', 'a{1}.db']) makeDatabase(join(directory, name));
    const members = await select(definition(directory, ['orders[1].db', 'a{1}.db'], []));
    expect(paths(members.databases)).toEqual(['a{1}.db', 'orders1.db', 'orders[1].db']);
  });

  test('a glob that matches sidecars means the databases', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'state.db-wal': '', 'state.db-shm': '' });
    makeDatabase(join(directory, 'state.db'));
    expect(paths((await select(definition(directory, ['state*'], []))).databases)).toEqual(['state.db']);
  });

  test('of two trees that claim a path the first wins', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'a/x': '', 'a/y.log': '' });
    const members = await select(
      definition(
        directory,
        [],
        [
          { path: 'a', include: ['*.log'], policy: 'append' },
          { path: '.', policy: 'immutable' },
        ],
      ),
    );
    expect(members.files.map(({ entry, tree }) => [entry.path, tree.policy])).toEqual([
      ['a/x', 'immutable'],
      ['a/y.log', 'append'],
    ]);
  });

  test('empty directories of a tree are captured, those of an excluded one are not', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'node_modules/x/y': '', 'src/a': '' });
    mkdirSync(join(directory, 'src/empty/deeper'), { recursive: true });
    const members = await select(definition(directory, [], [{ exclude: ['node_modules/**'] }]));
    expect(paths(members.directories)).toEqual(['.', 'src', 'src/empty', 'src/empty/deeper']);
    expect(paths(members.outside)).toEqual(['node_modules', 'node_modules/x', 'node_modules/x/y']);
  });

  test('parents of a database outside all trees are captured, without their other contents', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'a/b/other': '' });
    makeDatabase(join(directory, 'a/b/state.db'));
    const members = await select(definition(directory, ['a/b/state.db'], []));
    expect(paths(members.directories)).toEqual(['.', 'a', 'a/b']);
    expect(members.directories.every(({ watched }) => watched === null)).toBe(true);
    expect(paths(members.outside)).toEqual(['a/b/other']);
  });

  test('links and special files are refused where they would be captured, and only there', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'docs/a': '' });
    symlinkSync('a', join(directory, 'docs/link'));
    expect(spawnSync('mkfifo', [join(directory, 'docs/fifo')]).status).toBe(0);
    expect(await codeOf(async () => await select(definition(directory, [], [{ exclude: ['docs/fifo'] }])))).toBe(
      'symlink_found',
    );
    expect(await codeOf(async () => await select(definition(directory, [], [{ exclude: ['docs/link'] }])))).toBe(
      'special_file_found',
    );
    expect(await codeOf(async () => await select(definition(directory, ['docs/link'], [])))).toBe('symlink_found');
    expect(paths((await select(definition(directory, [], [{ exclude: ['docs/link', 'docs/fifo'] }]))).files)).toEqual([
      'docs/a',
    ]);
  });

  test('what is listed and absent, or no database, is refused; a glob may match nothing', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'text.db': 'text', 'empty.db': '', 'dir.db/a': '' });
    const code = async (database: string): Promise<string> =>
      await codeOf(async () => await select(definition(directory, [database], [])));
    expect(await code('absent.db')).toBe('member_missing');
    for (const name of ['text.db', 'empty.db', 'dir.db', '*.db']) expect(await code(name)).toBe('not_a_database');
    expect(paths((await select(definition(directory, ['none/*.db'], []))).databases)).toEqual([]);
    expect(await codeOf(async () => await select(definition(directory, [], [{ path: 'absent' }])))).toBe(
      'member_missing',
    );
    expect(await codeOf(async () => await select(definition(directory, [], [{ path: 'text.db' }])))).toBe(
      'member_missing',
    );
  });

  test('a leading exclamation mark is a character, not a negation', async () => {
    const directory = temporaryDirectory();
    fill(directory, { '!a': '', b: '' });
    expect(paths((await select(definition(directory, [], [{ exclude: ['!a'] }]))).files)).toEqual(['b']);
  });

  test('a database is named by its own path before any glob, wherever that stands', async () => {
    const directory = temporaryDirectory();
    for (const name of ['a.db', 'd.db']) makeDatabase(join(directory, name));
    const { databases } = await select(definition(directory, ['*.db', 'd.db', '**'], []));
    expect(databases.map(({ entry, definition: by }) => [entry.path, by?.path])).toEqual([
      ['a.db', '*.db'],
      ['d.db', 'd.db'],
    ]);
  });

  test('databases can be listed without opening any file', async () => {
    const directory = temporaryDirectory();
    for (const name of ['a.db', 'b.db']) makeDatabase(join(directory, name));
    const entries = await walkTree(directory, { detectDatabases: false });
    expect(paths(listedDatabases(definition(directory, ['*.db'], [{}]), entries))).toEqual(['a.db', 'b.db']);
  });
});

describe('compareWalks', () => {
  async function changesAfter(
    policy: TreeDefinition['policy'],
    change: (directory: string) => void,
    databases: readonly string[] = [],
  ): Promise<string[]> {
    const directory = temporaryDirectory();
    fill(directory, { 'a/one': 'one', 'a/two': 'two', outside: '1' });
    for (const database of databases) makeDatabase(join(directory, database));
    const root = definition(directory, databases, [{ path: 'a', policy }]);
    const before = await select(root);
    change(directory);
    return compareWalks(before, await select(root)).map(({ path, change: how }) => `${how} ${path}`);
  }

  const appear = (directory: string): void => writeFileSync(join(directory, 'a/new'), '');
  const vanish = (directory: string): void => rmSync(join(directory, 'a/one'));
  const grow = (directory: string): void => appendFileSync(join(directory, 'a/one'), 'x');
  const replace = (directory: string): void => {
    writeFileSync(join(directory, 'other'), 'one');
    renameSync(join(directory, 'other'), join(directory, 'a/one'));
  };
  const comeAndGo = (directory: string): void => {
    appear(directory);
    rmSync(join(directory, 'a/new'));
  };

  test.each<[TreeDefinition['policy'], string, (directory: string) => void, string[]]>([
    ['verify', 'nothing happens', () => undefined, []],
    ['verify', 'a file outside changes', (directory) => writeFileSync(join(directory, 'outside'), '22'), []],
    ['verify', 'a file grows', grow, ['changed a/one']],
    ['verify', 'only a time is set', (directory) => utimesSync(join(directory, 'a/one'), 1, 1), ['changed a/one']],
    ['verify', 'only a mode is set', (directory) => chmodSync(join(directory, 'a/one'), 0o600), ['changed a/one']],
    ['verify', 'a file appears', appear, ['changed a', 'appeared a/new']],
    ['verify', 'a file vanishes', vanish, ['changed a', 'vanished a/one']],
    ['verify', 'a file came and went', comeAndGo, ['changed a']],
    ['verify', 'a directory appears', (directory) => mkdirSync(join(directory, 'a/d')), ['changed a', 'appeared a/d']],
    ['immutable', 'a file appears', appear, []],
    ['immutable', 'a file grows', grow, ['changed a/one']],
    ['immutable', 'a file vanishes', vanish, ['vanished a/one']],
    ['append', 'a file grows', grow, []],
    ['append', 'a file shrinks', (directory) => writeFileSync(join(directory, 'a/one'), ''), ['changed a/one']],
    ['append', 'a file is replaced', replace, ['changed a/one']],
    ['quiesced', 'a file grows', grow, ['changed a/one']],
  ])('%s, %s', async (policy, _title, change, expected) => {
    expect(await changesAfter(policy, change)).toEqual(expected);
  });

  test('sidecars that come and go are no change, a new database in a tree is one', async () => {
    expect(
      await changesAfter('verify', (directory) => writeFileSync(join(directory, 'a/state.db-journal'), ''), [
        'a/state.db',
      ]),
    ).toEqual([]);
    expect(
      await changesAfter('verify', (directory) => makeDatabase(join(directory, 'a/more.db')), ['a/state.db']),
    ).toEqual(['appeared a/more.db']);
  });

  test('a database that is written to is no change: the cut pins it', async () => {
    const write = (directory: string): void => {
      const database = new Database(join(directory, 'a/state.db'));
      database.exec('INSERT INTO t VALUES (1)');
      database.close();
    };
    expect(await changesAfter('verify', write, ['a/state.db'])).toEqual([]);
  });
});
