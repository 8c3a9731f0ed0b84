// What the foreign keys of a database lack, as a fact and not as a refusal (docs/decisions/0007): SQLite enforces them
// only for connections that ask for it, so that live databases hold such rows without anybody having noticed.
import type Database from 'better-sqlite3';
import type { ForeignKeysFact } from '../domain/manifest.js';
import { sqliteCode } from './errors.js';

/**
 * Checks every foreign key in one go. Where the schema got one wrong (it refers to columns that are not unique), SQLite
 * checks nothing of what it was asked for: then each of these tables is checked by itself, and the wrong ones are named.
 * @returns undefined when there is nothing to say
 */
export function readForeignKeys(connection: Database.Database, tables: readonly string[]): ForeignKeysFact | undefined {
  const all = countViolations(connection, null);
  if (all !== 'mismatch') return all === 0 ? undefined : { violations: all, mismatchedTables: [] };
  const each = tables.map((table) => ({ table, found: countViolations(connection, table) }));
  return {
    violations: each.reduce((sum, { found }) => sum + (found === 'mismatch' ? 0 : found), 0),
    mismatchedTables: each.filter(({ found }) => found === 'mismatch').map(({ table }) => table),
  };
}

/** @param table null: every one */
function countViolations(connection: Database.Database, table: string | null): number | 'mismatch' {
  try {
    const check = connection.prepare<[string | null], number>(
      "SELECT count(*) FROM pragma_foreign_key_check(?, 'main')",
    );
    return check.pluck().get(table) ?? 0;
  } catch (error) {
    if (sqliteCode(error) !== 'SQLITE_ERROR') throw error;
    return 'mismatch';
  }
}
