// Witnesses of sequences: the highest values ever seen, in the live databases and in backups (SM-4: the floor).
import type { SequenceFact } from '../domain/manifest.js';
import type { ControlDatabase } from './control-database.js';

/** Inside a critical section. */
export function raiseWitnesses(
  database: ControlDatabase,
  facts: readonly { readonly root: string; readonly path: string; readonly sequences: readonly SequenceFact[] }[],
  seenIn: string,
): void {
  for (const { root, path, sequences } of facts) {
    for (const { table, column, value } of sequences) {
      if (value !== null) database.raiseWitness({ root, path, table, column, value, seenIn });
    }
  }
}
