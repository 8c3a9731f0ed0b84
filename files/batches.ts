// Jobs for threads in batches: many small files in one, because passing a job to a thread costs more than reading it; a
// large file alone.

/** What a file costs beside its bytes, also where its size is not known. */
const FILE_COST_BYTES = 64 * 1024;

export interface NumberedBatch<Job> {
  /** Of its first job. */
  readonly index: number;
  readonly jobs: readonly Job[];
}

export interface BatchLimits<Job> {
  readonly filesMax: number;
  readonly bytesMax: number;
  readonly sizeOf: (job: Job) => number;
}

/** Jobs are asked for as batches are. Several lanes may share it: each takes the next batch that nobody has. */
export function* batchesOf<Job>(
  jobs: Iterable<Job>,
  { filesMax, bytesMax, sizeOf }: BatchLimits<Job>,
): Generator<NumberedBatch<Job>, void, undefined> {
  let batch: Job[] = [];
  let index = 0;
  let bytes = 0;
  for (const job of jobs) {
    const cost = FILE_COST_BYTES + sizeOf(job);
    if (batch.length > 0 && (batch.length >= filesMax || bytes + cost > bytesMax)) {
      yield { index, jobs: batch };
      index += batch.length;
      batch = [];
      bytes = 0;
    }
    batch.push(job);
    bytes += cost;
  }
  if (batch.length > 0) yield { index, jobs: batch };
}
