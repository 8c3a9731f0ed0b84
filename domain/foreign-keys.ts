// Foreign keys that a backup recorded as violated come back as they were; a copy that lacks more than was recorded is
// refused (SM-6, docs/decisions/0007).
import type { ForeignKeysFact, ManifestDatabase } from './manifest.js';
import { Stop } from './stop.js';

/** Of several databases, in numbers: it travels in reports. */
export interface ForeignKeysSum {
  /** Rows that refer to rows that do not exist. */
  readonly violations: number;
  /** Tables whose foreign keys can't be checked. */
  readonly mismatchedTables: number;
}

const TABLES_SHOWN_MAX = 5;

export function sumForeignKeys(databases: readonly Pick<ManifestDatabase, 'foreignKeys'>[]): ForeignKeysSum {
  const facts = databases.flatMap(({ foreignKeys }) => foreignKeys ?? []);
  return {
    violations: facts.reduce((sum, fact) => sum + fact.violations, 0),
    mismatchedTables: facts.reduce((sum, fact) => sum + fact.mismatchedTables.length, 0),
  };
}

/** `3 rows that violate foreign keys, 1 table whose foreign keys can't be checked`; empty when there is nothing to say. */
export function foreignKeysInWords({ violations, mismatchedTables }: ForeignKeysSum): string {
  const parts: string[] = [];
  if (violations > 0)
    parts.push(`${violations} ${violations === 1 ? 'row that violates' : 'rows that violate'} foreign keys`);
  if (mismatchedTables > 0)
    parts.push(
      `${mismatchedTables} ${mismatchedTables === 1 ? 'table' : 'tables'} whose foreign keys can't be checked`,
    );
  return parts.join(', ');
}

/**
 * Holds what is found in a copy against what its manifest recorded; either is undefined when there is nothing to say.
 * @throws Stop foreign_keys_violated
 */
export function assertForeignKeys(
  path: string,
  found: ForeignKeysFact | undefined,
  recorded: ForeignKeysFact | undefined,
): void {
  if (found === undefined) return;
  const known = recorded ?? { violations: 0, mismatchedTables: [] };
  const mismatched = found.mismatchedTables.filter((table) => !known.mismatchedTables.includes(table));
  if (found.violations <= known.violations && mismatched.length === 0) return;
  throw new Stop('foreign_keys_violated', 'the database violates foreign keys that its backup did not record', {
    path,
    violations: found.violations,
    violationsRecorded: known.violations,
    mismatchedTables: mismatched.slice(0, TABLES_SHOWN_MAX),
    mismatchedTablesNotRecorded: mismatched.length,
  });
}
