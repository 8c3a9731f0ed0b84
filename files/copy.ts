// Copies and hashes files in threads, off the event loop, each byte read once (F-9, F-14). Nothing is made durable
// file by file: staging is synced as a whole by one syncFilesystem of the caller, who also drops staging after a STOP,
// because targets that were written until then stay.
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { Stop } from '../domain/stop.js';
import { translating } from './errors.js';
import { compareBytes } from './safe-path.js';
import type { Batch, BatchOutcome, ReadJob, ReadResult } from './copy-thread.js';
import type { ExpectedFile } from './source-file.js';

export type { ReadResult } from './copy-thread.js';
export type { ExpectedFile } from './source-file.js';

export interface CopyJob extends ReadJob {
  readonly target: string;
}

export interface HashJob {
  readonly source: string;
  readonly expected?: ExpectedFile;
  readonly lengthBytes?: number;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Totals so far, about five times a second and once at the end. */
  readonly onProgress?: (bytes: number, files: number) => void;
}

export interface CopyOptions extends ReadOptions {
  /** At most so many at once, when something else is to have a processor to itself. */
  readonly threadsMax?: number;
}

const THREADS_MAX = 8;
const BATCH_FILES_MAX = 256;
const BATCH_BYTES_MAX = 32 * 1024 * 1024;
/** What a file costs beside its bytes, for batches of files whose sizes are not known. */
const FILE_COST_BYTES = 64 * 1024;
const PROGRESS_MILLIS = 200;
/** The threads that check databases come next, and want the memory. */
const IDLE_MILLIS = 500;

let threads: Piscina<Batch, BatchOutcome> | null = null;

/** One pool for the process; idle threads end by themselves and keep no process alive. */
function pool(): Piscina<Batch, BatchOutcome> {
  threads ??= new Piscina<Batch, BatchOutcome>({
    filename: fileURLToPath(new URL('./copy-thread.js', import.meta.url)),
    name: 'readBatch',
    minThreads: 0,
    maxThreads: Math.min(THREADS_MAX, Math.max(2, availableParallelism())),
    idleTimeout: IDLE_MILLIS,
  });
  return threads;
}

/**
 * Makes the directories of a copy, none of which may exist, parents first (mode 0700). A filesystem that folds case or
 * Unicode forms would merge two whose names it takes for one, and it alone knows which these are: the second is there
 * already. Files of that kind are met by copyFiles.
 * @throws Stop target_exists, no_space, permission_denied, io_error
 */
export async function makeNewDirectories(paths: readonly string[]): Promise<void> {
  for (const path of [...paths].sort(compareBytes)) {
    const made = await translating({ path }, () => mkdir(path, { recursive: true, mode: 0o700 }));
    if (made === undefined)
      throw new Stop('target_exists', `${path} exists, or the filesystem takes another name for it`, { path });
  }
}

/**
 * Copies each source to a target that must not exist (mode 0600; files/metadata.ts gives the rest), in parallel, and
 * tells digest and size in the order of the jobs. The directories must exist.
 * @throws Stop source_changed (a live file, `expected.inode` given), file_missing, symlink_found, checksum_mismatch,
 * target_exists, cancelled, no_space, permission_denied, io_error
 */
export async function copyFiles(jobs: readonly CopyJob[], options: CopyOptions = {}): Promise<ReadResult[]> {
  return await readAll(jobs, options);
}

/** Hashes files like copyFiles, without writing. Throws the same Stops but those of targets. */
export async function hashFiles(jobs: readonly HashJob[], options: ReadOptions = {}): Promise<ReadResult[]> {
  return await readAll(jobs, options);
}

async function readAll(jobs: readonly ReadJob[], options: CopyOptions): Promise<ReadResult[]> {
  if (options.signal?.aborted === true) throw new Stop('cancelled', 'reading was given up before it began');
  const counters = new BigInt64Array(new SharedArrayBuffer(3 * 8));
  let wasCancelled = false;
  const giveUp = (): void => void Atomics.store(counters, 2, 1n);
  const cancel = (): void => {
    wasCancelled = true;
    giveUp();
  };
  const report = (): void => options.onProgress?.(Number(Atomics.load(counters, 0)), Number(Atomics.load(counters, 1)));
  const instance = pool();
  let fail: (error: unknown) => void = () => undefined;
  // A thread that can't even start belongs to no batch: without this its batches would wait for ever.
  const failed = new Promise<never>((_resolve, reject) => {
    fail = (error) => {
      threads = null;
      reject(error instanceof Error ? error : new Error('a thread failed', { cause: error }));
    };
  });
  instance.on('error', fail);
  const timer = setInterval(report, PROGRESS_MILLIS);
  options.signal?.addEventListener('abort', cancel, { once: true });
  try {
    const run = async (batch: readonly ReadJob[]): Promise<BatchOutcome> => {
      try {
        const outcome = await Promise.race([instance.run({ jobs: batch, counters }), failed]);
        // The first STOP ends the other batches; theirs is then `cancelled` and not the one to tell.
        if ('stop' in outcome) giveUp();
        return outcome;
      } catch (error) {
        giveUp();
        throw error;
      }
    };
    const outcomes = await settleInTurn(batchesOf(jobs), options.threadsMax ?? THREADS_MAX, run);
    report();
    return resultsOf(outcomes, wasCancelled);
  } finally {
    clearInterval(timer);
    instance.off('error', fail);
    options.signal?.removeEventListener('abort', cancel);
  }
}

/** The outcome of each item, in order; at most `lanesMax` are under way. */
async function settleInTurn<Item, Outcome>(
  items: readonly Item[],
  lanesMax: number,
  work: (item: Item) => Promise<Outcome>,
): Promise<readonly PromiseSettledResult<Outcome>[]> {
  const outcomes: PromiseSettledResult<Outcome>[] = [];
  const waiting = items.entries();
  const lane = async (): Promise<void> => {
    // The lanes share one iterator: each takes the next item that nobody has
    for (const [index, item] of waiting) [outcomes[index]] = await Promise.allSettled([work(item)]);
  };
  await Promise.all(Array.from({ length: lanesMax }, lane));
  return outcomes;
}

/** Many small files a batch, because passing one to a thread costs more than reading it; a large file alone. */
function batchesOf(jobs: readonly ReadJob[]): ReadJob[][] {
  const batches: ReadJob[][] = [];
  let batch: ReadJob[] = [];
  let bytes = 0;
  for (const job of jobs) {
    const cost = FILE_COST_BYTES + (job.lengthBytes ?? job.expected?.sizeBytes ?? 0);
    if (batch.length > 0 && (batch.length >= BATCH_FILES_MAX || bytes + cost > BATCH_BYTES_MAX)) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(job);
    bytes += cost;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

function resultsOf(outcomes: readonly PromiseSettledResult<BatchOutcome>[], wasCancelled: boolean): ReadResult[] {
  const results: ReadResult[] = [];
  let stop: Stop | null = null;
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') throw outcome.reason;
    if ('results' in outcome.value) {
      results.push(...outcome.value.results);
      continue;
    }
    const { code, message, details } = outcome.value.stop;
    if (stop === null || (stop.code === 'cancelled' && code !== 'cancelled')) stop = new Stop(code, message, details);
  }
  if (wasCancelled) throw new Stop('cancelled', 'reading was given up');
  if (stop !== null) throw stop;
  return results;
}
