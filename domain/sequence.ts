// Sequences, migration histories and append-only tables: the rules by which a restore may or may not go back in time.
// Pure; SM-4, SM-5, SM-7.
import type { DatabaseFacts, SequenceFact } from './manifest.js';
import { Stop } from './stop.js';

export interface Witness {
  readonly root: string;
  readonly path: string;
  readonly table: string;
  readonly column: string;
  /** Decimal string. */
  readonly value: string;
  /** Where it was seen: the live database, or a backup id. */
  readonly seenIn: string;
}

/**
 * SM-4: no sequence of the source may lie below the highest value ever witnessed.
 * @throws Stop sequence_rewind
 */
export function assertFloor(
  root: string,
  path: string,
  source: readonly SequenceFact[],
  witnesses: readonly Witness[],
): void {
  for (const witness of witnesses) {
    if (witness.root !== root || witness.path !== path) continue;
    const fact = source.find((candidate) => candidate.table === witness.table && candidate.column === witness.column);
    if (fact === undefined || fact.value === null || BigInt(fact.value) < BigInt(witness.value)) {
      throw new Stop(
        'sequence_rewind',
        `${witness.table}.${witness.column} of ${path} would go back below ${witness.value}`,
        {
          root,
          path,
          table: witness.table,
          column: witness.column,
          floor: witness.value,
          wouldBe: fact?.value ?? null,
          seenIn: witness.seenIn,
        },
      );
    }
  }
}

/**
 * SM-5: the migration history of one side is a prefix of the other's: no gap, nothing reordered or rewritten.
 * @throws Stop migrations_diverged
 */
export function assertMigrationsCompatible(path: string, source: DatabaseFacts, live: DatabaseFacts): void {
  if (source.migrations === null || live.migrations === null) return;
  const backupRows = source.migrations.rowSha256;
  const liveRows = live.migrations.rowSha256;
  const common = Math.min(backupRows.length, liveRows.length);
  for (let index = 0; index < common; index += 1) {
    if (backupRows[index] !== liveRows[index]) {
      throw new Stop(
        'migrations_diverged',
        `entry ${index + 1} of ${source.migrations.table} in ${path} differs from the live one`,
        {
          path,
          table: source.migrations.table,
          entry: index + 1,
          backupEntries: backupRows.length,
          liveEntries: liveRows.length,
        },
      );
    }
  }
}

/**
 * SM-7: accepted rows present live are byte-equal in the backup, up to the last row of whichever has fewer: rows that
 * were added since are compared with nothing, and rows that were lost at the end come back.
 * Both digests were made over the same range.
 * @throws Stop history_rewritten
 */
export function assertHistoryKept(
  path: string,
  backup: Pick<DatabaseFacts, 'appendOnly'>,
  live: Pick<DatabaseFacts, 'appendOnly'>,
): void {
  for (const fact of backup.appendOnly) {
    const present = live.appendOnly.find(
      (candidate) => candidate.table === fact.table && candidate.column === fact.column,
    );
    if (present === undefined || present.upTo !== fact.upTo) {
      throw new Stop('history_rewritten', `${fact.table} of ${path} can't be compared over one range`, {
        path,
        table: fact.table,
      });
    }
    if (present.sha256 !== fact.sha256) {
      throw new Stop('history_rewritten', `rows of ${fact.table} in ${path} up to ${fact.upTo ?? 'none'} differ`, {
        path,
        table: fact.table,
        upTo: fact.upTo,
        backupRows: fact.rows,
        liveRows: present.rows,
      });
    }
  }
}
