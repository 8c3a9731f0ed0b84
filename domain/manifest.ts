// The manifest of a backup: what was captured, when, how, and every byte's digest. Every layout has it as
// manifest.json; docs/reference/manifest.md is its format document. Pure types and rules, no I/O.
import type { LayoutName, TreePolicy } from './definition.js';

export const MANIFEST_FORMAT = 'holdfast-manifest-1';

/** Mode, owner and times are applied again as they were; nanoseconds are strings because JSON numbers lose them. */
export interface Metadata {
  /** Permission bits, including set-id and sticky: 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNanos: string;
  /** Extended attributes by name, values in base64; absent when there are none. */
  readonly xattrs?: Readonly<Record<string, string>>;
}

export interface DirectoryEntry extends Metadata {
  readonly type: 'directory';
  readonly root: string;
  /** Relative, `/` between parts; the root itself is `.`. */
  readonly path: string;
}

export interface FileEntry extends Metadata {
  readonly type: 'file' | 'database';
  readonly root: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

export type ManifestEntry = DirectoryEntry | FileEntry;

/** Highest value of a monotonic column at the cut. A decimal string: SQLite integers have 64 bits. */
export interface SequenceFact {
  readonly table: string;
  readonly column: string;
  /** null: the table has no rows. */
  readonly value: string | null;
}

/** Digest over the rows of an append-only table up to and including `upTo`. */
export interface AppendOnlyFact {
  readonly table: string;
  readonly column: string;
  /** As text, whether the column holds integers or texts; null: the table has no rows. */
  readonly upTo: string | null;
  readonly rows: number;
  readonly sha256: string;
}

export interface MigrationsFact {
  readonly table: string;
  readonly orderBy: string;
  /** One digest a row, in order: prefix compatibility is a comparison of lists. */
  readonly rowSha256: readonly string[];
}

/** What the foreign keys of a database lack: rows that it had already when it was captured. */
export interface ForeignKeysFact {
  /** Rows that refer to rows that do not exist, once for each key that they violate. */
  readonly violations: number;
  /** Tables whose keys can't be checked, because the schema got one of them wrong; some of `tables`, sorted like them. */
  readonly mismatchedTables: readonly string[];
}

/** What a database contains, read from a copy or, for the live store, through a process of its own. */
export interface DatabaseFacts {
  readonly pageSizeBytes: number;
  readonly journalMode: string;
  readonly tables: readonly { readonly name: string; readonly rows: number }[];
  readonly sequences: readonly SequenceFact[];
  readonly appendOnly: readonly AppendOnlyFact[];
  readonly migrations: MigrationsFact | null;
  /** Absent when no key is violated, or where it was not asked. */
  readonly foreignKeys?: ForeignKeysFact;
}

export interface ManifestDatabase extends DatabaseFacts {
  readonly root: string;
  readonly path: string;
  /** When integrity_check passed on exactly these bytes, RFC 3339. */
  readonly integrityCheckedAt: string;
  /**
   * Digest of what the live files were just before the cut (activities/live-stamp.ts): for the host alone, which tells by
   * it whether they were written to since. null: they were written to in that very moment.
   */
  readonly liveStamp: string | null;
}

export interface CutReport {
  /** RFC 3339, with microseconds where the clock has them. */
  readonly instant: string;
  /** How long all write locks were held together; 0 when none were taken. */
  readonly pauseMillis: number;
  /** Rollback-journal databases stay locked for their copy: the longest of them. */
  readonly rollbackJournalPauseMillis: number;
  /** How long the quiesce hook held the application; 0 without one. */
  readonly quiescedMillis: number;
  /** Attempts to have all write locks at once. */
  readonly lockTries: number;
  /** Whole cuts, because a tree or the set of databases changed. */
  readonly cutTries: number;
  /** How long snapshots stayed pinned. */
  readonly pinMillis: number;
  readonly policies: readonly { readonly root: string; readonly tree: string; readonly policy: TreePolicy }[];
}

export interface Epoch {
  /** Random, new at every restore. */
  readonly id: string;
  /** How many restores this root has seen. */
  readonly counter: number;
}

/** A file of a layout beside the roots, the manifest and what is over the manifest. */
export interface LayoutDocument {
  readonly name: string;
  /** Lower-case hex. */
  readonly sha256: string;
}

export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly layout: LayoutName;
  readonly backupId: string;
  /**
   * One more than the highest in the destination when this one was published: what was published later, whatever the
   * clock. Layout `helionyx` names backups by their instant: the digits of it, which must be higher than all before.
   */
  readonly number: number;
  readonly operation: string;
  readonly store: string;
  readonly createdAt: string;
  readonly createdBy: string;
  readonly host: string;
  readonly holdfastVersion: string;
  readonly platform: {
    readonly os: string;
    readonly arch: string;
    readonly endianness: 'LE' | 'BE';
    readonly sqliteVersion: string;
  };
  /** From the version hook; null without one. */
  readonly application: { readonly version: string; readonly modules: readonly string[] } | null;
  readonly epoch: Epoch | null;
  readonly cut: CutReport;
  readonly databases: readonly ManifestDatabase[];
  readonly entries: readonly ManifestEntry[];
  /** Absent for a layout that has none. */
  readonly documents?: readonly LayoutDocument[];
}
