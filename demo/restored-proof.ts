// What the application's verify hook proves of a restored store, still fenced and before anybody writes to it, and how
// the demo hears of it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { proveChecksums } from './checksums.js';
import type { ChecksumFacts } from './checksums.js';
import { ROOT } from './house.js';
import type { House } from './house.js';
import { proveInvariantAtRest } from './invariant.js';
import type { InvariantFacts } from './invariant.js';

export interface RestoredProof {
  readonly checksums: ChecksumFacts;
  readonly invariant: InvariantFacts;
}

const expectedFile = (house: House): string => join(house.application, 'expected.json');
const proofFile = (house: House, operation: string): string => join(house.application, `proof-${operation}.json`);

/** Says which artefact the next restore is to be held against. */
export function expectRestored(house: House, artefact: string): void {
  writeFileSync(expectedFile(house), JSON.stringify({ artefact }));
}

/**
 * Proves the store against the expected artefact, and leaves the proof for `proofOf`.
 * @throws InvariantBroken, or an Error that names what differs
 */
export function proveRestored(house: House, operation: string): RestoredProof {
  const { artefact } = JSON.parse(readFileSync(expectedFile(house), 'utf8')) as { readonly artefact: string };
  const proof: RestoredProof = {
    checksums: proveChecksums(join(artefact, 'manifest.json'), ROOT, house.root),
    invariant: proveInvariantAtRest(house.root),
  };
  writeFileSync(proofFile(house, operation), JSON.stringify(proof));
  return proof;
}

/** @throws ENOENT when the hook proved nothing during that operation */
export function proofOf(house: House, operation: string): RestoredProof {
  return JSON.parse(readFileSync(proofFile(house, operation), 'utf8')) as RestoredProof;
}
