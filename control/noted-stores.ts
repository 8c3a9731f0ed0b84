// Which stores this host has worked on, noted in its state directory, where no volume of theirs is: a lock.db vanishes
// with the volume that it is on, and what is left looks like a store that nobody has worked on yet (SM-8). Roots that may
// be on other volumes carry a mark, in their own control directories.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { withControlDatabase, withPresentControlDatabase } from './control-database.js';
import { ensureControlDirectory } from './store-room.js';
import type { RoomRoot, StoreRoom } from './store-room.js';

interface Note {
  readonly controlDirectory: string;
  /** Identity of its lock.db. */
  readonly lockId: string;
  /** Names of the roots that carry a mark, sorted. */
  readonly roots: readonly string[];
}

/** In the control directory of a root that is not the store's: of which lock.db it is. */
const MARK_NAME = 'root.json';

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
  const { controlDirectory } = room;
  const marked = room.roots.filter(
    (root) => root.controlDirectory !== controlDirectory && existsSync(root.definition.path),
  );
  const roots = marked.map((root) => root.definition.name).sort();
  if (known?.controlDirectory === controlDirectory && roots.every((name) => known.roots.includes(name))) return;
  const lockId = await withControlDatabase(controlDirectory, (database) => database.identity());
  for (const root of marked) {
    if (known?.roots.includes(root.definition.name) === true) continue;
    await ensureControlDirectory(root.controlDirectory);
    await writeFileDurable(join(root.controlDirectory, MARK_NAME), `${JSON.stringify({ lockId })}\n`, 0o600);
  }
  await ensureDirectory(notesOf(stateDirectory), 0o700);
  const note: Note = { controlDirectory, lockId, roots };
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
  if (lockId === note.lockId) {
    for (const root of room.roots) if (note.roots.includes(root.definition.name)) await assertMarked(root, note, path);
    return note;
  }
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

/** @throws Stop root_missing */
async function assertMarked({ definition, controlDirectory }: RoomRoot, note: Note, path: string): Promise<void> {
  const mark = await readJson(join(controlDirectory, MARK_NAME));
  if (mark?.['lockId'] === note.lockId) return;
  throw new Stop(
    'root_missing',
    `root ${definition.name} at ${definition.path} is not the one that ${path} has noted: ${controlDirectory} has no mark of it`,
    { note: path, root: definition.name, path: definition.path, controlDirectory },
  );
}

/** A note that can't be understood is of no lock.db that there is. */
async function readNote(path: string): Promise<Note | undefined> {
  const found = await readJson(path);
  if (found === undefined) return undefined;
  const { controlDirectory, lockId, roots = [] } = found as Partial<Note>;
  if (typeof controlDirectory === 'string' && typeof lockId === 'string' && Array.isArray(roots))
    return { controlDirectory, lockId, roots };
  return { controlDirectory: 'a place that it does not tell', lockId: 'unreadable', roots: [] };
}

/** undefined: there is no such file. Of what is no JSON nothing is known. */
async function readJson(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw translateErrno(error, { path });
  }
  try {
    return (JSON.parse(text) as Record<string, unknown> | null) ?? {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
