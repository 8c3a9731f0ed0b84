// Copies and hashes files in threads, off the event loop, each byte read once (F-9, F-14). Nothing is made durable
// file by file: staging is synced as a whole by one syncFilesystem of the caller, who also drops staging after a STOP,
// because targets that were written until then stay.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Stop } from '../domain/stop.js';
import { batchesOf } from './batches.js';
import type { BatchLimits } from './batches.js';
import { translating } from './errors.js';
import { compareBytes } from './safe-path.js';
import type { Batch, BatchOutcome, ReadJob, ReadResult } from './copy-thread.js';
import type { ExpectedFile } from './source-file.js';
import { THREADS_MAX, ThreadPool } from './thread-pool.js';
import type { RunInThread } from './thread-pool.js';

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

/** Told of each job by its number. */
export type OnResult = (index: number, result: ReadResult) => void;

const BATCHES: BatchLimits<ReadJob> = {
  filesMax: 256,
  bytesMax: 32 * 1024 * 1024,
  sizeOf: ({ lengthBytes, expected }) => lengthBytes ?? expected?.sizeBytes ?? 0,
};
const PROGRESS_MILLIS = 200;

const threads = new ThreadPool<Batch, BatchOutcome>({
  filename: fileURLToPath(new URL('./copy-thread.js', import.meta.url)),
  name: 'readBatch',
});

/**
 * Makes the directories of a copy, none of which may exist, parents first (mode 0700). A filesystem that folds case or
 * Unicode forms would merge two whose names it takes for one, and it alone knows which these are: the second is there
 * already. Files of that kind are met by copyEach.
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
 * Copies each source to a target that must not exist (mode 0600; files/metadata.ts gives the rest), in parallel. The
 * directories must exist. Jobs are asked for as they are needed, and `onResult` is told digest and size of each, in no
 * order, with the number of its job: of many files there is never a whole list.
 * @throws Stop source_changed (a live file, `expected.inode` given), file_missing, symlink_found, checksum_mismatch,
 * target_exists, cancelled, no_space, permission_denied, io_error
 */
export async function copyEach(
  jobs: Iterable<CopyJob>,
  options: CopyOptions = {},
  onResult: OnResult = () => undefined,
): Promise<void> {
  await readEach(jobs, options, onResult);
}

/** Hashes files like copyEach, without writing. Throws the same Stops but those of targets. */
export async function hashEach(
  jobs: Iterable<HashJob>,
  options: ReadOptions = {},
  onResult: OnResult = () => undefined,
): Promise<void> {
  await readEach(jobs, options, onResult);
}

/** Hashes a few files like hashEach, and tells digest and size in the order of the jobs. */
export async function hashFiles(jobs: readonly HashJob[], options: ReadOptions = {}): Promise<ReadResult[]> {
  const results: ReadResult[] = [];
  await readEach(jobs, options, (index, result) => (results[index] = result));
  return results;
}

async function readEach(jobs: Iterable<ReadJob>, options: CopyOptions, onResult: OnResult): Promise<void> {
  if (options.signal?.aborted === true) throw new Stop('cancelled', 'reading was given up before it began');
  const counters = new BigInt64Array(new SharedArrayBuffer(3 * 8));
  const giveUp = (): void => void Atomics.store(counters, 2, 1n);
  const report = (): void => options.onProgress?.(Number(Atomics.load(counters, 0)), Number(Atomics.load(counters, 1)));
  const timer = setInterval(report, PROGRESS_MILLIS);
  let wasCancelled = false;
  const cancel = (): void => {
    wasCancelled = true;
    giveUp();
  };
  options.signal?.addEventListener('abort', cancel, { once: true });
  const failures: Failure[] = [];
  // The lanes share one iterator: each takes the next batch that nobody has
  const batches = batchesOf(jobs, BATCHES);
  const lane = async (run: RunInThread<Batch, BatchOutcome>): Promise<void> => {
    let reached = Number.POSITIVE_INFINITY;
    try {
      for (const { index, jobs: batch } of batches) {
        reached = index;
        const outcome = await run({ jobs: batch, counters });
        if ('stop' in outcome) failures.push({ index, stop: outcome.stop });
        else for (const [nth, result] of outcome.results.entries()) onResult(index + nth, result);
        // The first STOP ends the other batches; theirs is then `cancelled` and not the one to tell
        if ('stop' in outcome) giveUp();
        if (Atomics.load(counters, 2) !== 0n) return;
      }
    } catch (error) {
      failures.push({ index: reached, error });
      giveUp();
    }
  };
  try {
    const lanes = options.threadsMax ?? THREADS_MAX;
    await threads.during((run) => Promise.all(Array.from({ length: lanes }, () => lane(run))));
    report();
    throwFirst(failures, wasCancelled);
  } finally {
    clearInterval(timer);
    options.signal?.removeEventListener('abort', cancel);
  }
}

/** Why a batch came to nothing: a refusal, or a defect. */
type Failure = { readonly index: number } & (
  | { readonly stop: Extract<BatchOutcome, { stop: unknown }>['stop'] }
  | { readonly error: unknown }
);

/** Of several failures that of the earliest job is told, a defect before any refusal. */
function throwFirst(failures: Failure[], wasCancelled: boolean): void {
  failures.sort((left, right) => left.index - right.index);
  let stop: Stop | null = null;
  for (const failure of failures) {
    if ('error' in failure) throw failure.error;
    const { code, message, details } = failure.stop;
    if (stop === null || (stop.code === 'cancelled' && code !== 'cancelled')) stop = new Stop(code, message, details);
  }
  if (wasCancelled) throw new Stop('cancelled', 'reading was given up');
  if (stop !== null) throw stop;
}
