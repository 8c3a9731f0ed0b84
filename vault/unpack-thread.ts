// The thread side of vault/unpacker.ts: puts files together from their runs, hashes them, and writes them where a target is
// given. Synchronous calls on purpose, as in files/copy-thread.ts.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync } from 'node:fs';
import binding from 'zstd-napi/binding.js';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import type { RunTuple } from '../domain/vault.js';
import { translateErrno } from '../files/errors.js';
import { openTarget, writeWhole } from '../files/target-file.js';
import { PackReader } from './pack-reader.js';

/** One file to put together; without `target` it is only checked. Packs of runs are indexes into those of the batch. */
export interface UnpackJob {
  /** For messages: `<root>/<path>`. */
  readonly name: string;
  /** Must not exist. */
  readonly target?: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly runs: readonly RunTuple[];
}

export interface UnpackBatch {
  readonly jobs: readonly UnpackJob[];
  /** Name of the object and local path of each pack that a run names. */
  readonly packs: Readonly<Record<number, { readonly name: string; readonly path: string }>>;
  readonly identities: readonly string[];
  /** Go on after a file that can't be put together. */
  readonly tellsAll: boolean;
  /** Shared: [0] bytes done, [1] files done, [2] not zero: give up. */
  readonly counters: BigInt64Array;
}

/** What is wrong with a job, by its index; none: all of them are as they should be. */
export interface UnpackFault {
  readonly job: number;
  readonly code: StopCode;
  readonly message: string;
  readonly details: StopDetails;
}

/** As many as the packs that files of one database are spread over, in most cases. */
const READERS_MAX = 8;
/** Whole frames are written at once: a frame of a file is at most so long where this holdfast has written it. */
const FRAME_BYTES = 1024 * 1024;

const output = Buffer.allocUnsafeSlow(2 * FRAME_BYTES);
const decompressor = new binding.DCtx();

class Readers {
  readonly #open = new Map<number, PackReader>();
  readonly #batch: UnpackBatch;

  constructor(batch: UnpackBatch) {
    this.#batch = batch;
  }

  async of(pack: number): Promise<PackReader> {
    const known = this.#open.get(pack);
    // Again the last to be closed
    this.#open.delete(pack);
    const place = this.#batch.packs[pack];
    if (place === undefined) throw new Error(`defect: pack ${pack} is not in the batch`);
    const reader = known ?? (await PackReader.open(place.name, place.path, this.#batch.identities));
    this.#open.set(pack, reader);
    for (const [oldest, open] of this.#open) {
      if (this.#open.size <= READERS_MAX) break;
      open.close();
      this.#open.delete(oldest);
    }
    return reader;
  }

  closeAll(): void {
    for (const reader of this.#open.values()) reader.close();
  }
}

/** Runs a batch in order. Defects are thrown. */
export async function unpackBatch(batch: UnpackBatch): Promise<readonly UnpackFault[]> {
  const faults: UnpackFault[] = [];
  const readers = new Readers(batch);
  try {
    for (const [index, job] of batch.jobs.entries()) {
      try {
        await unpackFile(job, readers, batch.counters);
      } catch (error) {
        const translated = translateErrno(error, { path: job.target ?? job.name });
        if (!(translated instanceof Stop)) throw translated;
        const { code, message, details } = translated;
        faults.push({ job: index, code, message, details: { ...details, file: job.name } });
        if (!batch.tellsAll || code === 'cancelled') break;
      }
      Atomics.add(batch.counters, 1, 1n);
    }
  } finally {
    readers.closeAll();
  }
  return faults;
}

async function unpackFile(job: UnpackJob, readers: Readers, counters: BigInt64Array): Promise<void> {
  const target = job.target === undefined ? null : openTarget(job.target);
  try {
    const hash = createHash('sha256');
    for (const run of job.runs) {
      if (Atomics.load(counters, 2) !== 0n) throw new Stop('cancelled', 'unpacking was given up');
      unpackRun(job, run, await readers.of(run[0]), hash, target);
      Atomics.add(counters, 0, BigInt(run[3]));
    }
    const found = hash.digest('hex');
    if (found !== job.sha256)
      throw new Stop('checksum_mismatch', `${job.name} is not what the manifest says`, { expected: job.sha256, found });
  } finally {
    if (target !== null) closeSync(target);
  }
}

/** Frames are decompressed one after the other, and written when there is no room for another one. */
function unpackRun(
  job: UnpackJob,
  [, offset, length, size]: RunTuple,
  reader: PackReader,
  hash: Hash,
  target: number | null,
): void {
  // Whatever the run before has left
  decompressor.reset(binding.ResetDirective.sessionOnly);
  let filled = 0;
  let written = 0;
  let left = 0;
  const flush = (): void => {
    const bytes = output.subarray(0, filled);
    written += filled;
    if (written > size) throw mismatch(job, 'a run is longer than the manifest says');
    hash.update(bytes);
    if (target !== null) writeWhole(target, bytes);
    filled = 0;
  };
  for (let at = offset; at < offset + length;) {
    const input = reader.slice(at, offset + length - at);
    for (let used = 0; used < input.length;) {
      if (output.length - filled < FRAME_BYTES) flush();
      const [hint, produced, consumed] = decompress(job, output.subarray(filled), input.subarray(used));
      if (produced === 0 && consumed === 0) throw mismatch(job, 'a frame does not end');
      filled += produced;
      used += consumed;
      left = hint;
    }
    at += input.length;
  }
  while (left !== 0) {
    if (output.length - filled < FRAME_BYTES) flush();
    const [hint, produced] = decompress(job, output.subarray(filled), Buffer.alloc(0));
    if (produced === 0) throw mismatch(job, 'a frame is cut short');
    filled += produced;
    left = hint;
  }
  flush();
  if (written !== size) throw mismatch(job, 'a run is shorter than the manifest says');
}

function decompress(
  job: UnpackJob,
  target: Buffer,
  source: Buffer,
): [hint: number, produced: number, consumed: number] {
  try {
    return decompressor.decompressStream(target, source);
  } catch (error) {
    decompressor.reset(binding.ResetDirective.sessionOnly);
    throw mismatch(job, 'a frame is no zstd', error);
  }
}

function mismatch(job: UnpackJob, why: string, cause?: unknown): Stop {
  // The next file begins with a new frame
  decompressor.reset(binding.ResetDirective.sessionOnly);
  return new Stop('checksum_mismatch', `${job.name} is not what the manifest says: ${why}`, {}, { cause });
}
