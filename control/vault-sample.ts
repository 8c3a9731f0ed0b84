// Which files a verification of depth `sample` looks at: at least sixteen, and one in a hundred, told by a seed, so that the
// same seed chooses the same files again (docs/protocols/verify.md).
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FileEntry } from '../domain/manifest.js';

const SAMPLE_FILES_MIN = 16;
const SAMPLE_PART = 100;
const FILES_PER_TURN = 5_000;
const RANK_BYTES = 6;

/** In the order of `files`. */
export async function sampleOf(files: readonly FileEntry[], seed: string): Promise<readonly FileEntry[]> {
  const wanted = Math.max(SAMPLE_FILES_MIN, Math.ceil(files.length / SAMPLE_PART));
  if (files.length <= wanted) return files;
  const ranks = new Float64Array(files.length);
  for (const [index, { root, path }] of files.entries()) {
    const digest = createHash('sha256').update(`${seed}\0${root}/${path}`).digest();
    ranks[index] = digest.readUIntBE(0, RANK_BYTES);
    if (index % FILES_PER_TURN === FILES_PER_TURN - 1) await nextTurn();
  }
  const last = ranks.toSorted()[wanted - 1] ?? 0;
  return files.filter((_file, index) => (ranks[index] ?? 0) <= last);
}
