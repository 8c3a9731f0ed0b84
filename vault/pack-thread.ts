// The thread side of vault/packer.ts: reads each byte once, cuts it into chunks, leaves out those that the vault has, and
// compresses, packs and seals the others. Chunks of databases and of other files get packs of their own
// (docs/vault-format.md "Packs").
import { createHash, hash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import binding from 'zstd-napi/binding.js';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import type { ObjectFact, RunTuple } from '../domain/vault.js';
import { alignedMemory } from '../files/direct-write.js';
import { translateErrno } from '../files/errors.js';
import { assertNoDatabase, assertSource, assertUnchanged, openSourceAhead } from '../files/source-file.js';
import type { SourceFile } from '../files/source-file.js';
import { lowerPriorityOfThread } from '../files/system-calls.js';
import { makeHeader, sealInto, sealedSize } from './age-file.js';
import { CHUNK_ROW_BYTES, ChunkLookup } from './chunk-index.js';
import type { ChunkPlace } from './chunk-index.js';
import { RecentChunks } from './recent-chunks.js';

/** docs/performance.md says why these sizes, and this level. */
export const PACK_BYTES = 8 * 1024 * 1024;
const FILE_CHUNK_BYTES = 1024 * 1024;
const DATABASE_CHUNK_BYTES = 16 * 1024;
const COMPRESSION_LEVEL = 1;
/** A reader may decompress a run at once. */
const RUN_BYTES_MAX = 8 * 1024 * 1024;
const HEADER_BYTES_MAX = 1024;
const NICE = 5;

/** What a pack is at most long, sealed. */
export const SEALED_BYTES_MAX = sealedSize(HEADER_BYTES_MAX, PACK_BYTES + binding.compressBound(FILE_CHUNK_BYTES));

export interface PackJob extends SourceFile {
  readonly kind: 'database' | 'file';
}

/** Pack numbers of `runs` are those of the index. */
export interface PackResult extends ObjectFact {
  readonly runs: readonly RunTuple[];
}

export interface PackThreadData {
  readonly recipient: string;
  readonly vault: string;
  readonly index: string;
  /** Numbers of the packs that may be reused. */
  readonly reusable: readonly number[];
  readonly recent: SharedArrayBuffer;
  /** Shared: [0] bytes and [1] number of files done, databases not among them, [2] not zero: give up, [3] number of the next pack. */
  readonly counters: BigInt64Array;
}

export type ToThread =
  | { readonly jobs: readonly PackJob[] }
  /** Its last pack. */
  | { readonly written: true }
  | { readonly finish: true };

export type FromThread =
  | { readonly results: readonly PackResult[] }
  | { readonly stop: { readonly code: StopCode; readonly message: string; readonly details: StopDetails } }
  | {
      readonly pack: {
        readonly number: number;
        readonly sha256: string;
        /** Shared: the thread's again when it is told that they are written. */
        readonly bytes: Uint8Array;
        /** Rows of ChunkIndex.addPack. */
        readonly chunks: Uint8Array;
      };
    }
  | { readonly finished: true };

const port = parentPort;
if (port === null) throw new Error('defect: vault/pack-thread.ts is a thread');
const { recipient, vault, index, reusable, recent: recentMemory, counters } = workerData as PackThreadData;

// The cut comes first: its snapshots are pinned, and the store's log grows, until it has copied everything
lowerPriorityOfThread(NICE);

const known = new ChunkLookup(index, vault);
const mayReuse = new Set(reusable);
const recent = new RecentChunks(recentMemory);
const compressor = new binding.CCtx();
compressor.setParameter(binding.CParameter.compressionLevel, COMPRESSION_LEVEL);
const block = Buffer.allocUnsafeSlow(FILE_CHUNK_BYTES);

/** A sealed pack, which the packer writes while the next one is filled: shared, so that none is copied or collected. */
const sealed = alignedMemory(SEALED_BYTES_MAX);
let written: Promise<void> = Promise.resolve();
let hasWritten: () => void = () => undefined;

/** The pack that is being filled. */
class OpenPack {
  readonly #plain = Buffer.allocUnsafeSlow(PACK_BYTES + binding.compressBound(FILE_CHUNK_BYTES));
  #used = 0;
  #number = 0;
  #rows: Buffer[] = [];

  get isFull(): boolean {
    return this.#used >= PACK_BYTES;
  }

  add(sha256: Buffer, chunk: Uint8Array): ChunkPlace {
    if (this.#used === 0) this.#number = Number(Atomics.add(counters, 3, 1n));
    const length = compressor.compress2(this.#plain.subarray(this.#used), chunk);
    const place = [this.#number, this.#used, length, chunk.length] as const;
    this.#used += length;
    const row = Buffer.alloc(CHUNK_ROW_BYTES);
    sha256.copy(row);
    row.writeUInt32LE(place[1], sha256.length);
    row.writeUInt32LE(length, sha256.length + 4);
    row.writeUInt32LE(chunk.length, sha256.length + 8);
    this.#rows.push(row);
    return place;
  }

  /** Hands the pack to whoever writes it. */
  async seal(): Promise<void> {
    if (this.#used === 0) return;
    const header = await makeHeader(recipient);
    await written;
    written = new Promise((resolve) => (hasWritten = resolve));
    const bytes = sealed.subarray(0, sealInto(sealed, header, this.#plain.subarray(0, this.#used)));
    const sha256 = hash('sha256', bytes, 'hex');
    say({ pack: { number: this.#number, sha256, bytes, chunks: Buffer.concat(this.#rows) } });
    this.#used = 0;
    this.#rows = [];
  }
}

const open = { database: new OpenPack(), file: new OpenPack() } as const;

function say(message: FromThread): void {
  port?.postMessage(message);
}

/** Consecutive chunks of a file that lie one after the other in a pack are one run. */
class Runs {
  readonly list: RunTuple[] = [];

  add([pack, offset, length, size]: ChunkPlace): void {
    const last = this.list.at(-1);
    const follows = last !== undefined && last[0] === pack && last[1] + last[2] === offset;
    if (follows && last[3] + size <= RUN_BYTES_MAX)
      this.list[this.list.length - 1] = [pack, last[1], last[2] + length, last[3] + size];
    else this.list.push([pack, offset, length, size]);
  }
}

async function packFile(job: PackJob, descriptor: number): Promise<PackResult> {
  const before = fstatSync(descriptor, { bigint: true });
  assertSource(job, before);
  const result = await packBytes(job, descriptor);
  assertUnchanged(job, before, fstatSync(descriptor, { bigint: true }), result.sizeBytes);
  const wanted = job.expected?.sha256;
  if (wanted !== undefined && wanted !== result.sha256)
    throw new Stop('checksum_mismatch', `${job.source} is not what was recorded`, { path: job.source });
  return result;
}

async function packBytes(job: PackJob, descriptor: number): Promise<PackResult> {
  const chunkBytes = job.kind === 'database' ? DATABASE_CHUNK_BYTES : FILE_CHUNK_BYTES;
  const lengthBytes = job.lengthBytes ?? Number.POSITIVE_INFINITY;
  const runs = new Runs();
  const whole = createHash('sha256');
  let sizeBytes = 0;
  for (;;) {
    if (Atomics.load(counters, 2) !== 0n) throw new Stop('cancelled', 'reading was given up', { path: job.source });
    const bytes = readBlock(descriptor, Math.min(block.length, lengthBytes - sizeBytes));
    if (sizeBytes === 0) assertNoDatabase(job, bytes);
    // What is one chunk is hashed once
    const isOneChunk = sizeBytes === 0 && bytes.length <= chunkBytes && bytes.length < block.length;
    if (isOneChunk) {
      const digest = hash('sha256', bytes, 'buffer');
      if (bytes.length > 0) runs.add(await placeOf(job.kind, digest, bytes));
      count(job, bytes.length);
      return { sha256: digest.toString('hex'), sizeBytes: bytes.length, runs: runs.list };
    }
    whole.update(bytes);
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const chunk = bytes.subarray(at, at + chunkBytes);
      runs.add(await placeOf(job.kind, hash('sha256', chunk, 'buffer'), chunk));
    }
    sizeBytes += bytes.length;
    count(job, bytes.length);
    if (bytes.length < block.length) break;
  }
  return { sha256: whole.digest('hex'), sizeBytes, runs: runs.list };
}

/** As much as there is, up to `length`: read(2) may give less than it was asked for. */
function readBlock(descriptor: number, length: number): Buffer {
  let filled = 0;
  while (filled < length) {
    const read = readSync(descriptor, block, filled, length - filled, null);
    if (read === 0) break;
    filled += read;
  }
  return block.subarray(0, filled);
}

/** Databases have been counted when they were copied. */
function count({ kind }: PackJob, bytes: number): void {
  if (kind === 'file') Atomics.add(counters, 0, BigInt(bytes));
}

/** Where the vault has a chunk, or will have it. Awaited only where a pack was full. */
function placeOf(kind: PackJob['kind'], sha256: Buffer, chunk: Buffer): ChunkPlace | Promise<ChunkPlace> {
  const before = recent.find(sha256) ?? (mayReuse.size > 0 ? reusableOnly(known.find(sha256)) : null);
  if (before !== null && before[3] === chunk.length) return before;
  const pack = open[kind];
  const place = pack.add(sha256, chunk);
  recent.add(sha256, place);
  return pack.isFull ? pack.seal().then(() => place) : place;
}

const reusableOnly = (place: ChunkPlace | null): ChunkPlace | null =>
  place !== null && mayReuse.has(place[0]) ? place : null;

async function packBatch(jobs: readonly PackJob[]): Promise<FromThread> {
  const results: PackResult[] = [];
  const opened: { readonly job: PackJob; readonly descriptor: number }[] = [];
  let path = '';
  try {
    // All of them first: the disk has work while the first ones are packed
    for (const job of jobs) {
      path = job.source;
      opened.push({ job, descriptor: openSourceAhead(job) });
    }
    for (const { job, descriptor } of opened) {
      path = job.source;
      results.push(await packFile(job, descriptor));
      if (job.kind === 'file') Atomics.add(counters, 1, 1n);
    }
    return { results };
  } catch (error) {
    const translated = translateErrno(error, { path });
    if (!(translated instanceof Stop)) throw translated;
    return { stop: { code: translated.code, message: translated.message, details: translated.details } };
  } finally {
    for (const { descriptor } of opened) closeSync(descriptor);
  }
}

port.on('message', (message: ToThread) => {
  if ('written' in message) {
    hasWritten();
  } else if ('jobs' in message) void packBatch(message.jobs).then(say, fail);
  else void finish().catch(fail);
});

async function finish(): Promise<void> {
  await open.database.seal();
  await open.file.seal();
  known.close();
  say({ finished: true });
  port?.close();
}

/** A defect ends the thread, and with it the packer. */
function fail(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
