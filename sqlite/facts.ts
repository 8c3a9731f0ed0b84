// What a database contains (DatabaseFacts of domain/manifest.ts), read in one read transaction: tables, sequences,
// append-only digests, migrations, foreign keys (SM-4, SM-5, SM-7). The same code reads staged copies and live databases.
import type Database from 'better-sqlite3';
import type { MigrationsDefinition, SequenceDefinition } from '../domain/definition.js';
import type { AppendOnlyFact, DatabaseFacts, MigrationsFact, SequenceFact } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { readForeignKeys } from './foreign-keys.js';
import { digestRows, digestEachRow, quoteName } from './rows.js';

export interface FactsRequest {
  /** Absolute. */
  readonly path: string;
  /** Names, or patterns with `*`; each must match at least one table. */
  readonly requiredTables: readonly string[];
  readonly sequences: readonly SequenceDefinition[];
  readonly appendOnly: readonly SequenceDefinition[];
  readonly migrations: MigrationsDefinition | null;
  /** Whether every foreign key is checked, which reads whole tables. */
  readonly foreignKeys: boolean;
  /** Digest rows only up to this value, or to the last row if that comes first; null: none. What is not named, whole. */
  readonly appendOnlyUpTo?: readonly Pick<AppendOnlyFact, 'table' | 'column' | 'upTo'>[];
  /** Only whether every table and column that is named here is there: no row is read, and of no table facts are told. */
  readonly namesOnly?: boolean;
}

interface TableRow {
  readonly name: string;
  readonly type: string;
}

/**
 * Reads every fact that is asked for. Errors: `required_table_missing`, `definition_invalid`
 * (a named column is absent, or holds what has no order here), and whatever SQLite throws, untranslated.
 */
export function readFacts(connection: Database.Database, request: FactsRequest): DatabaseFacts {
  connection.exec('BEGIN');
  try {
    if (request.namesOnly === true) return requireNames(connection, request);
    const tables = listTables(connection);
    requireTables(request, tables);
    const ordinary = tables.filter(({ type }) => type !== 'virtual').map(({ name }) => name);
    const foreignKeys = request.foreignKeys ? readForeignKeys(connection, ordinary) : undefined;
    return {
      pageSizeBytes: Number(connection.pragma('page_size', { simple: true })),
      journalMode: String(connection.pragma('journal_mode', { simple: true })),
      // A virtual table has no rows of its own: its shadow tables do, and its module may be unknown here.
      tables: ordinary.map((name) => ({ name, rows: countRows(connection, name) })),
      sequences: request.sequences.map((sequence) => readSequence(connection, request.path, sequence)),
      appendOnly: request.appendOnly.map((entry) => readAppendOnly(connection, request, entry)),
      migrations: request.migrations === null ? null : readMigrations(connection, request.path, request.migrations),
      ...(foreignKeys === undefined ? {} : { foreignKeys }),
    };
  } finally {
    if (connection.inTransaction) connection.exec('ROLLBACK');
  }
}

function requireNames(connection: Database.Database, request: FactsRequest): DatabaseFacts {
  const { path, sequences, appendOnly, migrations } = request;
  requireTables(request, listTables(connection));
  for (const { table, column } of [...sequences, ...appendOnly]) requireColumn(connection, path, table, column);
  if (migrations !== null) requireColumn(connection, path, migrations.table, migrations.orderBy);
  return {
    pageSizeBytes: Number(connection.pragma('page_size', { simple: true })),
    journalMode: String(connection.pragma('journal_mode', { simple: true })),
    tables: [],
    sequences: [],
    appendOnly: [],
    migrations: null,
  };
}

function listTables(connection: Database.Database): readonly TableRow[] {
  return connection
    .prepare<[], TableRow>(
      `SELECT name, type FROM pragma_table_list
       WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       ORDER BY name COLLATE BINARY`,
    )
    .all();
}

/** SQLite compares names of tables without case. */
function requireTables(request: FactsRequest, tables: readonly TableRow[]): void {
  const named = [
    ...request.requiredTables,
    ...request.sequences.map(({ table }) => escapePattern(table)),
    ...request.appendOnly.map(({ table }) => escapePattern(table)),
    ...(request.migrations === null ? [] : [escapePattern(request.migrations.table)]),
  ];
  const missing = named.filter((pattern) => !tables.some(({ name }) => patternOf(pattern).test(name)));
  if (missing.length > 0) {
    throw new Stop('required_table_missing', 'a required table is missing', {
      path: request.path,
      missing: missing.map(unescapePattern),
      tables: tables.length,
    });
  }
}

/** `*` in the name of a sequence's table is that character; a pattern's is not. */
function escapePattern(name: string): string {
  return name.replaceAll('*', '\u0000');
}

function unescapePattern(pattern: string): string {
  return pattern.replaceAll('\u0000', '*');
}

function patternOf(pattern: string): RegExp {
  const source = pattern
    .split('*')
    .map((part) => unescapePattern(part).replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${source}$`, 'isu');
}

function countRows(connection: Database.Database, table: string): number {
  return Number(
    connection
      .prepare(`SELECT count(*) FROM ${quoteName(table)}`)
      .pluck()
      .get(),
  );
}

interface Highest {
  readonly value: string | null;
  readonly type: string;
}

/** The highest value as text that compares equal when it comes back; integers keep their 64 bits. */
function highest(connection: Database.Database, path: string, { table, column }: SequenceDefinition): Highest {
  requireColumn(connection, path, table, column);
  const name = quoteName(column);
  const row = connection
    .prepare<[], Highest>(
      `SELECT CAST(value AS TEXT) AS value, typeof(value) AS type
       FROM (SELECT max(${name}) AS value FROM ${quoteName(table)})`,
    )
    .get();
  return row ?? { value: null, type: 'null' };
}

function requireColumn(connection: Database.Database, path: string, table: string, column: string): void {
  const found = connection
    .prepare('SELECT 1 FROM pragma_table_xinfo(?) WHERE name = ? COLLATE NOCASE')
    .get(table, column);
  if (found === undefined)
    throw new Stop('definition_invalid', 'the table has no such column', { path, table, column });
}

function requireType(
  found: Highest,
  allowed: readonly string[],
  path: string,
  { table, column }: SequenceDefinition,
): void {
  if (!['null', ...allowed].includes(found.type)) {
    throw new Stop('definition_invalid', `the column holds ${found.type} values, which are not a sequence`, {
      path,
      table,
      column,
    });
  }
}

function readSequence(connection: Database.Database, path: string, sequence: SequenceDefinition): SequenceFact {
  const found = highest(connection, path, sequence);
  requireType(found, ['integer'], path, sequence);
  return { table: sequence.table, column: sequence.column, value: found.value };
}

function readAppendOnly(
  connection: Database.Database,
  request: FactsRequest,
  entry: SequenceDefinition,
): AppendOnlyFact {
  const found = highest(connection, request.path, entry);
  requireType(found, ['integer', 'text'], request.path, entry);
  // The type of what the column holds decides how a bound compares: '10' is below '9' as text, not as a number.
  const boundOf = (upTo: string | null): bigint | string | null =>
    upTo !== null && found.type === 'integer' && /^-?\d+$/.test(upTo) ? BigInt(upTo) : upTo;
  const asked = request.appendOnlyUpTo?.find(({ table, column }) => table === entry.table && column === entry.column);
  const isWithin = asked !== undefined && (asked.upTo === null || reaches(connection, entry, boundOf(asked.upTo)));
  const upTo = isWithin ? asked.upTo : found.value;
  return { table: entry.table, column: entry.column, upTo, ...digestRows(connection, entry, boundOf(upTo)) };
}

function reaches(
  connection: Database.Database,
  { table, column }: SequenceDefinition,
  bound: bigint | string | null,
): boolean {
  const beyond = `SELECT 1 FROM ${quoteName(table)} WHERE ${quoteName(column)} >= ? LIMIT 1`;
  return connection.prepare(beyond).get(bound) !== undefined;
}

function readMigrations(
  connection: Database.Database,
  path: string,
  { table, orderBy }: MigrationsDefinition,
): MigrationsFact {
  requireColumn(connection, path, table, orderBy);
  return { table, orderBy, rowSha256: digestEachRow(connection, { table, column: orderBy }) };
}
