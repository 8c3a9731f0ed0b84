// Compares the rows of two tables, which come in the same order from both: of each there is one row in memory. Order is
// SQLite's, by its BINARY collation, which compares texts as the database stores them: as the bytes that are read here.
import type Database from 'better-sqlite3';
import { assert } from '../domain/stop.js';
import type { RowChanges, RowKey } from './row-diff.js';
import { quoteName } from './rows.js';

export interface TableSide {
  readonly connection: Database.Database;
  /** `UTF-8`, `UTF-16le` or `UTF-16be`. */
  readonly encoding: string;
  readonly table: string;
  /** Columns that say which row is which; all columns where no other do. */
  readonly key: readonly string[];
  /** The other ones. */
  readonly rest: readonly string[];
}

interface Value {
  readonly type: 'null' | 'integer' | 'real' | 'text' | 'blob';
  readonly value: null | bigint | number | Buffer;
}

type Row = readonly Value[];

const LITERAL_MAX = 80;

/** Rows of a key that only one table has are added or removed; of a key that both have, with other values, changed. */
export function mergeRows(
  before: TableSide,
  after: TableSide,
  keysMax: number,
): { readonly added: RowChanges; readonly removed: RowChanges; readonly changed: RowChanges } {
  const collect = {
    added: collector(after, keysMax),
    removed: collector(before, keysMax),
    changed: collector(after, keysMax),
  };
  const [left, right] = [rowsOf(before), rowsOf(after)];
  let [one, other] = [left.next(), right.next()];
  while (one.done !== true || other.done !== true) {
    const order = one.done === true ? 1 : other.done === true ? -1 : compareKeys(before, one.value, other.value);
    if (order < 0 && one.done !== true) collect.removed.add(one.value);
    else if (order > 0 && other.done !== true) collect.added.add(other.value);
    else if (one.done !== true && other.done !== true && !isSame(one.value, other.value))
      collect.changed.add(other.value);
    if (order <= 0) one = left.next();
    if (order >= 0) other = right.next();
  }
  return { added: collect.added.changes(), removed: collect.removed.changes(), changed: collect.changed.changes() };
}

/** All rows of a table that the other database does not have. */
export function rowsAlone(side: TableSide, keysMax: number): RowChanges {
  const { add, changes } = collector(side, keysMax);
  for (const row of rowsOf(side)) add(row);
  return changes();
}

/** SQLite lets a key that is no rowid be NULL, any number of times. */
export function hasNullIn({ connection, table, key }: TableSide): boolean {
  const isNull = key.map((column) => `${quoteName(column)} IS NULL`).join(' OR ');
  return connection.prepare(`SELECT 1 FROM ${quoteName(table)} WHERE ${isNull} LIMIT 1`).get() !== undefined;
}

function* rowsOf({ connection, table, key, rest }: TableSide): Generator<Row, void, undefined> {
  // Each column comes as two values, TEXT as its bytes
  const values = [...key, ...rest]
    .map(quoteName)
    .flatMap((name) => [
      `typeof(${name})`,
      `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END`,
    ]);
  // 1 and 1.0 are the same to an order; whole rows tell them apart
  const order = [
    ...key.map((name) => `${quoteName(name)} COLLATE BINARY`),
    ...(rest.length === 0 ? key.map((name) => `typeof(${quoteName(name)})`) : []),
  ];
  const rows = connection
    .prepare<[], unknown[]>(`SELECT ${values.join(', ')} FROM ${quoteName(table)} ORDER BY ${order.join(', ')}`)
    .raw()
    .safeIntegers()
    .iterate();
  for (const row of rows) yield valuesOf(row);
}

function valuesOf(row: readonly unknown[]): Row {
  const values: Value[] = [];
  for (let index = 0; index < row.length; index += 2)
    values.push({ type: row[index] as Value['type'], value: row[index + 1] as Value['value'] });
  return values;
}

function compareKeys({ key, rest }: TableSide, left: Row, right: Row): number {
  for (const index of key.keys()) {
    const order = compareValues(valueAt(left, index), valueAt(right, index));
    if (order !== 0) return order;
  }
  if (rest.length > 0) return 0;
  for (const index of key.keys()) {
    const [one, other] = [valueAt(left, index).type, valueAt(right, index).type];
    if (one !== other) return one < other ? -1 : 1;
  }
  return 0;
}

function valueAt(row: Row, index: number): Value {
  const value = row[index];
  assert(value !== undefined, 'a row has all columns');
  return value;
}

const RANKS = { null: 0, integer: 1, real: 1, text: 2, blob: 3 } as const;

function compareValues(left: Value, right: Value): number {
  const rank = RANKS[left.type] - RANKS[right.type];
  if (rank !== 0) return rank;
  if (Buffer.isBuffer(left.value) && Buffer.isBuffer(right.value)) return left.value.compare(right.value);
  if (left.value === null || right.value === null) return 0;
  // Integers and reals are compared exactly, as SQLite does
  return left.value < right.value ? -1 : left.value > right.value ? 1 : 0;
}

function isSame(left: Row, right: Row): boolean {
  return left.every((value, index) => {
    const other = valueAt(right, index);
    return value.type === other.type && compareValues(value, other) === 0;
  });
}

function collector({ key, encoding }: TableSide, keysMax: number) {
  const keys: RowKey[] = [];
  let count = 0;
  return {
    add: (row: Row): void => {
      count += 1;
      if (keys.length < keysMax) keys.push(row.slice(0, key.length).map((value) => literal(value, encoding)));
    },
    changes: (): RowChanges => ({ count, keys }),
  };
}

function literal({ type, value }: Value, encoding: string): string {
  if (!Buffer.isBuffer(value)) return value === null ? 'NULL' : realOrInteger(type, value);
  const text = type === 'text' ? `'${textOf(value, encoding).replaceAll("'", "''")}'` : blobOf(value);
  return text.length > LITERAL_MAX ? `${text.slice(0, LITERAL_MAX)}…` : text;
}

/** A real is told from an integer. */
function realOrInteger(type: Value['type'], value: bigint | number): string {
  const text = String(value);
  return type === 'real' && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

const blobOf = (bytes: Buffer): string => `X'${bytes.subarray(0, LITERAL_MAX).toString('hex').toUpperCase()}'`;

function textOf(bytes: Buffer, encoding: string): string {
  // Not more than is told
  const head = bytes.subarray(0, 4 * LITERAL_MAX);
  return new TextDecoder(encoding.toLowerCase()).decode(head);
}
