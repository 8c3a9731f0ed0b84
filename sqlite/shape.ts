// The shape of LIVE databases, for `holdfast init`: journal mode, tables and columns, no rows. Read-only, in a process
// of its own that exits after, for the reason in DESIGN "The cut", step 0.
import { callChild } from './child.js';
import type { Unreadable } from './source.js';

export interface TableShape {
  readonly name: string;
  readonly columns: readonly string[];
  /** The column of an AUTOINCREMENT key, which never gives a value twice; null without one. */
  readonly sequence: string | null;
}

export interface DatabaseShape {
  readonly journalMode: string;
  /** In the order of their names; SQLite's own and those of virtual tables left out. */
  readonly tables: readonly TableShape[];
}

export type ReadShape = DatabaseShape | Pick<Unreadable, 'unreadable'>;

/** In the order of `paths`, absolute ones. Errors: `io_error` when the process can't be started or the kernel ends it. */
export async function readShapes(paths: readonly string[]): Promise<readonly ReadShape[]> {
  if (paths.length === 0) return [];
  return callChild<readonly string[], never, readonly ReadShape[]>({
    program: new URL('./shape-process.js', import.meta.url),
    request: paths,
    onEvent: () => undefined,
  });
}
