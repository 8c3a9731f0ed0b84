// A process of its own that asks who holds SQLite's lock bytes of some databases, and ends. It must be one: closing a
// descriptor of a database drops every POSIX lock that the same process holds on it, and this one holds none.
// Standard input: a JSON list of paths. Standard output: a JSON list of LockAnswer in the same order.
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { hasErrno, isErrnoError } from './errors.js';
import { lockHolder } from './system-calls.js';
import type { LockHolder } from './system-calls.js';

/** The pending byte, the reserved byte and the 510 shared bytes of SQLite's file format. */
const SQLITE_LOCK_START_BYTES = 0x40000000;
const SQLITE_LOCK_LENGTH_BYTES = 512;

export type LockAnswer = { readonly holder: LockHolder | null } | { readonly why: string };

function ask(path: string): LockAnswer {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return { holder: null };
    if (isErrnoError(error)) return { why: `${path}: ${error.code}` };
    throw error;
  }
  try {
    return { holder: lockHolder(descriptor, path, SQLITE_LOCK_START_BYTES, SQLITE_LOCK_LENGTH_BYTES) };
  } catch (error) {
    if (isErrnoError(error)) return { why: `${path}: ${error.code}` };
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

const paths = JSON.parse(readFileSync(0, 'utf8')) as string[];
process.stdout.write(JSON.stringify(paths.map(ask)));
