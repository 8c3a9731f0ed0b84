// Objects that the format does not know (docs/vault-format.md "Layout"): someone has put them there. What lies in trust and
// beside envelopes is held to its own lists where these are read.
import { Stop } from '../domain/stop.js';
import type { Place } from './place.js';

const ID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const TOP = new Set(['vault.json', 'vault.json.sig', 'recover.sh', 'trust', 'backups']);
/** What the names in a directory of the top must be. */
const BELOW: Readonly<Record<string, RegExp>> = {
  keys: /^[1-9]\d*\.age$/,
  intents: new RegExp(`^${ID}\\.json$`),
  condemned: /^\d{16}\.(?:json|sig|json\.sig)$/,
  packs: /^[0-9a-f]{2}$/,
};
const PACK = /^[0-9a-f]{64}\.age$/;

/** One at a time, because of packs there may be a million. */
export async function* foreignObjects(place: Place): AsyncGenerator<string, void, undefined> {
  for (const name of await place.children('')) {
    const pattern = BELOW[name];
    if (pattern !== undefined) yield* foreignBelow(place, name, pattern);
    else if (!TOP.has(name)) yield* objectsBelow(place, name);
  }
}

async function* foreignBelow(place: Place, name: string, pattern: RegExp): AsyncGenerator<string, void, undefined> {
  for (const child of await place.children(name)) {
    if (!pattern.test(child)) yield* objectsBelow(place, `${name}/${child}`);
    else if (name === 'packs')
      for (const pack of await place.children(`packs/${child}`))
        if (!PACK.test(pack) || !pack.startsWith(child)) yield `packs/${child}/${pack}`;
  }
}

/** A directory without objects is none: the `lost+found` of a filesystem that is a vault. */
async function* objectsBelow(place: Place, name: string): AsyncGenerator<string, void, undefined> {
  try {
    if ((await place.sizeOf(name)) !== null) return yield name;
  } catch (error) {
    // No regular file
    if (!(error instanceof Stop) || error.code !== 'vault_invalid') throw error;
    const [first] = await place.list(name);
    if (first !== undefined) yield first.name;
  }
}
