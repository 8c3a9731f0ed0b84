// The cut (DESIGN "The cut", steps 0 to 3 and 5): every database of a store at one instant, copied by SQLite's Online
// Backup. This is the parent's side; cut-process.ts does it, in a process of its own that exits with its last pin.
import { callChild } from './child.js';

export interface CutDatabase {
  /** Absolute, resolved; a regular file. */
  readonly source: string;
  /** Absolute; must not exist, its directory must. Not fsynced: the caller syncs the staging. */
  readonly target: string;
  /** `none`: its writer takes no locks, so neither do we; the caller's hook holds that writer. */
  readonly locking: 'sqlite' | 'none';
}

export interface CutRequest {
  /** Locks are tried in this order. */
  readonly databases: readonly CutDatabase[];
  /** false: one database and no trees, where the read transaction alone is the instant. */
  readonly lockWrites: boolean;
  /** Absolute paths of append-only files, examined by lstat while the write locks are held. */
  readonly statAtCut: readonly string[];
  readonly quiesceTimeoutMillis: number;
  readonly pinSecondsMax: number;
  /** How much any one write-ahead log may grow while its snapshot is pinned. */
  readonly walGrowthBytesMax: number;
}

export interface StatAtCut {
  readonly path: string;
  readonly sizeBytes: number;
  /** Decimal: inodes have 64 bits. */
  readonly inode: string;
}

export interface CutInstant {
  /** RFC 3339 with microseconds; taken while all locks were held. */
  readonly instant: string;
  /** From before the first BEGIN IMMEDIATE to after the last ROLLBACK of a WAL database; 0 without write locks. */
  readonly pauseMillis: number;
  readonly lockTries: number;
  /** From the first try to the one that had all locks. */
  readonly waitedMillis: number;
  readonly statAtCut: readonly StatAtCut[];
}

export interface DatabaseCopied {
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  readonly pageSizeBytes: number;
  /** Of the live database: `wal`, or a rollback mode's name. */
  readonly journalMode: string;
}

export interface DatabasesCut extends CutInstant {
  /** From the first snapshot pinned to the last one dropped. */
  readonly pinMillis: number;
  /** Longest time that the writers of a rollback-journal database were kept out; 0 when there is none. */
  readonly rollbackJournalPauseMillis: number;
  /** In the order of the request. */
  readonly databases: readonly DatabaseCopied[];
}

export interface CutProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly databasesDone: number;
  readonly databasesTotal: number;
}

export interface CutHandlers {
  /**
   * The snapshots are pinned and the write locks of WAL databases dropped; those of rollback-journal databases stay
   * until each is copied. Copying goes on meanwhile; a failure of this handler ends the cut with that failure, and
   * takeCut settles only when its promise has, whatever became of the copies.
   */
  readonly onInstant: (instant: CutInstant, copyOrder: readonly string[]) => void | Promise<void>;
  /** One target is whole and its snapshot dropped; a promise is waited for, and its failure is the cut's, as above. */
  readonly onCopied: (copy: DatabaseCopied) => void | Promise<void>;
  readonly onProgress: (progress: CutProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

export type CutEvent =
  /** `copyOrder`: the sources, in the order in which they will be copied. */
  | { readonly type: 'instant'; readonly instant: CutInstant; readonly copyOrder: readonly string[] }
  | { readonly type: 'copied'; readonly copy: DatabaseCopied }
  | { readonly type: 'progress'; readonly progress: CutProgress };

/**
 * Takes the cut and copies every database. On any failure the targets may be partly written: the caller removes them.
 * Errors: `member_missing`, `symlink_found`, `special_file_found`, `not_a_database`, `path_unsafe`, `hot_journal`,
 * `database_exclusive`, `database_busy`, `source_changed`, `pin_too_long`, `wal_growth`, `target_exists`,
 * `integrity_failed`, `permission_denied`, `no_space`, `io_error`; the reason of `signal`.
 */
export function takeCut(request: CutRequest, handlers: CutHandlers): Promise<DatabasesCut> {
  return callChild<CutRequest, CutEvent, DatabasesCut>({
    program: new URL('./cut-process.js', import.meta.url),
    request,
    signal: handlers.signal,
    onEvent: (event) => {
      switch (event.type) {
        case 'instant':
          return handlers.onInstant(event.instant, event.copyOrder);
        case 'copied':
          return handlers.onCopied(event.copy);
        case 'progress':
          return handlers.onProgress(event.progress);
      }
    },
  });
}
