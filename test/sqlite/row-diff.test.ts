// Rows of two copies of a database, compared by what says which row is which: every type that SQLite has, keys of several
// columns, none, and NULL, other orders than SQLite's own, other columns, and copies that can't be read.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diffRows } from '../../sqlite/row-diff.js';
import type { RowDiff, TableDiff } from '../../sqlite/row-diff.js';
import { stopOf, temporaryDirectory } from '../files/temporary.js';

function make(path: string, statements: string): string {
  const database = new Database(path);
  database.exec(statements);
  database.close();
  return path;
}

async function compare(before: string, after: string, keysMax = 10): Promise<RowDiff> {
  const directory = temporaryDirectory();
  return diffRows({
    before: make(join(directory, 'before.db'), before),
    after: make(join(directory, 'after.db'), after),
    keysMax,
  });
}

const counts = ({ added, removed, changed }: TableDiff) => [added.count, removed.count, changed.count];

async function only(before: string, after: string): Promise<TableDiff> {
  const { tables } = await compare(before, after);
  expect(tables).toHaveLength(1);
  return tables[0] as TableDiff;
}

describe('rows', () => {
  test('are the same by a key of several columns, in its order', async () => {
    const table = 'CREATE TABLE t (v, b TEXT, a INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;';
    const diff = await only(
      `${table} INSERT INTO t VALUES ('x', 'one', 1), ('x', 'two', 1), ('x', 'one', 2)`,
      `${table} INSERT INTO t VALUES ('x', 'one', 1), ('y', 'two', 1), ('x', 'uno', 2)`,
    );
    expect(diff).toMatchObject({ key: ['a', 'b'], change: 'changed' });
    expect([diff.added.keys, diff.removed.keys, diff.changed.keys]).toEqual([
      [['2', "'uno'"]],
      [['2', "'one'"]],
      [['1', "'two'"]],
    ]);
  });

  test('without a key are compared whole, each as often as it is there', async () => {
    const table = 'CREATE TABLE t (a, b);';
    const diff = await only(
      `${table} INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, x'00ff'), (2, 'gone')`,
      `${table} INSERT INTO t VALUES (NULL, x'00ff'), (1, 'x'), (1, 'x'), (1, 'x'), (1.0, 'x')`,
    );
    expect(diff.key).toBeNull();
    expect(counts(diff)).toEqual([2, 1, 0]);
    expect(diff.added.keys).toEqual([
      ['1', "'x'"],
      ['1.0', "'x'"],
    ]);
    expect(diff.removed.keys).toEqual([['2', "'gone'"]]);
  });

  test('whose key is NULL are compared whole', async () => {
    const table = 'CREATE TABLE t (k TEXT PRIMARY KEY, v);';
    const diff = await only(
      `${table} INSERT INTO t VALUES (NULL, 'x')`,
      `${table} INSERT INTO t VALUES (NULL, 'a'), (NULL, 'x')`,
    );
    expect([diff.key, counts(diff)]).toEqual([null, [1, 0, 0]]);
  });

  test('differ by type too: 1, 1.0, a text and a blob are four values', async () => {
    const table = 'CREATE TABLE t (k INTEGER PRIMARY KEY, v);';
    const diff = await only(
      `${table} INSERT INTO t VALUES (1, 1), (2, '1'), (3, 9007199254740993), (4, 'same')`,
      `${table} INSERT INTO t VALUES (1, 1.0), (2, x'31'), (3, 9007199254740992), (4, 'same')`,
    );
    expect(diff.changed).toEqual({ count: 3, keys: [['1'], ['2'], ['3']] });
  });

  test('are found whatever order the table itself has, and NUL and quotes are told', async () => {
    const table = 'CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v);';
    const diff = await only(
      `${table} INSERT INTO t VALUES ('b', 1), ('A', 1), ('c', 1), ('Z', 1)`,
      `${table} INSERT INTO t VALUES ('Z', 1), ('c', 1), ('b', 1), ('a''' || char(0), 1)`,
    );
    expect(diff.added.keys).toEqual([["'a''\u0000'"]]);
    expect(diff.removed.keys).toEqual([["'A'"]]);
  });

  test('are told up to a limit, and all counted; long values are cut', async () => {
    const table = 'CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID;';
    const many = Array.from({ length: 500 }, (_, index) => `('${'ä'.repeat(200)}${index}')`).join(', ');
    const { tables } = await compare(table, `${table} INSERT INTO t VALUES ${many}`, 3);
    expect(tables[0]?.added.count).toBe(500);
    expect(tables[0]?.added.keys).toEqual(Array.from({ length: 3 }, () => [`'${'ä'.repeat(79)}…`]));
  });

  test('of UTF-16 are read as what they are, and not compared with those of UTF-8', async () => {
    const table = "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID;";
    const diff = await only(`${table} INSERT INTO t VALUES ('ä'), ('a')`, `${table} INSERT INTO t VALUES ('ä'), ('ß')`);
    expect([diff.added.keys, diff.removed.keys]).toEqual([[["'ß'"]], [["'a'"]]]);
    const other = await only(
      `${table} INSERT INTO t VALUES ('ä')`,
      "CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES ('ä')",
    );
    expect(other.notCompared).toMatch(/UTF-16le before, and UTF-8 after/);
  });

  test('are what a model of them says, for any values', async () => {
    const value = fc.oneof(
      fc.constant('NULL'),
      fc.integer({ min: -3, max: 3 }).map(String),
      fc.constantFrom('1.5', '2.0', '-0.5', '9007199254740993', '1e300'),
      fc.constantFrom("''", "'a'", "'B'", "'ab'", "'ä'"),
      fc.constantFrom("x''", "x'00'", "x'ff'", "x'61'"),
    );
    const rows = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), value), { maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(rows, rows, async (before, after) => {
        const [left, right] = [new Map(before), new Map(after)];
        const { tables } = await compare(textOf(left), textOf(right), 100);
        const keys = (of: ReadonlyMap<number, string>, not: ReadonlyMap<number, string>) =>
          [...of.keys()].filter((key) => !not.has(key)).toSorted((one, other) => one - other);
        const changed = [...right.keys()].filter((key) => left.has(key) && left.get(key) !== right.get(key));
        const expected = [keys(right, left), keys(left, right), changed.toSorted((one, other) => one - other)];
        const [diff] = tables;
        const found = diff === undefined ? [[], [], []] : [diff.added, diff.removed, diff.changed].map(numbers);
        expect(found).toEqual(expected);
      }),
      { numRuns: 25 },
    );
  });
});

const numbers = ({ keys }: TableDiff['added']): number[] => keys.map(([key]) => Number(key));

function textOf(rows: ReadonlyMap<number, string>): string {
  const values = [...rows].map(([key, value]) => `(${key}, ${value})`);
  return `CREATE TABLE t (k INTEGER PRIMARY KEY, v);${values.length === 0 ? '' : ` INSERT INTO t VALUES ${values.join(', ')}`}`;
}

describe('tables', () => {
  test('that one copy alone has are told with their rows', async () => {
    const { tables, tablesSame, schema } = await compare(
      'CREATE TABLE old (k INTEGER PRIMARY KEY); INSERT INTO old VALUES (1), (2); CREATE TABLE both (a)',
      "CREATE TABLE new (a, b); INSERT INTO new VALUES (1, 'x'); CREATE TABLE both (a); CREATE INDEX i ON both (a)",
    );
    expect(
      tables.map(({ table, change, key, added, removed }) => [table, change, key, added.count, removed.count]),
    ).toEqual([
      ['new', 'added', null, 1, 0],
      ['old', 'removed', ['k'], 0, 2],
    ]);
    expect([tablesSame, schema]).toEqual([1, ['index i', 'table new', 'table old']]);
  });

  test('with other columns are compared by those that both have', async () => {
    const diff = await only(
      "CREATE TABLE t (k INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 1)",
      "CREATE TABLE t (k INTEGER PRIMARY KEY, c, a); INSERT INTO t VALUES (1, 5, 'x'), (2, 5, 'z')",
    );
    expect(diff).toMatchObject({ columnsAdded: ['c'], columnsRemoved: ['b'], changed: { count: 1, keys: [['2']] } });
  });

  test('with other columns and no common key are not compared, which is said', async () => {
    const diff = await only('CREATE TABLE t (a, b)', 'CREATE TABLE t (a, c)');
    expect(diff.notCompared).toMatch(/no key that is the same/);
    expect(counts(diff)).toEqual([0, 0, 0]);
  });

  test('of a full-text index are those that hold its rows', async () => {
    const text = "CREATE VIRTUAL TABLE f USING fts5 (x); INSERT INTO f VALUES ('one');";
    const { tables } = await compare(text, `${text} INSERT INTO f VALUES ('two')`);
    expect(tables.map(({ table }) => table)).toEqual(expect.arrayContaining(['f_content', 'f_docsize']));
  });
});

describe('copies', () => {
  test('in WAL mode are read', async () => {
    const table = 'PRAGMA journal_mode = wal; CREATE TABLE t (k INTEGER PRIMARY KEY);';
    expect(counts(await only(table, `${table} INSERT INTO t VALUES (1)`))).toEqual([1, 0, 0]);
  });

  test('that can not be read are refused', async () => {
    const directory = temporaryDirectory();
    const good = make(join(directory, 'good.db'), 'CREATE TABLE t (k INTEGER PRIMARY KEY)');
    const bad = join(directory, 'bad.db');
    writeFileSync(bad, 'not a database, and long enough to be none'.repeat(100));
    for (const [before, after] of [
      [good, bad],
      [bad, good],
    ] as const)
      expect(await stopOf(() => diffRows({ before, after, keysMax: 1 }))).toMatchObject({
        code: 'not_a_database',
        details: { path: bad },
      });
  });

  test('are let go when whoever asks loses patience', async () => {
    const directory = temporaryDirectory();
    const path = make(join(directory, 'a.db'), 'CREATE TABLE t (k INTEGER PRIMARY KEY)');
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    await expect(diffRows({ before: path, after: path, keysMax: 1 }, controller.signal)).rejects.toThrow('enough');
  });
});
