// The system calls that Node lacks, bound to libc: the atomic exchange (SM-9), syncfs, lock queries, extended
// attributes, and times with nanoseconds. Thin: each function is one call; a failure is a SystemCallError whose
// `code` is the errno's name, so that files/errors.ts treats it like Node's own errors. Linux only.
import koffi from 'koffi';
import type { KoffiFunc } from 'koffi';
import { assert } from '../domain/stop.js';

assert(process.platform === 'linux', 'files/system-calls.ts needs Linux');

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const F_GETLK = 5;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const POSIX_FADV_WILLNEED = 3;
const UTIME_OMIT = (1n << 30n) - 2n;
const NANOS_PER_SECOND = 1_000_000_000n;

const libc = koffi.load('libc.so.6');
const renameat2 = libc.func(
  'int renameat2(int sourceDirectory, const char *source, int targetDirectory, const char *target, unsigned int flags)',
) as (sourceDirectory: number, source: string, targetDirectory: number, target: string, flags: number) => number;
const syncfs = libc.func('int syncfs(int descriptor)') as KoffiFunc<(descriptor: number) => number>;
const fcntl = libc.func('int fcntl(int descriptor, int command, ...)') as (
  descriptor: number,
  command: number,
  type: string,
  value: Buffer,
) => number;
const llistxattr = libc.func('intptr_t llistxattr(const char *path, void *list, size_t size)') as (
  path: string,
  list: Buffer | null,
  size: number,
) => number;
const lgetxattr = libc.func('intptr_t lgetxattr(const char *path, const char *name, void *value, size_t size)') as (
  path: string,
  name: string,
  value: Buffer | null,
  size: number,
) => number;
const lsetxattr = libc.func(
  'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
) as (path: string, name: string, value: Buffer, size: number, flags: number) => number;
const lremovexattr = libc.func('int lremovexattr(const char *path, const char *name)') as (
  path: string,
  name: string,
) => number;
const utimensat = libc.func('int utimensat(int directory, const char *path, const void *times, int flags)') as (
  directory: number,
  path: string,
  times: Buffer,
  flags: number,
) => number;

const posixFadvise = libc.func(
  'int posix_fadvise(int descriptor, int64_t offset, int64_t length, int advice)',
) as KoffiFunc<(descriptor: number, offset: number, length: number, advice: number) => number>;
const nice = libc.func('int nice(int increment)') as (increment: number) => number;

const errnoNames = new Map<number, string>(
  Object.entries(koffi.os.errno).map(([name, value]) => [Number(value), name]),
);
// Two names have one number on Linux; Node and this project say the first of each.
errnoNames.set(koffi.os.errno['EAGAIN'] ?? 11, 'EAGAIN');
errnoNames.set(koffi.os.errno['ENOTSUP'] ?? 95, 'ENOTSUP');

/** A failed system call, in the shape of Node's ErrnoException. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly path: string;
  constructor(syscall: string, path: string, errno: number) {
    const code = errnoNames.get(errno) ?? `E${errno}`;
    super(`${code}: ${syscall} '${path}'`);
    this.code = code;
    this.errno = -errno;
    this.syscall = syscall;
    this.path = path;
  }
}

/** errno is only meaningful after a failure, and only until the next call into C. */
function check(result: number, syscall: string, path: string): number {
  if (result < 0) throw new SystemCallError(syscall, path, koffi.errno());
  return result;
}

/** A C string ends at the first NUL: a path that holds one would name another file. */
function whole(path: string): string {
  assert(!path.includes('\0'), 'a path has no NUL');
  return path;
}

/**
 * The whole file will be read soon: the disk may begin. A filesystem that has no use for that is fine, so there is no error
 * but that of a descriptor that is none.
 */
export function adviseWillNeed(descriptor: number): void {
  posixFadvise(descriptor, 0, 0, POSIX_FADV_WILLNEED);
}

/** adviseWillNeed of a part, off the event loop: it waits where the disk has more to do than it can note. */
export async function adviseWillNeedPart(descriptor: number, offset: number, length: number): Promise<void> {
  await new Promise<void>((resolve) =>
    posixFadvise.async(descriptor, offset, length, POSIX_FADV_WILLNEED, () => resolve()),
  );
}

/**
 * Lets the other threads of this process go first. It adds to what the process was started with, which nobody is refused: so
 * there is no error.
 */
export function lowerPriorityOfThread(increment: number): void {
  nice(increment);
}

/** Exchanges two existing names of one filesystem atomically. Errors: ENOENT, EXDEV, EINVAL where not supported. */
export function renameExchange(left: string, right: string): void {
  check(renameat2(AT_FDCWD, whole(left), AT_FDCWD, whole(right), RENAME_EXCHANGE), 'renameat2', left);
}

/** Renames, and fails with EEXIST where `target` exists: unlike rename(2), it never replaces. */
export function renameNoReplace(source: string, target: string): void {
  check(renameat2(AT_FDCWD, whole(source), AT_FDCWD, whole(target), RENAME_NOREPLACE), 'renameat2', source);
}

/**
 * Writes everything of the filesystem that holds the open file to disk; `path` is for the error only. It may take
 * seconds, so it runs off the event loop.
 */
export async function syncFilesystemOf(descriptor: number, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    syncfs.async(descriptor, (error: unknown, result: number) => {
      if (error !== null && error !== undefined)
        reject(error instanceof Error ? error : new Error('koffi failed', { cause: error }));
      // koffi carries errno over from its thread, for the length of this callback.
      else if (result < 0) reject(new SystemCallError('syncfs', path, koffi.errno()));
      else resolve();
    });
  });
}

/** A lock that would be in the way of a write lock on the range. */
export interface LockHolder {
  readonly kind: 'read' | 'write';
  /** -1: a lock of an open file description; 0: the holder is in a pid namespace that can't be seen from here. */
  readonly pid: number;
  readonly startBytes: number;
  readonly lengthBytes: number;
}

/**
 * Asks for the first POSIX or OFD lock of another process on a byte range (F_GETLK); null when there is none. The
 * process that asks must hold no locks of its own on the file: closing the descriptor would drop them.
 */
export function lockHolder(
  descriptor: number,
  path: string,
  startBytes: number,
  lengthBytes: number,
): LockHolder | null {
  // struct flock of 64-bit Linux: short type, short whence, int64 start, int64 length, int pid.
  const query = Buffer.alloc(32);
  query.writeInt16LE(F_WRLCK, 0);
  query.writeBigInt64LE(BigInt(startBytes), 8);
  query.writeBigInt64LE(BigInt(lengthBytes), 16);
  check(fcntl(descriptor, F_GETLK, 'void *', query), 'fcntl', path);
  const type = query.readInt16LE(0);
  if (type === F_UNLCK) return null;
  return {
    kind: type === F_RDLCK ? 'read' : 'write',
    pid: query.readInt32LE(24),
    startBytes: Number(query.readBigInt64LE(8)),
    lengthBytes: Number(query.readBigInt64LE(16)),
  };
}

/** Names of the extended attributes of a file, directory or link itself. */
export function listXattrs(path: string): string[] {
  // Almost no file has any: asking for the length first is the fast path.
  for (;;) {
    const length = llistxattr(whole(path), null, 0);
    if (length < 0 && koffi.errno() === koffi.os.errno['ENOTSUP']) return [];
    if (check(length, 'llistxattr', path) === 0) return [];
    const list = Buffer.alloc(length);
    const read = llistxattr(path, list, length);
    // Grown in between: ask again.
    if (read < 0 && koffi.errno() === koffi.os.errno['ERANGE']) continue;
    check(read, 'llistxattr', path);
    return list
      .toString('utf8', 0, read)
      .split('\0')
      .filter((name) => name !== '');
  }
}

/** The value of one extended attribute. Errors: ENODATA when it is absent. */
export function getXattr(path: string, name: string): Buffer {
  for (;;) {
    const value = Buffer.alloc(check(lgetxattr(whole(path), whole(name), null, 0), 'lgetxattr', path));
    // A size of zero would ask for the length again, and an empty value is read already.
    if (value.length === 0) return value;
    const read = lgetxattr(path, name, value, value.length);
    if (read < 0 && koffi.errno() === koffi.os.errno['ERANGE']) continue;
    return value.subarray(0, check(read, 'lgetxattr', path));
  }
}

/** Sets one extended attribute, new or not. */
export function setXattr(path: string, name: string, value: Buffer): void {
  check(lsetxattr(whole(path), whole(name), value, value.length, 0), 'lsetxattr', path);
}

/** Removes one extended attribute. Errors: ENODATA when it is absent. */
export function removeXattr(path: string, name: string): void {
  check(lremovexattr(whole(path), whole(name)), 'lremovexattr', path);
}

/** Sets the time of the last change in nanoseconds since 1970, of a link itself too; the access time stays. */
export function setMtime(path: string, mtimeNanos: bigint): void {
  // Two struct timespec: seconds and nanoseconds of access, then of change. Seconds are floored for times before 1970.
  const nanos = ((mtimeNanos % NANOS_PER_SECOND) + NANOS_PER_SECOND) % NANOS_PER_SECOND;
  const times = Buffer.alloc(32);
  times.writeBigInt64LE(UTIME_OMIT, 8);
  times.writeBigInt64LE((mtimeNanos - nanos) / NANOS_PER_SECOND, 16);
  times.writeBigInt64LE(nanos, 24);
  check(utimensat(AT_FDCWD, whole(path), times, AT_SYMLINK_NOFOLLOW), 'utimensat', path);
}
