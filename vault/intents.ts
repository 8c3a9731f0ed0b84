// Intents: who is writing into a vault right now, so that nobody deletes what a backup is about to refer to
// (docs/vault-format.md "Orders of writing"). A host has one at most for each store: what a killed backup left is replaced.
import { Stop } from '../domain/stop.js';
import { canonicalJson } from '../domain/canonical.js';
import { OBJECTS } from '../domain/vault.js';
import type { Place } from './place.js';

const INTENT_BYTES_MAX = 64 * 1024;

export interface Intent {
  /** UUID of the operation. */
  readonly operation: string;
  readonly host: string;
  readonly store: string;
  readonly startedAt: string;
  /** Highest generation of condemned packs that the writer has read. */
  readonly generation: number;
}

/** Announces that a backup begins, in place of what an earlier one of this host and store has left. */
export async function announce(place: Place, intent: Intent): Promise<void> {
  const name = OBJECTS.intent(intent.operation);
  if (!(await place.putNew(name, Buffer.from(`${canonicalJson(intent)}\n`))))
    throw new Error('defect: an operation that announces itself twice');
  for (const other of await place.children('intents')) {
    const left = `intents/${other}`;
    if (left === name) continue;
    const { host, store } = await readIntent(place, left);
    if (host === intent.host && store === intent.store) await place.remove(left);
  }
}

/** The backup exists, or never will. Nothing there is fine. */
export async function withdraw(place: Place, operation: string): Promise<void> {
  await place.remove(OBJECTS.intent(operation));
}

async function readIntent(place: Place, name: string): Promise<Pick<Intent, 'host' | 'store'>> {
  let bytes: Buffer;
  try {
    bytes = await place.read(name, INTENT_BYTES_MAX);
  } catch (error) {
    // Withdrawn since it was listed
    if (error instanceof Stop && error.code === 'vault_object_missing') return { host: '', store: '' };
    throw error;
  }
  try {
    const { host, store } = JSON.parse(bytes.toString('utf8')) as Intent;
    return { host, store };
  } catch (error) {
    throw new Stop('vault_invalid', `${name} is no intent`, { object: name }, { cause: error });
  }
}

/**
 * The highest generation of condemned packs. This version can't read what is condemned, so it must not add to a vault in
 * which anything is.
 * @throws Stop vault_newer
 */
export async function assertNothingCondemned(place: Place): Promise<void> {
  const [first] = await place.children('condemned');
  if (first === undefined) return;
  throw new Stop('vault_newer', 'packs of the vault are condemned, which this version does not know', {
    vault: place.location,
    object: `condemned/${first}`,
  });
}
