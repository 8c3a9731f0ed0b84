// In which rows two copies of a database differ, for `holdfast diff --rows`: table by table, by primary key. Never of live
// databases. In a process of its own, because SQLite blocks whoever asks, and a person may lose patience.
import { callChild } from './child.js';

export interface RowDiffRequest {
  /** Absolute paths of copies that nobody writes; SQLite makes its sidecars beside them. */
  readonly before: string;
  readonly after: string;
  /** Keys that are told of each table and kind of difference, at most. */
  readonly keysMax: number;
}

/** The values of a key, as SQL writes them (`5`, `'text'`, `X'00FF'`, `NULL`), long ones cut short with `…`. */
export type RowKey = readonly string[];

export interface RowChanges {
  readonly count: number;
  /** The first ones, in order. */
  readonly keys: readonly RowKey[];
}

export interface TableDiff {
  readonly table: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Columns by which rows are the same; null: rows have no key of their own, and are compared whole. */
  readonly key: readonly string[] | null;
  readonly columnsAdded: readonly string[];
  readonly columnsRemoved: readonly string[];
  readonly added: RowChanges;
  readonly removed: RowChanges;
  /** Of the same key, and different in a column that both tables have; none without a key. */
  readonly changed: RowChanges;
  /** Why no row was compared; absent where they were. */
  readonly notCompared?: string;
}

export interface RowDiff {
  /** Those that differ, in the order of their names. */
  readonly tables: readonly TableDiff[];
  /** How many do not. */
  readonly tablesSame: number;
  /** Tables, indexes, views and triggers whose definitions differ: `table item`. */
  readonly schema: readonly string[];
}

/**
 * Reads both to their ends, in order; memory holds a row of each.
 * Errors: `not_a_database`, `integrity_failed`, `io_error`, `no_space` (SQLite sorts in temporary files); the reason of
 * `signal`.
 */
export async function diffRows(request: RowDiffRequest, signal?: AbortSignal): Promise<RowDiff> {
  return callChild<RowDiffRequest, never, RowDiff>({
    program: new URL('./row-diff-process.js', import.meta.url),
    request,
    onEvent: () => undefined,
    signal,
  });
}
