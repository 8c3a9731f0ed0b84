// The process that compares two copies of a database (row-diff.ts): which tables there are, and by what their rows are
// the same. How rows are compared: row-merge.ts.
import Database from 'better-sqlite3';
import { serveParent } from './child.js';
import { translateSqlite } from './errors.js';
import type { RowDiff, RowDiffRequest, TableDiff } from './row-diff.js';
import { hasNullIn, mergeRows, rowsAlone } from './row-merge.js';
import type { TableSide } from './row-merge.js';

serveParent<RowDiffRequest, never, RowDiff>(async ({ before, after, keysMax }) => {
  const left = openCopy(before);
  try {
    const right = openCopy(after);
    try {
      return await Promise.resolve(diffDatabases(left, right, keysMax));
    } finally {
      right.connection.close();
    }
  } catch (error) {
    throw translateSqlite(error, after);
  } finally {
    left.connection.close();
  }
});

interface Copy {
  readonly path: string;
  readonly connection: Database.Database;
  readonly encoding: string;
  readonly tables: ReadonlyMap<string, readonly Column[]>;
  /** SQL by type and name. */
  readonly schema: ReadonlyMap<string, string>;
}

interface Column {
  readonly name: string;
  /** Place in the primary key, from 1 on; 0: none. */
  readonly pk: number;
}

function openCopy(path: string): Copy {
  try {
    const connection = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 });
    // Another's backup may hold a hostile schema: none of its expressions gets at functions with effects
    connection.pragma('trusted_schema = OFF');
    const columnsOf = connection.prepare<[string], Column>(
      'SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid',
    );
    return {
      path,
      connection,
      encoding: String(connection.pragma('encoding', { simple: true })),
      tables: new Map(tablesOf(connection).map((name) => [name, columnsOf.all(name)])),
      schema: schemaOf(connection),
    };
  } catch (error) {
    throw translateSqlite(error, path);
  }
}

/** What a backup's facts count, too: a virtual table has no rows of its own, its shadow tables do. */
function tablesOf(connection: Database.Database): readonly string[] {
  return connection
    .prepare<[], string>(
      `SELECT name FROM pragma_table_list
       WHERE schema = 'main' AND type IN ('table', 'shadow') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       ORDER BY name COLLATE BINARY`,
    )
    .pluck()
    .all();
}

function schemaOf(connection: Database.Database): ReadonlyMap<string, string> {
  const rows = connection
    .prepare<[], readonly [string, string]>(`SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL`)
    .raw()
    .all();
  return new Map(rows);
}

function diffDatabases(before: Copy, after: Copy, keysMax: number): RowDiff {
  const names = [...new Set([...before.tables.keys(), ...after.tables.keys()])].sort();
  const tables = names.flatMap((table) => diffTable(table, before, after, keysMax) ?? []);
  const objects = [...new Set([...before.schema.keys(), ...after.schema.keys()])].sort();
  return {
    tables,
    tablesSame: names.length - tables.length,
    schema: objects.filter((object) => before.schema.get(object) !== after.schema.get(object)),
  };
}

const NONE = { count: 0, keys: [] };
const NOTHING = { columnsAdded: [], columnsRemoved: [], added: NONE, removed: NONE, changed: NONE };

/** null: no difference. */
function diffTable(table: string, before: Copy, after: Copy, keysMax: number): TableDiff | null {
  const [was, is] = [before.tables.get(table), after.tables.get(table)];
  if (was === undefined || is === undefined) {
    const [copy, columns] = was === undefined ? [after, is ?? []] : [before, was];
    const key = keyOf(columns);
    const side = sideOf(copy, table, key ?? columns.map(({ name }) => name), columns);
    const rows = rowsAlone(side, keysMax);
    return was === undefined
      ? { ...NOTHING, table, change: 'added', key, added: rows }
      : { ...NOTHING, table, change: 'removed', key, removed: rows };
  }
  const columns = {
    columnsAdded: without(is, was),
    columnsRemoved: without(was, is),
  };
  const base = { ...NOTHING, ...columns, table, change: 'changed' as const };
  const shared = was.filter(({ name }) => is.some((column) => column.name === name));
  const key = sharedKey(was, is, shared);
  if (before.encoding !== after.encoding)
    return { ...base, key, notCompared: `texts are ${before.encoding} before, and ${after.encoding} after` };
  if (key === null && shared.length < Math.max(was.length, is.length))
    return { ...base, key, notCompared: 'it has no key that is the same in both, and other columns' };
  const by = key ?? shared.map(({ name }) => name);
  const sides = [sideOf(before, table, by, shared), sideOf(after, table, by, shared)] as const;
  // Such rows are one another's equals for no key
  const isWhole = key === null || sides.some(hasNullIn);
  const all = shared.map(({ name }) => name);
  const [left, right] = isWhole ? [sideOf(before, table, all, shared), sideOf(after, table, all, shared)] : sides;
  const diff = { ...base, ...mergeRows(left, right, keysMax), key: isWhole ? null : key };
  const isSame = diff.added.count + diff.removed.count + diff.changed.count === 0;
  return isSame && columns.columnsAdded.length + columns.columnsRemoved.length === 0 ? null : diff;
}

const without = (columns: readonly Column[], others: readonly Column[]): readonly string[] =>
  columns.filter(({ name }) => !others.some((other) => other.name === name)).map(({ name }) => name);

/** null: none is declared. */
function keyOf(columns: readonly Column[]): readonly string[] | null {
  const key = columns.filter(({ pk }) => pk > 0).toSorted((left, right) => left.pk - right.pk);
  return key.length === 0 ? null : key.map(({ name }) => name);
}

function sharedKey(was: readonly Column[], is: readonly Column[], shared: readonly Column[]): readonly string[] | null {
  const [before, after] = [keyOf(was), keyOf(is)];
  if (before === null || after === null || before.join('\0') !== after.join('\0')) return null;
  return before.every((name) => shared.some((column) => column.name === name)) ? before : null;
}

function sideOf(
  { connection, encoding }: Copy,
  table: string,
  key: readonly string[],
  columns: readonly Column[],
): TableSide {
  const rest = columns.map(({ name }) => name).filter((name) => !key.includes(name));
  return { connection, encoding, table, key, rest };
}
