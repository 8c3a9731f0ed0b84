// Directories in which files of backups lie in clear for a moment, because SQLite, or a reader, needs files.
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureDirectory, removeTree } from '../files/durable.js';
import { translating } from '../files/errors.js';
import { livenessOf, thisProcess } from './clock.js';
import type { ProcessIdentity } from './clock.js';

/** Calls `work` with a new directory that only this user enters, and removes it with all that is in it. */
export async function withScratchDirectory<T>(
  { stateDirectory }: { readonly stateDirectory: string },
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const all = join(stateDirectory, 'scratch');
  const scratch = join(all, nameOf(thisProcess()));
  await ensureDirectory(scratch, 0o700);
  try {
    await removeLeft(all);
    return await work(scratch);
  } finally {
    await removeTree(scratch);
  }
}

/** Says whose it is: a process that was killed removes nothing, and the next one does it. */
function nameOf({ pid, startTime, bootId, pidNamespace }: ProcessIdentity): string {
  return [pid, startTime, bootId, pidNamespace, randomUUID()].join('_');
}

async function removeLeft(all: string): Promise<void> {
  for (const name of await translating({ path: all }, () => readdir(all))) {
    const [pid, startTime, bootId, pidNamespace] = name.split('_');
    if (startTime === undefined || bootId === undefined || pidNamespace === undefined) continue;
    const owner: ProcessIdentity = { pid: Number(pid), startTime, bootId, pidNamespace };
    if (livenessOf(owner) === 'dead') await removeTree(join(all, name));
  }
}
