// The newest backup of a store: what the next one follows. Whether the whole chain holds, readChain says.
import { Stop } from '../domain/stop.js';
import { OBJECTS, numberOfText } from '../domain/vault.js';
import type { Envelope } from '../domain/vault.js';
import { readEnvelope } from './envelopes.js';
import type { Head } from './envelopes.js';
import type { OpenVault } from './trust.js';

/**
 * @param known the newest that this host knows
 * @returns null: the store has no backup
 * @throws Stop backup_vanished; those of readEnvelope
 */
export async function readHead(
  open: OpenVault,
  store: string,
  known: Head | null,
  now: string,
): Promise<(Head & { readonly envelope: Envelope }) | null> {
  const numbers = (await open.place.children(OBJECTS.backups(store))).map((name) => numberOfText(name) ?? 0);
  // Numbers whose envelope is not there (yet) hold what somebody else is writing, or has left
  for (const number of numbers.toSorted((left, right) => right - left)) {
    if (number === 0 || (await open.place.sizeOf(OBJECTS.envelope(store, number))) === null) continue;
    const { envelope, sha256 } = await readEnvelope(open, store, number, { now });
    if (known !== null && (number < known.number || (number === known.number && sha256 !== known.sha256)))
      throw vanished(open, store, known);
    return { number, sha256, envelope };
  }
  if (known !== null) throw vanished(open, store, known);
  return null;
}

function vanished({ place }: OpenVault, store: string, { number, sha256 }: Head): Stop {
  return new Stop('backup_vanished', `backup ${number} of ${store} is not in the vault any more`, {
    vault: place.location,
    store,
    number,
    sha256,
  });
}
