// The thread side of files/copy.ts: reads each byte once, hashes and writes it. Synchronous calls on purpose: for
// thousands of small files they are several times faster than promises, and a thread has nothing else to do.
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import { hasErrno, translateErrno } from './errors.js';
import { beginsLikeDatabase } from './magic.js';

/** What a source must still be; facts that are absent are not compared. */
export interface ExpectedFile {
  readonly sizeBytes?: number;
  /** Lower-case hex. */
  readonly sha256?: string;
  readonly inode?: string;
  readonly mtimeNanos?: string;
  readonly ctimeNanos?: string;
}

/** One file to read; without `target` it is only hashed. */
export interface ReadJob {
  readonly source: string;
  readonly target?: string;
  readonly expected?: ExpectedFile;
  /** Policy `append`: only the first so many bytes; the file may be longer by now. */
  readonly lengthBytes?: number;
  /** A file of a tree: one that begins like a database was to be copied through SQLite, and is refused here. */
  readonly refuseDatabase?: boolean;
}

export interface ReadResult {
  /** Lower-case hex, of the bytes that were read and written. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface Batch {
  readonly jobs: readonly ReadJob[];
  /** Shared with the caller: [0] bytes done, [1] files done, [2] not zero: give up. */
  readonly counters: BigInt64Array;
}

/** A class does not survive the way between threads, so a STOP travels as its parts. */
export type BatchOutcome =
  | { readonly results: readonly ReadResult[] }
  | { readonly stop: { readonly code: StopCode; readonly message: string; readonly details: StopDetails } };

const BUFFER_BYTES = 1024 * 1024;
const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

/** Runs a batch in order and ends at its first STOP. Defects are thrown. */
export function readBatch(batch: Batch): BatchOutcome {
  const results: ReadResult[] = [];
  for (const job of batch.jobs) {
    try {
      results.push(readFile(job, batch.counters));
    } catch (error) {
      const translated = translateErrno(error, {
        path: job.source,
        ...(job.target === undefined ? {} : { target: job.target }),
      });
      if (!(translated instanceof Stop)) throw translated;
      return { stop: { code: translated.code, message: translated.message, details: translated.details } };
    }
    Atomics.add(batch.counters, 1, 1n);
  }
  return { results };
}

function readFile(job: ReadJob, counters: BigInt64Array): ReadResult {
  const source = openSource(job);
  try {
    const before = fstatSync(source, { bigint: true });
    assertExpected(job, before);
    const target = job.target === undefined ? null : openTarget(job.target);
    let result: ReadResult;
    try {
      result = pump(job, source, target, counters);
    } finally {
      if (target !== null) closeSync(target);
    }
    assertUnchanged(job, before, fstatSync(source, { bigint: true }), result.sizeBytes);
    const wanted = job.expected?.sha256;
    if (wanted !== undefined && wanted !== result.sha256) {
      throw new Stop('checksum_mismatch', `${job.source} is not what was recorded`, {
        path: job.source,
        expected: wanted,
        found: result.sha256,
      });
    }
    return result;
  } finally {
    closeSync(source);
  }
}

function pump(job: ReadJob, source: number, target: number | null, counters: BigInt64Array): ReadResult {
  const hash = createHash('sha256');
  const lengthBytes = job.lengthBytes ?? Number.POSITIVE_INFINITY;
  let sizeBytes = 0;
  while (sizeBytes < lengthBytes) {
    if (Atomics.load(counters, 2) !== 0n) throw new Stop('cancelled', 'reading was given up', { path: job.source });
    const read = readSync(source, buffer, 0, Math.min(BUFFER_BYTES, lengthBytes - sizeBytes), null);
    if (read === 0) break;
    const block = buffer.subarray(0, read);
    if (sizeBytes === 0 && job.refuseDatabase === true && beginsLikeDatabase(block)) throw halfDatabase(job);
    hash.update(block);
    if (target !== null) writeWhole(target, block);
    sizeBytes += read;
    Atomics.add(counters, 0, BigInt(read));
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/** write(2) may write less than it was given. */
function writeWhole(descriptor: number, block: Buffer): void {
  for (let written = 0; written < block.length;)
    written += writeSync(descriptor, block, written, block.length - written, null);
}

/** Opens without following a link, and without waiting for the other end of a FIFO that has taken the file's place. */
function openSource(job: ReadJob): number {
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

/** Never over anything: staging is new, and what is there already is not ours. */
function openTarget(target: string): number {
  try {
    return openSync(target, 'wx', 0o600);
  } catch (error) {
    if (hasErrno(error, 'EEXIST'))
      throw new Stop('target_exists', `${target} exists`, { path: target }, { cause: error });
    throw error;
  }
}

function assertExpected(job: ReadJob, facts: BigIntStats): void {
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

function assertUnchanged(job: ReadJob, before: BigIntStats, after: BigIntStats, readBytes: number): void {
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

/** The walk takes no file of such a length for a database (files/walk.ts), so it was not pinned by the cut. */
function halfDatabase(job: ReadJob): Stop {
  return new Stop('not_a_database', `${job.source} begins like a SQLite database, but is no number of pages long`, {
    path: job.source,
  });
}

function changed(job: ReadJob, how: string): Stop {
  return new Stop('source_changed', `${job.source} ${how}`, { path: job.source });
}
