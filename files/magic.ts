// What tells a SQLite database from any other file: the first bytes of its header (SQLite's "Database File Format", 1.3.1).
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { hasErrno, translateErrno } from './errors.js';

export const SQLITE_MAGIC = Buffer.from('SQLite format 3\0', 'latin1');

/** Whether these are the first bytes of a database; `head` may go on. */
export function beginsLikeDatabase(head: Buffer): boolean {
  return head.subarray(0, SQLITE_MAGIC.length).equals(SQLITE_MAGIC);
}

/**
 * Whether a file begins with SQLite's magic; false for what is no file, or gone. Opens it: never in a process that has
 * a database open (files/walk.ts).
 */
export function hasMagic(path: string): boolean {
  const descriptor = openToLook(path);
  if (descriptor === null) return false;
  try {
    const head = Buffer.alloc(SQLITE_MAGIC.length);
    return readSync(descriptor, head, 0, head.length, 0) === head.length && beginsLikeDatabase(head);
  } catch (error) {
    throw translateErrno(error, { path });
  } finally {
    closeSync(descriptor);
  }
}

/** null: gone, or no file any more. */
function openToLook(path: string): number | null {
  // Not blocking and not following, in case that a FIFO or a link has taken the file's place.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    try {
      return openSync(path, flags | constants.O_NOATIME);
    } catch (error) {
      // Only the owner of a file may keep its access time.
      if (!hasErrno(error, 'EPERM')) throw error;
      return openSync(path, flags);
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO')) return null;
    throw translateErrno(error, { path });
  }
}
