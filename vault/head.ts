// The newest backup of a store: what the next one follows. Whether the whole chain holds, readChain says.
import { Stop } from '../domain/stop.js';
import { OBJECTS, numberOfText } from '../domain/vault.js';
import type { Envelope } from '../domain/vault.js';
import { parseEnvelope } from '../domain/schema/vault.js';
import { ENVELOPE_BYTES_MAX, readEnvelope } from './envelopes.js';
import type { Head } from './envelopes.js';
import { sha256Of } from './trust.js';
import type { OpenVault } from './trust.js';

export interface HeadReading {
  /** The newest that this host knows. */
  readonly known: Head | null;
  readonly now: string;
  /** For the backup that is to follow it: that whoever signed it is not believed any more is no reason to make none. */
  readonly toFollow?: boolean;
  /** As readEnvelope has it. */
  readonly adopt?: string | undefined;
}

/**
 * @returns null: the store has no backup
 * @throws Stop backup_vanished; those of readEnvelope
 */
export async function readHead(
  open: OpenVault,
  store: string,
  { known, now, toFollow = false, adopt }: HeadReading,
): Promise<(Head & { readonly envelope: Envelope }) | null> {
  const numbers = (await open.place.children(OBJECTS.backups(store))).map((name) => numberOfText(name) ?? 0);
  // Numbers whose envelope is not there (yet) hold what somebody else is writing, or has left
  for (const number of numbers.toSorted((left, right) => right - left)) {
    if (number === 0 || (await open.place.sizeOf(OBJECTS.envelope(store, number))) === null) continue;
    const read = toFollow ? readSignedEnvelope : readEnvelope;
    const { envelope, sha256 } = await read(open, store, number, { now, adopt });
    if (known !== null && !(await isThere(open, store, known))) throw vanished(open, store, known);
    return { number, sha256, envelope };
  }
  if (known !== null) throw vanished(open, store, known);
  return null;
}

/** Said of a key that signed what it should, and is not believed any more. */
const NOT_ANY_MORE: ReadonlySet<string> = new Set(['signer_revoked', 'signer_expired']);

/**
 * readEnvelope, also where the key that signed it was revoked or has expired since: what follows it is signed by another.
 * @throws Stop as readEnvelope but signer_revoked, signer_expired
 */
async function readSignedEnvelope(
  open: OpenVault,
  store: string,
  number: number,
  { now }: Pick<HeadReading, 'now'>,
): Promise<{ readonly envelope: Envelope; readonly sha256: string }> {
  try {
    return await readEnvelope(open, store, number, { now });
  } catch (error) {
    if (!(error instanceof Stop) || !NOT_ANY_MORE.has(error.code)) throw error;
    const name = OBJECTS.envelope(store, number);
    const bytes = await open.place.read(name, ENVELOPE_BYTES_MAX);
    return { envelope: parseEnvelope(name, bytes), sha256: sha256Of(bytes) };
  }
}

async function isThere({ place }: OpenVault, store: string, { number, sha256 }: Head): Promise<boolean> {
  const name = OBJECTS.envelope(store, number);
  if ((await place.sizeOf(name)) === null) return false;
  return sha256Of(await place.read(name, ENVELOPE_BYTES_MAX)) === sha256;
}

function vanished({ place }: OpenVault, store: string, { number, sha256 }: Head): Stop {
  return new Stop('backup_vanished', `backup ${number} of ${store} is not in the vault any more`, {
    vault: place.location,
    store,
    number,
    sha256,
  });
}
