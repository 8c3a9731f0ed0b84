// A file that is read whole by a thread: what it must still be when it is opened, and when it has been read. Shared by
// whatever copies (copy-thread.ts) and by whatever packs.
import { constants, openSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { Stop } from '../domain/stop.js';
import { hasErrno } from './errors.js';
import { beginsLikeDatabase } from './magic.js';
import { adviseWillNeed } from './system-calls.js';

/** What a source must still be; facts that are absent are not compared. */
export interface ExpectedFile {
  readonly sizeBytes?: number;
  /** Lower-case hex. */
  readonly sha256?: string;
  readonly inode?: string;
  readonly mtimeNanos?: string;
  readonly ctimeNanos?: string;
}

/** One file to read. */
export interface SourceFile {
  readonly source: string;
  readonly expected?: ExpectedFile;
  /** Policy `append`: only the first so many bytes; the file may be longer by now. */
  readonly lengthBytes?: number;
  /** A file of a tree: one that begins like a database was to be copied through SQLite, and is refused here. */
  readonly refuseDatabase?: boolean;
}

/** Opens without following a link, and without waiting for the other end of a FIFO that has taken the file's place. */
export function openSource(job: SourceFile): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    try {
      return openSync(job.source, flags | constants.O_NOATIME);
    } catch (error) {
      // Only the owner of a file may keep its access time.
      if (!hasErrno(error, 'EPERM')) throw error;
      return openSync(job.source, flags);
    }
  } catch (error) {
    const isCut = job.expected?.inode !== undefined;
    if (hasErrno(error, 'ENOENT', 'ENOTDIR'))
      throw isCut
        ? changed(job, 'vanished')
        : new Stop('file_missing', `${job.source} does not exist`, { path: job.source });
    if (hasErrno(error, 'ELOOP'))
      throw isCut
        ? changed(job, 'is a symbolic link now')
        : new Stop('symlink_found', `${job.source} is a symbolic link`, { path: job.source });
    if (hasErrno(error, 'ENXIO')) throw changed(job, 'is a special file');
    throw error;
  }
}

/** openSource of a file that is read soon: the disk may begin with it. */
export function openSourceAhead(job: SourceFile): number {
  const descriptor = openSource(job);
  adviseWillNeed(descriptor);
  return descriptor;
}

export function assertSource(job: SourceFile, facts: BigIntStats): void {
  if (!facts.isFile()) throw changed(job, 'is no regular file');
  const { inode, sizeBytes, mtimeNanos, ctimeNanos } = job.expected ?? {};
  if (inode !== undefined && inode !== facts.ino.toString()) throw changed(job, 'is another file');
  if (sizeBytes !== undefined && BigInt(sizeBytes) !== facts.size) {
    // Without an inode to compare it is no live file but a copy, and a copy has the size that was recorded.
    if (inode !== undefined) throw changed(job, 'has another size');
    throw new Stop('checksum_mismatch', `${job.source} has ${facts.size} bytes, ${sizeBytes} are recorded`, {
      path: job.source,
    });
  }
  if (mtimeNanos !== undefined && mtimeNanos !== facts.mtimeNs.toString()) throw changed(job, 'was written to');
  if (ctimeNanos !== undefined && ctimeNanos !== facts.ctimeNs.toString()) throw changed(job, 'was changed');
}

export function assertUnchanged(job: SourceFile, before: BigIntStats, after: BigIntStats, readBytes: number): void {
  if (job.lengthBytes !== undefined) {
    if (readBytes !== job.lengthBytes) throw changed(job, 'is shorter than it was');
    return;
  }
  if (
    before.size !== after.size ||
    before.mtimeNs !== after.mtimeNs ||
    before.ctimeNs !== after.ctimeNs ||
    BigInt(readBytes) !== after.size
  ) {
    throw changed(job, 'was written to while it was read');
  }
}

/**
 * The walk takes no file of such a length for a database (files/walk.ts), so it was not pinned by the cut.
 * @param begin the first bytes of the file
 * @throws Stop not_a_database
 */
export function assertNoDatabase(job: SourceFile, begin: Buffer): void {
  if (job.refuseDatabase !== true || !beginsLikeDatabase(begin)) return;
  throw new Stop('not_a_database', `${job.source} begins like a SQLite database, but is no number of pages long`, {
    path: job.source,
  });
}

function changed(job: SourceFile, how: string): Stop {
  return new Stop('source_changed', `${job.source} ${how}`, { path: job.source });
}
