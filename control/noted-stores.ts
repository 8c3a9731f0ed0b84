// Which stores this host has worked on, noted in its state directory, where no volume of theirs is: a lock.db vanishes
// with the volume that it is on, and what is left looks like a store that nobody has worked on yet (SM-8).
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { withControlDatabase, withPresentControlDatabase } from './control-database.js';
import type { StoreRoom } from './store-room.js';

interface Note {
  readonly controlDirectory: string;
  /** Identity of its lock.db. */
  readonly lockId: string;
}

const notesOf = (stateDirectory: string): string => join(stateDirectory, 'stores');
const noteOf = (stateDirectory: string, { definition }: StoreRoom): string =>
  join(notesOf(stateDirectory), `${definition.store}.json`);

/**
 * Makes lock.db where the store has none, and notes it, before a lock of it is given. A store that moved with its
 * lock.db is noted anew; nothing else renews a note: a backup of a volume that isn't mounted would.
 * @throws Stop of assertAsNoted, no_space
 */
export async function noteStore(stateDirectory: string, room: StoreRoom): Promise<void> {
  const known = await assertAsNoted(stateDirectory, room);
  if (known?.controlDirectory === room.controlDirectory) return;
  const { controlDirectory } = room;
  const lockId = await withControlDatabase(controlDirectory, (database) => database.identity());
  await ensureDirectory(notesOf(stateDirectory), 0o700);
  const note: Note = { controlDirectory, lockId };
  await writeFileDurable(noteOf(stateDirectory, room), `${JSON.stringify(note)}\n`, 0o600);
}

/**
 * Only a person knows whether a store was lost, moved or made anew, and says so by removing the note.
 * @returns the note, if there is one
 * @throws Stop root_missing where the lock.db that was noted is not that of the store; permission_denied, io_error
 */
export async function assertAsNoted(stateDirectory: string, room: StoreRoom): Promise<Note | undefined> {
  const path = noteOf(stateDirectory, room);
  const note = await readNote(path);
  if (note === undefined) return undefined;
  const { controlDirectory } = room;
  const lockId = await withPresentControlDatabase<string | null>(
    controlDirectory,
    (database) => database.identity(),
    () => null,
  );
  if (lockId === note.lockId) return note;
  const what =
    lockId === null
      ? `there is no lock.db in ${controlDirectory}`
      : `the lock.db in ${controlDirectory} is not the one with which the store was worked on`;
  throw new Stop('root_missing', `${what}, though ${path} has noted one in ${note.controlDirectory}`, {
    store: room.definition.store,
    note: path,
    noted: note.controlDirectory,
    controlDirectory,
  });
}

/** A note that can't be understood is of no lock.db that there is. */
async function readNote(path: string): Promise<Note | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw translateErrno(error, { path });
  }
  try {
    const { controlDirectory, lockId } = (JSON.parse(text) as Partial<Note> | null) ?? {};
    if (typeof controlDirectory === 'string' && typeof lockId === 'string') return { controlDirectory, lockId };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { controlDirectory: 'a place that it does not tell', lockId: 'unreadable' };
}
