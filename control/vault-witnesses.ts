// What the backups of a store in a vault have witnessed: the floor of its sequences, and digests of its accepted rows, by
// envelopes alone (docs/vault-format.md "Envelope"). It holds on an empty host, too, where nothing else remembers (SM-4).
import type { AppendOnlyFact } from '../domain/manifest.js';
import type { Witness } from '../domain/sequence.js';
import { readChain } from '../vault/envelopes.js';
import { now } from './clock.js';
import { openVaultRoom, vaultReference } from './vault-room.js';
import type { HostDirectories } from './vault-room.js';

/** Accepted rows of a table, as one backup had them. */
export interface WitnessedRows extends AppendOnlyFact {
  readonly root: string;
  readonly path: string;
  readonly seenIn: string;
}

export interface VaultWitnesses {
  readonly sequences: readonly Witness[];
  /** Of the newest backup that has any. */
  readonly appendOnly: readonly WitnessedRows[];
}

/**
 * Whoever signed a backup that is believed has witnessed what it says, also where the chain before it is broken. Others
 * witness nothing: anybody could raise the floor until no restore is possible.
 * @throws Stop of openVaultRoom; io_error, permission_denied, ssh_keygen_failed
 */
export async function witnessesInVault(host: HostDirectories, vault: string, store: string): Promise<VaultWitnesses> {
  const { entries } = await readChain((await openVaultRoom(host, vault)).vault, store, { now: now() });
  const believed = entries.flatMap(({ number, envelope, stop }) =>
    envelope !== null && (stop === null || stop.code === 'chain_broken')
      ? [{ seenIn: vaultReference({ vault, store, number }), ...envelope.witnesses }]
      : [],
  );
  return {
    sequences: believed.flatMap(({ seenIn, sequences }) =>
      sequences.flatMap(({ root, path, table, column, value }) =>
        value === null ? [] : [{ root, path, table, column, value, seenIn }],
      ),
    ),
    appendOnly:
      believed
        .map(({ seenIn, appendOnly }) => appendOnly.map((fact) => ({ ...fact, seenIn })))
        .findLast((facts) => facts.length > 0) ?? [],
  };
}
