// What the packer of the product makes of some files, with packs numbered as an envelope has them.
import { join } from 'node:path';
import type { ObjectFact, RunTuple } from '../../domain/vault.js';
import { ChunkIndex } from '../../vault/chunk-index.js';
import { directoryPlace } from '../../vault/directory-place.js';
import { Packer } from '../../vault/packer.js';
import type { PackJob, PackResult } from '../../vault/packer.js';
import { temporaryDirectory } from '../files/temporary.js';
import { RECIPIENT } from './manifest-lines.js';

const VAULT = '7f1c1f0e-0f5c-4c55-9f0e-3a1f8f6f0a03';

export interface Packed {
  readonly packs: readonly ObjectFact[];
  /** In the order of the jobs. */
  readonly runs: readonly (readonly RunTuple[])[];
}

/** @param directory of the vault */
export async function packReally(directory: string, jobs: readonly PackJob[]): Promise<Packed> {
  const index = new ChunkIndex(join(temporaryDirectory(), 'index'), VAULT);
  const place = directoryPlace(directory);
  const packer = new Packer({ place, vault: VAULT, recipient: RECIPIENT, index, store: 'shop' });
  try {
    const results: PackResult[] = [];
    await packer.packEach(jobs, {}, (nth, result) => {
      results[nth] = result;
    });
    await packer.finish();
    const numbers = [...new Set(results.flatMap(({ runs }) => runs.map(([number]) => number)))];
    const packs: ObjectFact[] = [];
    packs.push(...(await packer.factsOf(numbers)).values());
    const runs = results.map((result) =>
      result.runs.map(([number, offset, length, size]): RunTuple => [numbers.indexOf(number), offset, length, size]),
    );
    return { packs, runs };
  } finally {
    await packer.close();
    index.close();
  }
}
