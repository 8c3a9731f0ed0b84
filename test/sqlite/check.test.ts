// Checks of staged copies: what is found whole, what is refused, and what the facts and digests say.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkDatabase, closeCheckPool } from '../../sqlite/check.js';
import type { CheckRequest } from '../../sqlite/check.js';
import { requires } from '../support/requires.js';
import { Stage, sha256Of, stopOf } from './support/actors.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.end());
afterAll(closeCheckPool);

function request(path: string, overrides: Partial<CheckRequest> = {}): CheckRequest {
  return {
    path,
    requiredTables: [],
    sequences: [],
    appendOnly: [],
    migrations: null,
    integrity: true,
    foreignKeys: true,
    ...overrides,
  };
}

/** A shell's: makes $STORE read-only in a mount namespace of its own, then becomes the command. */
const READ_ONLY = 'mount --bind "$STORE" "$STORE" && mount -o remount,bind,ro "$STORE" && exec "$0" "$@"';

function make(name: string, sql: string): string {
  const path = stage.path(name);
  const connection = new Database(path);
  connection.pragma('foreign_keys = OFF');
  connection.exec(sql);
  connection.close();
  return path;
}

describe('integrity', () => {
  test.each(['wal', 'delete'])('a whole %s database passes, unchanged and without sidecars', async (journalMode) => {
    const path = stage.database('a.db', { journalMode, rows: 50 });
    const before = sha256Of(path);
    const { mtimeMs } = statSync(path);
    const facts = await checkDatabase(request(path, { requiredTables: ['chain'] }));
    expect(facts).toEqual({
      pageSizeBytes: 4096,
      journalMode,
      tables: [{ name: 'chain', rows: 50 }],
      sequences: [],
      appendOnly: [],
      migrations: null,
    });
    expect(sha256Of(path)).toBe(before);
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
    expect(readdirSync(stage.directory)).toEqual(['a.db']);
  });

  test('a damaged page is refused with at most five messages, and leaves no sidecars', async () => {
    const path = make(
      'a.db',
      `CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t (b); PRAGMA journal_mode = wal;
      WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000) INSERT INTO t SELECT i, randomblob(20) FROM c`,
    );
    const bytes = readFileSync(path);
    bytes.fill(0x55, 4096 * 5, 4096 * 9);
    writeFileSync(path, bytes);
    const stop = await stopOf(checkDatabase(request(path)));
    expect(stop.code).toBe('integrity_failed');
    expect(JSON.stringify(stop.details)).toContain('a.db');
    expect((stop.details['messages'] as string[] | undefined)?.length ?? 1).toBeLessThanOrEqual(5);
    expect(readdirSync(stage.directory)).toEqual(['a.db']);
  });

  test('an index that lacks a row is refused, though every page reads well', async () => {
    const path = make(
      'a.db',
      "CREATE TABLE t (a, b); CREATE INDEX i ON t (b); INSERT INTO t VALUES (1, 'unmistakable')",
    );
    const bytes = readFileSync(path);
    const at = bytes.lastIndexOf('unmistakable'); // page 3: the index
    const file = openSync(path, 'r+');
    writeSync(file, 'unmistakeble', at);
    closeSync(file);
    expect(await stopOf(checkDatabase(request(path)))).toMatchObject({ code: 'integrity_failed' });
    await expect(checkDatabase(request(path, { integrity: false }))).resolves.toMatchObject({
      tables: [{ name: 't', rows: 1 }],
    });
  });

  test('a truncated file is refused', async () => {
    const path = stage.database('a.db', { rows: 100 });
    writeFileSync(path, readFileSync(path).subarray(0, 8192));
    expect((await stopOf(checkDatabase(request(path)))).code).toBe('integrity_failed');
  });

  test('what is not a database is refused as such', async () => {
    writeFileSync(stage.path('empty.db'), '');
    writeFileSync(stage.path('text.db'), 'not a database '.repeat(500));
    expect((await stopOf(checkDatabase(request(stage.path('empty.db'))))).code).toBe('not_a_database');
    expect((await stopOf(checkDatabase(request(stage.path('text.db'))))).code).toBe('not_a_database');
    expect((await stopOf(checkDatabase(request(stage.path('none.db'))))).code).toBe('member_missing');
  });

  test('a log beside the copy is refused, because it would be read as part of it, and is kept', async () => {
    const path = stage.database('a.db', { rows: 1 });
    const writer = stage.actor();
    await writer.call({ do: 'insertOpen', path, rows: 5 });
    await writer.kill();
    const before = sha256Of(`${path}-wal`);
    expect((await stopOf(checkDatabase(request(path)))).code).toBe('file_extra');
    expect(sha256Of(`${path}-wal`)).toBe(before);
  });

  test('a failed system call is a refusal with its errno, not a defect', async () => {
    const path = stage.database('a.db', { journalMode: 'delete', rows: 1 });
    mkdirSync(`${path}-shm`);
    expect(await stopOf(checkDatabase(request(path)))).toMatchObject({
      code: 'io_error',
      details: { path: `${path}-shm`, systemCall: 'rm' },
    });
  });

  test.skipIf(requires('setpriv', 'mount')).each([
    ['on a read-only filesystem', ['unshare', '--mount', 'sh', '-c', READ_ONLY]],
    ['in the directory of another user', ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']],
  ])('a database %s is checked, and nothing is left anywhere', (_where, [program = '', ...argv]) => {
    const store = stage.path('store');
    const scratch = stage.path('scratch');
    for (const directory of [store, scratch]) mkdirSync(directory);
    for (const journalMode of ['wal', 'delete']) stage.database(`store/${journalMode}.db`, { journalMode, rows: 3 });
    writeFileSync(stage.path('store/full.db'), readFileSync(stage.path('store/wal.db')));
    writeFileSync(stage.path('store/full.db-wal'), 'frames');
    for (const [directory, mode] of [
      [stage.directory, 0o755],
      [store, 0o755],
      [scratch, 0o777],
    ] as const)
      chmodSync(directory, mode);
    const before = [statSync(store).mtimeMs, readdirSync(store)];
    const source = `
      const { checkDatabase, closeCheckPool } = await import(${JSON.stringify(new URL('../../sqlite/check.js', import.meta.url).href)});
      for (const name of ['wal.db', 'delete.db', 'full.db']) {
        const request = { ...${JSON.stringify(request('', { requiredTables: ['chain'] }))}, path: ${JSON.stringify(store)} + '/' + name };
        console.log(await checkDatabase(request).then(({ tables }) => tables[0].rows, (error) => error.code ?? error));
      }
      await closeCheckPool();`;
    const command = [...argv, process.execPath, '--input-type=module', '-e', source];
    const environment = { ...process.env, TMPDIR: scratch, STORE: store };
    const { stdout, stderr } = spawnSync(program, command, { encoding: 'utf8', env: environment });
    expect([stdout, stderr]).toEqual(['3\n3\nfile_extra\n', '']);
    expect([statSync(store).mtimeMs, readdirSync(store)]).toEqual(before);
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('full-text and unknown virtual tables neither fail nor hide', async () => {
    const path = make(
      'a.db',
      "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('hello'); CREATE TABLE u (a)",
    );
    const connection = new Database(path);
    connection.unsafeMode();
    connection.exec(
      "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nowhere(a)')",
    );
    connection.close();
    const facts = await checkDatabase(request(path, { requiredTables: ['f', 'v', 'u'] }));
    expect(facts.tables.map(({ name }) => name)).toEqual([
      'f_config',
      'f_content',
      'f_data',
      'f_docsize',
      'f_idx',
      'u',
    ]);
  });

  test('rows without their parent are counted, unless the check is not asked for; a sound database has no such fact', async () => {
    const path = make(
      'a.db',
      `CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
       CREATE TABLE "c'1" (p REFERENCES p (id)); INSERT INTO "c'1" VALUES (7), (8), (1), (NULL);
       CREATE TABLE c2 (a REFERENCES p (id), b REFERENCES absent, PRIMARY KEY (a, b)) WITHOUT ROWID;
       INSERT INTO c2 VALUES (9, 9)`,
    );
    expect((await checkDatabase(request(path))).foreignKeys).toEqual({ violations: 4, mismatchedTables: [] });
    expect(await checkDatabase(request(path, { foreignKeys: false }))).not.toHaveProperty('foreignKeys');
    expect(await checkDatabase(request(stage.database('b.db', { rows: 2 })))).not.toHaveProperty('foreignKeys');
  });

  test('tables whose keys the schema got wrong are named, and the others are checked all the same', async () => {
    const path = make(
      'a.db',
      `CREATE TABLE p (id); CREATE TABLE wrong (p REFERENCES p (id)); INSERT INTO wrong VALUES (7);
       CREATE TABLE also (p REFERENCES p (none)); CREATE TABLE z (p REFERENCES absent); INSERT INTO z VALUES (7)`,
    );
    expect((await checkDatabase(request(path))).foreignKeys).toEqual({
      violations: 1,
      mismatchedTables: ['also', 'wrong'],
    });
  });

  test('many are checked at once, and an aborted one rejects', async () => {
    const paths = Array.from({ length: 12 }, (_, index) => stage.database(`${index}.db`, { rows: index }));
    const facts = await Promise.all(paths.map((path) => checkDatabase(request(path))));
    expect(facts.map(({ tables }) => tables[0]?.rows)).toEqual(paths.map((_, index) => index));
    const abort = new AbortController();
    abort.abort();
    await expect(checkDatabase(request(paths[0] ?? ''), abort.signal)).rejects.toThrow(/abort/i);
  });
});

describe('facts', () => {
  test('required tables are found by name without case and by pattern; the missing ones are named', async () => {
    const path = make('a.db', 'CREATE TABLE Users (a); CREATE TABLE events_2026 (a); CREATE VIEW shown AS SELECT 1');
    await checkDatabase(request(path, { requiredTables: ['users', 'events_*', '*'] }));
    expect(
      await stopOf(checkDatabase(request(path, { requiredTables: ['users', 'event', 'log_*', 'shown'] }))),
    ).toMatchObject({
      code: 'required_table_missing',
      details: { missing: ['event', 'log_*', 'shown'] },
    });
  });

  test('an empty database passes its integrity check and fails its tables', async () => {
    const path = make('a.db', 'PRAGMA journal_mode = wal; CREATE TABLE t (a); DROP TABLE t');
    await checkDatabase(request(path));
    expect((await stopOf(checkDatabase(request(path, { requiredTables: ['t'] })))).code).toBe('required_table_missing');
  });

  test('sequences keep their 64 bits, and an empty table has none', async () => {
    const path = make(
      'a.db',
      `CREATE TABLE s (n INTEGER); INSERT INTO s VALUES (9223372036854775807), (9007199254740993);
      CREATE TABLE low (n INTEGER); INSERT INTO low VALUES (9007199254740993); CREATE TABLE none (n INTEGER)`,
    );
    const facts = await checkDatabase(
      request(path, { sequences: ['s', 'low', 'none'].map((table) => ({ table, column: 'n' })) }),
    );
    expect(facts.sequences.map(({ value }) => value)).toEqual(['9223372036854775807', '9007199254740993', null]);
  });

  test('a sequence without its table, without its column, or of text is refused', async () => {
    const path = make('a.db', "CREATE TABLE s (n, word TEXT); INSERT INTO s VALUES (1, 'one')");
    const codes = [
      { table: 'x', column: 'n' },
      { table: 's', column: 'x' },
      { table: 's', column: 'word' },
    ].map(async (sequence) => (await stopOf(checkDatabase(request(path, { sequences: [sequence] })))).code);
    expect(await Promise.all(codes)).toEqual(['required_table_missing', 'definition_invalid', 'definition_invalid']);
  });

  test('migrations are one digest a row in order, so that a prefix of the history is a prefix of the list', async () => {
    const schema = 'CREATE TABLE m (id INTEGER PRIMARY KEY, hash TEXT);';
    const older = make('older.db', `${schema} INSERT INTO m VALUES (2, 'b'), (1, 'a')`);
    const newer = make('newer.db', `${schema} INSERT INTO m VALUES (3, 'c'), (1, 'a'), (2, 'b')`);
    const other = make('other.db', `${schema} INSERT INTO m VALUES (1, 'a'), (2, 'x')`);
    const migrations = { table: 'm', orderBy: 'id' };
    const read = async (path: string): Promise<readonly string[]> =>
      (await checkDatabase(request(path, { migrations }))).migrations?.rowSha256 ?? [];
    const [a, b, c] = [await read(older), await read(newer), await read(other)];
    expect(b).toHaveLength(3);
    expect(b.slice(0, 2)).toEqual(a);
    expect([c[0] === a[0], c[1] === a[1]]).toEqual([true, false]);
  });
});

describe('append-only digests', () => {
  const appendOnly = [{ table: 't', column: 'n' }];
  async function digest(
    path: string,
    upTo?: string | null,
  ): Promise<{ upTo: string | null; rows: number; sha256: string }> {
    const bound = upTo === undefined ? {} : { appendOnlyUpTo: [{ table: 't', column: 'n', upTo }] };
    const [fact] = (await checkDatabase(request(path, { appendOnly, ...bound }))).appendOnly;
    if (fact === undefined) throw new Error('no fact');
    return { upTo: fact.upTo, rows: fact.rows, sha256: fact.sha256 };
  }

  test('have the documented bytes', async () => {
    const path = make(
      'a.db',
      "CREATE TABLE t (n INTEGER PRIMARY KEY, v, g AS (n + 1)); INSERT INTO t (n, v) VALUES (1, NULL), (2, 'é'), (3, x'00ff'), (4, 1.5)",
    );
    const row = (value: string): string => `5200000002${value}`;
    const integer = (n: number): string => `49${n.toString(16).padStart(16, '0')}`;
    const bytes = [
      Buffer.from('holdfast-rows-1\n').toString('hex'),
      row(`${integer(1)}4e`),
      row(`${integer(2)}540000000000000002c3a9`),
      row(`${integer(3)}42000000000000000200ff`),
      row(`${integer(4)}463ff8000000000000`),
    ].join('');
    const expected = createHash('sha256').update(Buffer.from(bytes, 'hex')).digest('hex');
    expect(await digest(path)).toEqual({ upTo: '4', rows: 4, sha256: expected });
  });

  test('of a store that went on agree up to the bound, and only there', async () => {
    const rows = "CREATE TABLE t (n INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (10, 'b'), (9, 'c')";
    const backup = await digest(make('backup.db', rows));
    const live = make('live.db', `${rows}; INSERT INTO t VALUES (11, 'd')`);
    expect(backup.upTo).toBe('10');
    expect(await digest(live, '10')).toEqual(backup);
    expect((await digest(live)).sha256).not.toBe(backup.sha256);
    const rewritten = make('rewritten.db', `${rows}; UPDATE t SET v = 'B' WHERE n = 10`);
    expect((await digest(rewritten, '10')).sha256).not.toBe(backup.sha256);
  });

  test('of a store that lost its last rows end with the last that is left', async () => {
    const path = make('live.db', "CREATE TABLE t (n INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (9, 'b')");
    expect(await digest(path, '10')).toEqual(await digest(path));
    expect(await digest(path, '5')).toMatchObject({ upTo: '5', rows: 1 });
    const emptied = make('emptied.db', 'CREATE TABLE t (n INTEGER PRIMARY KEY, v)');
    expect(await digest(emptied, '10')).toMatchObject({ upTo: null, rows: 0 });
  });

  test('do not depend on rowids, and tell types and borders of values apart', async () => {
    const same = [
      make('1.db', "CREATE TABLE t (n, a, b); INSERT INTO t VALUES (1, 'x', 'y'), (1, 'a', 'b')"),
      make(
        '2.db',
        "CREATE TABLE t (n, a, b); INSERT INTO t VALUES (1, 'a', 'b'), (5, 0, 0), (1, 'x', 'y'); DELETE FROM t WHERE n = 5",
      ),
    ];
    const [first, second] = await Promise.all(same.map((path) => digest(path)));
    expect(first).toEqual(second);
    const different = [
      "'ab', 'c'",
      "'a', 'bc'",
      "x'6162', 'c'",
      "1, 'c'",
      "1.0, 'c'",
      "'1', 'c'",
      "NULL, 'c'",
      "'', 'c'",
    ];
    const digests = await Promise.all(
      different.map((values, index) =>
        digest(make(`d${index}.db`, `CREATE TABLE t (n, a, b); INSERT INTO t VALUES (1, ${values})`)),
      ),
    );
    expect(new Set(digests.map(({ sha256 }) => sha256)).size).toBe(different.length);
  });

  test('order text as text and numbers as numbers, and of no rows are of no rows', async () => {
    const text = make('text.db', "CREATE TABLE t (n TEXT, v); INSERT INTO t VALUES ('9', 1), ('10', 2), ('8', 3)");
    expect(await digest(text)).toMatchObject({ upTo: '9', rows: 3 });
    expect(await digest(text, '10')).toMatchObject({ upTo: '10', rows: 1 });
    const none = make('none.db', 'CREATE TABLE t (n INTEGER, v)');
    expect(await digest(none)).toMatchObject({ upTo: null, rows: 0 });
    expect((await digest(text, null)).sha256).toBe((await digest(none)).sha256);
    expect(existsSync(`${none}-wal`)).toBe(false);
  });

  test('see text that is not UTF-8', async () => {
    const a = make('a.db', "CREATE TABLE t (n, v); INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT))");
    const b = make('b.db', "CREATE TABLE t (n, v); INSERT INTO t VALUES (1, CAST(x'fe' AS TEXT))");
    expect((await digest(a)).sha256).not.toBe((await digest(b)).sha256);
  });
});
