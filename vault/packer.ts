// Packs files into a vault in threads, off the event loop. Whatever is written before an envelope refers to it is nothing
// but unreferenced packs, which anybody may delete.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { ObjectFact } from '../domain/vault.js';
import { batchesOf } from '../files/batches.js';
import type { BatchLimits } from '../files/batches.js';
import type { CopyOptions } from '../files/copy.js';
import type { ChunkIndex } from './chunk-index.js';
import type { FromThread, PackJob, PackResult, PackThreadData, ToThread } from './pack-thread.js';
import type { Place } from './place.js';
import { RECENT_CHUNKS_BYTES } from './recent-chunks.js';

export type { PackJob, PackResult } from './pack-thread.js';

export interface PackerOptions {
  readonly place: Place;
  /** UUID. */
  readonly vault: string;
  /** `age1…` of the vault key. */
  readonly recipient: string;
  readonly index: ChunkIndex;
  readonly store: string;
  /** false: everything is written anew, whatever the vault is said to have. */
  readonly reuses?: boolean;
}

/** Each has 27 MiB of packs. */
const THREADS_MAX = 4;
const BATCHES: BatchLimits<PackJob> = {
  // They are opened together
  filesMax: 64,
  bytesMax: 16 * 1024 * 1024,
  sizeOf: ({ lengthBytes, expected }) => lengthBytes ?? expected?.sizeBytes ?? 0,
};
const PROGRESS_MILLIS = 200;

interface Batch {
  readonly jobs: readonly PackJob[];
  readonly resolve: (results: readonly PackResult[]) => void;
  readonly reject: (error: unknown) => void;
}

export class Packer {
  readonly #options: PackerOptions;
  readonly #counters = new BigInt64Array(new SharedArrayBuffer(4 * 8));
  readonly #data: PackThreadData;
  /** None before there is anything to pack. */
  readonly #threads: Lane[] = [];
  readonly #waiting: Batch[] = [];
  readonly #packs = new Map<number, ObjectFact>();
  readonly #writes = new Set<Promise<void>>();
  /** How many packEach go on with it. */
  readonly #signals = new Map<AbortSignal, number>();
  readonly #known: ReadonlyMap<number, ObjectFact>;
  #failure: Error | null = null;
  #addedBytes = 0;

  /** @throws Stop index_corrupt */
  constructor(options: PackerOptions) {
    this.#options = options;
    this.#counters[3] = BigInt(options.index.begin(options.store));
    this.#known = options.reuses === false ? new Map() : options.index.packs();
    this.#data = {
      recipient: options.recipient,
      vault: options.vault,
      index: options.index.path,
      reusable: [...this.#known.keys()],
      recent: new SharedArrayBuffer(RECENT_CHUNKS_BYTES),
      counters: this.#counters,
    };
  }

  /** Whether the vault had this pack when the backup began. */
  mayReuse(number: number): boolean {
    return this.#known.has(number);
  }

  /** Bytes of the packs that were written. */
  get addedBytes(): number {
    return this.#addedBytes;
  }

  /**
   * Packs each file. Jobs are asked for as they are needed, and `onResult` is told of each, in no order, with the number of
   * its job: of many files there is never a whole list.
   * @throws Stop those of files/copy.ts copyEach but of targets; index_corrupt
   */
  async packEach(
    jobs: Iterable<PackJob>,
    { signal, onProgress, threadsMax = THREADS_MAX }: CopyOptions,
    onResult: (index: number, result: PackResult) => void,
  ): Promise<void> {
    const begin = [Atomics.load(this.#counters, 0), Atomics.load(this.#counters, 1)] as const;
    if (signal !== undefined) this.#endWith(signal);
    const report = (): void =>
      onProgress?.(
        Number(Atomics.load(this.#counters, 0) - begin[0]),
        Number(Atomics.load(this.#counters, 1) - begin[1]),
      );
    const timer = setInterval(report, PROGRESS_MILLIS);
    // The lanes share one iterator: each takes the next batch that nobody has
    const batches = batchesOf(jobs, BATCHES);
    const lane = async (): Promise<void> => {
      for (const { index, jobs: batch } of batches)
        for (const [nth, result] of (await this.#enqueue(batch)).entries()) onResult(index + nth, result);
    };
    try {
      await Promise.all(Array.from({ length: threadsMax }, lane));
      report();
    } finally {
      clearInterval(timer);
      if (signal !== undefined) this.#endNoMoreWith(signal);
    }
  }

  /** Once for each signal, as long as work goes on with it: of hundreds of databases each is packed by itself, and all with one. */
  #endWith(signal: AbortSignal): void {
    if (signal.aborted) this.#cancel();
    const count = this.#signals.get(signal) ?? 0;
    this.#signals.set(signal, count + 1);
    if (count === 0) signal.addEventListener('abort', this.#cancel, { once: true });
  }

  #endNoMoreWith(signal: AbortSignal): void {
    const count = (this.#signals.get(signal) ?? 1) - 1;
    this.#signals.set(signal, count);
    if (count === 0) signal.removeEventListener('abort', this.#cancel);
  }

  readonly #cancel = (): void => this.#fail(new Stop('cancelled', 'reading was given up'));

  /** Seals what is open, and waits until everything is durable. */
  async finish(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.finish()));
    await Promise.all(this.#writes);
    this.#assertSound();
    if (this.#packs.size > 0) await this.#options.place.settle();
  }

  /**
   * The packs of the numbers of runs, once finish has returned.
   * @throws Stop vault_object_missing where the vault does not have a reused one any more, or another: all that are missing
   * are forgotten, so that the next backup writes their chunks anew
   */
  async factsOf(numbers: Iterable<number>): Promise<ReadonlyMap<number, ObjectFact>> {
    const facts = new Map<number, ObjectFact>();
    const missing: string[] = [];
    for (const number of numbers) {
      const fact = this.#packs.get(number) ?? this.#known.get(number);
      if (fact === undefined) throw new Error(`defect: a run of pack ${number}, which nobody has written`);
      if (!this.#packs.has(number) && !(await this.#isThere(fact))) missing.push(fact.sha256);
      facts.set(number, fact);
    }
    const [first] = missing;
    if (first === undefined) return facts;
    this.#options.index.forgetPacks(missing);
    throw new Stop('vault_object_missing', `${OBJECTS.pack(first)} is missing, or another`, {
      vault: this.#options.place.location,
      object: OBJECTS.pack(first),
      count: missing.length,
      hint: 'the next backup writes their chunks anew',
    });
  }

  async #isThere({ sha256, sizeBytes }: ObjectFact): Promise<boolean> {
    return (await this.#options.place.sizeOf(OBJECTS.pack(sha256))) === sizeBytes;
  }

  /** Ends the threads, whatever they do. */
  async close(): Promise<void> {
    Atomics.store(this.#counters, 2, 1n);
    await Promise.allSettled(this.#writes);
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  #enqueue(jobs: readonly PackJob[]): Promise<readonly PackResult[]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ jobs, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    const count = this.#waiting.length === 0 ? 0 : Math.min(THREADS_MAX, Math.max(2, availableParallelism()));
    while (this.#threads.length < count) this.#threads.push(this.#startThread());
    for (const thread of this.#threads) {
      if (thread.batch !== null) continue;
      const batch = this.#waiting.shift();
      if (batch === undefined) return;
      thread.batch = batch;
      thread.say({ jobs: batch.jobs });
    }
  }

  #startThread(): Lane {
    const lane = new Lane(this.#data);
    lane.worker.on('message', (message: FromThread) => {
      if ('pack' in message) return this.#write(lane, message.pack);
      if ('finished' in message) return lane.finished();
      const { batch } = lane;
      lane.batch = null;
      if ('results' in message) batch?.resolve(message.results);
      else {
        const { code, message: text, details } = message.stop;
        const stop = new Stop(code, text, details);
        batch?.reject(stop);
        this.#fail(stop);
      }
      this.#dispatch();
    });
    lane.worker.on('error', (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    return lane;
  }

  #write(lane: Lane, { number, sha256, bytes, chunks }: Extract<FromThread, { pack: object }>['pack']): void {
    const fact = { sha256, sizeBytes: bytes.length };
    const { place, index, store } = this.#options;
    const write = place
      .putPack(OBJECTS.pack(sha256), bytes)
      .then(() => {
        index.addPack(store, number, fact, Buffer.from(chunks.buffer, chunks.byteOffset, chunks.length));
        this.#packs.set(number, fact);
        this.#addedBytes += fact.sizeBytes;
        lane.say({ written: true });
      })
      .catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => this.#writes.delete(write));
    this.#writes.add(write);
  }

  /** The first failure ends everything; those of the others that it brings about are not told. */
  #fail(error: Error): void {
    this.#failure ??= error;
    Atomics.store(this.#counters, 2, 1n);
    for (const batch of this.#waiting.splice(0)) batch.reject(this.#failure);
    for (const lane of this.#threads) {
      lane.batch?.reject(this.#failure);
      lane.abandon(this.#failure);
    }
  }

  #assertSound(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

/** A thread, and the batch that it has. */
class Lane {
  batch: Batch | null = null;
  readonly worker: Worker;
  /** Why it ended; null: everything that it had is sealed. */
  readonly #finish: Promise<Error | null>;
  #settle: (why: Error | null) => void = () => undefined;

  constructor(data: PackThreadData) {
    this.worker = new Worker(new URL('./pack-thread.js', import.meta.url), { workerData: data });
    this.#finish = new Promise((resolve) => (this.#settle = resolve));
  }

  say(message: ToThread): void {
    this.worker.postMessage(message);
  }

  async finish(): Promise<void> {
    this.say({ finish: true });
    const why = await this.#finish;
    if (why !== null) throw why;
  }

  finished(): void {
    this.#settle(null);
  }

  abandon(error: Error): void {
    this.#settle(error);
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }
}
