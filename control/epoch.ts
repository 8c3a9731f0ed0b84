// The epoch: a random id plus counter beside the store, outside what is restored, new at every restore and rollback,
// so that whoever consumes the store sees that one happened. A counter alone could go back; a random id can't recur.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Epoch } from '../domain/manifest.js';
import { writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';

const epochPath = (controlDirectory: string): string => join(controlDirectory, 'epoch.json');

/** null: this root has never been restored. */
export async function readEpoch(controlDirectory: string): Promise<Epoch | null> {
  try {
    return JSON.parse(await readFile(epochPath(controlDirectory), 'utf8')) as Epoch;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw translateErrno(error, { path: epochPath(controlDirectory) });
  }
}

export async function beginEpoch(controlDirectory: string): Promise<Epoch> {
  const former = await readEpoch(controlDirectory);
  const epoch: Epoch = { id: randomUUID(), counter: (former?.counter ?? 0) + 1 };
  await writeFileDurable(epochPath(controlDirectory), `${JSON.stringify(epoch)}\n`, 0o644);
  return epoch;
}
