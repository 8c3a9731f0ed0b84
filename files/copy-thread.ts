// The thread side of files/copy.ts: reads each byte once, hashes and writes it. Synchronous calls on purpose: for
// thousands of small files they are several times faster than promises, and a thread has nothing else to do.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import { translateErrno } from './errors.js';
import { assertNoDatabase, assertSource, assertUnchanged, openSource } from './source-file.js';
import type { SourceFile } from './source-file.js';
import { openTarget, writeWhole } from './target-file.js';

/** One file to read; without `target` it is only hashed. */
export interface ReadJob extends SourceFile {
  readonly target?: string;
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
    assertSource(job, before);
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
    if (sizeBytes === 0) assertNoDatabase(job, block);
    hash.update(block);
    if (target !== null) writeWhole(target, block);
    sizeBytes += read;
    Atomics.add(counters, 0, BigInt(read));
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}
