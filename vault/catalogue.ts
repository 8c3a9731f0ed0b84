// How a person names a backup of a vault: by number, id, unique prefix of an id, or `latest`. Ambiguity is a STOP (F-30).
import { Stop } from '../domain/stop.js';
import { readChain } from './envelopes.js';
import type { ChainEntry, ReadEnvelopes } from './envelopes.js';
import { readHead } from './head.js';
import type { OpenVault } from './trust.js';

/** Shorter digits are never the beginning of an id, as in a directory (artefacts/catalogue.ts). */
const NUMBER_ALONE = /^\d{1,7}$/;

/**
 * The number of the backup that `reference` names.
 * @throws Stop artefact_missing, ambiguous_intent, backup_vanished; what is wrong with the envelope
 */
export async function findInVault(
  open: OpenVault,
  store: string,
  reference: string,
  reading: ReadEnvelopes,
): Promise<number> {
  const missing = (): Stop =>
    new Stop('artefact_missing', `the vault holds no backup ${reference} of ${store}`, {
      vault: open.place.location,
      store,
      reference,
    });
  if (reference === 'latest') {
    const head = await readHead(open, store, { ...reading, known: reading.known ?? null });
    if (head === null) throw missing();
    return head.number;
  }
  if (NUMBER_ALONE.test(reference)) return Number(reference);
  const { entries } = await readChain(open, store, reading);
  const found = entries.filter(({ envelope }) => envelope?.backupId.startsWith(reference) === true);
  const [first, second] = found;
  if (first === undefined) throw missing();
  if (second !== undefined)
    throw new Stop('ambiguous_intent', `${reference} names ${found.length} backups`, {
      reference,
      candidates: found.slice(0, 10).map(nameOf),
    });
  return first.number;
}

const nameOf = ({ number, envelope }: ChainEntry): string => `${number} ${envelope?.backupId ?? ''}`;
