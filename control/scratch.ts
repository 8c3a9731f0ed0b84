// Directories in which files of backups lie in clear for a moment, because SQLite, or a reader, needs files.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { ensureDirectory, removeTree } from '../files/durable.js';

/** Calls `work` with a new directory that only this user enters, and removes it with all that is in it. */
export async function withScratchDirectory<T>(
  { stateDirectory }: { readonly stateDirectory: string },
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const scratch = join(stateDirectory, 'scratch', randomUUID());
  await ensureDirectory(scratch, 0o700);
  try {
    return await work(scratch);
  } finally {
    await removeTree(scratch);
  }
}
