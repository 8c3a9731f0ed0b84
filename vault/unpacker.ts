// Puts files of a backup together in threads: into a directory, or only to check them. Each file is read in order, of each
// pack only the parts that it has, and its digest decides (docs/vault-format.md "Reading").
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { ObjectFact } from '../domain/vault.js';
import { batchesOf } from '../files/batches.js';
import type { BatchLimits } from '../files/batches.js';
import type { ReadOptions } from '../files/copy.js';
import { THREADS_MAX, ThreadPool } from '../files/thread-pool.js';
import type { RunInThread } from '../files/thread-pool.js';
import type { Place } from './place.js';
import type { UnpackBatch, UnpackFault, UnpackJob } from './unpack-thread.js';

export type { UnpackJob } from './unpack-thread.js';

export interface UnpackOptions extends ReadOptions {
  readonly place: Place;
  /** The envelope's: what runs index. */
  readonly packs: readonly ObjectFact[];
  /** Of the vault keys. */
  readonly identities: readonly string[];
}

/** A file that can't be put together, and why. */
export interface FileFault {
  readonly name: string;
  readonly stop: Stop;
}

const BATCHES: BatchLimits<UnpackJob> = {
  filesMax: 512,
  bytesMax: 64 * 1024 * 1024,
  sizeOf: ({ sizeBytes }) => sizeBytes,
};
const PROGRESS_MILLIS = 200;

const threads = new ThreadPool<UnpackBatch, readonly UnpackFault[]>({
  filename: fileURLToPath(new URL('./unpack-thread.js', import.meta.url)),
  name: 'unpackBatch',
});

/**
 * Writes each file to its target, which must not exist (mode 0600). The directories must exist; nothing is synced.
 * @throws Stop checksum_mismatch, vault_object_missing, vault_invalid, vault_sealed, target_exists, cancelled, no_space,
 * permission_denied, io_error
 */
export async function unpackFiles(jobs: Iterable<UnpackJob>, options: UnpackOptions): Promise<void> {
  await run(jobs, options, false, ({ stop }) => {
    throw stop;
  });
}

/** Checks each file, and tells of every one that can't be put together. @throws Stop cancelled */
export async function checkFiles(
  jobs: Iterable<UnpackJob>,
  options: UnpackOptions,
  onFault: (fault: FileFault) => void,
): Promise<void> {
  await run(jobs, options, true, onFault);
}

async function run(
  jobs: Iterable<UnpackJob>,
  { place, packs, identities, signal, onProgress }: UnpackOptions,
  tellsAll: boolean,
  onFault: (fault: FileFault) => void,
): Promise<void> {
  if (signal?.aborted === true) throw new Stop('cancelled', 'unpacking was given up before it began');
  const counters = new BigInt64Array(new SharedArrayBuffer(3 * 8));
  const giveUp = (): void => void Atomics.store(counters, 2, 1n);
  const report = (): void => onProgress?.(Number(Atomics.load(counters, 0)), Number(Atomics.load(counters, 1)));
  const timer = setInterval(report, PROGRESS_MILLIS);
  signal?.addEventListener('abort', giveUp, { once: true });
  const batches = batchesOf(jobs, BATCHES);
  const lane = async (runBatch: RunInThread<UnpackBatch, readonly UnpackFault[]>): Promise<void> => {
    try {
      for (const { jobs: batch } of batches) {
        const paths = await localPacks(batch, place, packs);
        const faults = await runBatch({ jobs: batch, packs: paths, identities, tellsAll, counters });
        for (const { job, code, message, details } of faults) {
          // Those of the others are brought about by the first one
          if (code === 'cancelled') throw new Stop('cancelled', message, details);
          onFault({ name: batch[job]?.name ?? '', stop: new Stop(code, message, details) });
        }
      }
    } catch (error) {
      giveUp();
      throw error;
    }
  };
  try {
    const lanes = Math.max(2, Math.min(THREADS_MAX, availableParallelism()));
    const outcomes = await threads.during((runBatch) =>
      Promise.allSettled(Array.from({ length: lanes }, () => lane(runBatch))),
    );
    report();
    throwFirst(outcomes);
  } finally {
    clearInterval(timer);
    signal?.removeEventListener('abort', giveUp);
  }
}

/** A refusal ends the other lanes; theirs is then `cancelled` and not the one to tell. */
function throwFirst(outcomes: readonly PromiseSettledResult<void>[]): void {
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
  const told = failures.find((error) => !(error instanceof Stop && error.code === 'cancelled')) ?? failures[0];
  if (told instanceof Error) throw told;
  if (told !== undefined) throw new Error('a thread failed', { cause: told });
}

async function localPacks(
  batch: readonly UnpackJob[],
  place: Place,
  packs: readonly ObjectFact[],
): Promise<UnpackBatch['packs']> {
  const paths: Record<number, { readonly name: string; readonly path: string }> = {};
  for (const { runs } of batch) {
    for (const [pack] of runs) {
      const fact = packs[pack];
      if (fact === undefined) throw new Stop('vault_invalid', `a run names pack ${pack} of ${packs.length}`, { pack });
      const name = OBJECTS.pack(fact.sha256);
      paths[pack] ??= { name, path: await place.localPath(name) };
    }
  }
  return paths;
}
