// The recovery kit: what a person keeps outside of the vault, so that an empty host and the vault bring everything back, and
// so that an old copy of the vault is told from the vault. No secret is in it. docs/vault-format.md "Threats".
import { armor } from 'age-encryption';
import { OBJECTS } from '../domain/vault.js';
import type { VaultKey } from '../domain/vault.js';
import { listStores, readChain } from './envelopes.js';
import type { Chain, Head } from './envelopes.js';
import type { OpenVault } from './trust.js';

const SEALED_BYTES_MAX = 64 * 1024;

export interface Kit {
  readonly vault: string;
  /** Fingerprint. */
  readonly admin: string;
  readonly trust: number;
  /** With the identity of each as the vault has it, sealed to people, armored: `age -d` reads it without the vault. */
  readonly keys: readonly (VaultKey & { readonly sealed: string })[];
  readonly stores: readonly KitStore[];
  /** Store definitions that the vault has. */
  readonly definitions: readonly string[];
}

export interface KitStore {
  readonly store: string;
  readonly head: Chain['head'];
  /** RFC 3339; null: it can't be read. */
  readonly createdAt: string | null;
  /** What is wrong with the chain; null: nothing. */
  readonly stop: string | null;
}

export interface ReadKit {
  /** RFC 3339. */
  readonly now: string;
  /** The newest backup of a store that this host knows. */
  readonly known: (store: string) => Promise<Head | null>;
}

/** @throws Stop vault_object_missing where a sealed identity is absent; vault_object_foreign, io_error and the like */
export async function readKit(open: OpenVault, { now, known }: ReadKit): Promise<Kit> {
  const { place, description, trust } = open;
  const keys: Kit['keys'][number][] = [];
  for (const key of trust.keys)
    keys.push({ ...key, sealed: armor.encode(await place.read(OBJECTS.key(key.number), SEALED_BYTES_MAX)) });
  const listed = await listStores(open);
  if (listed.stop !== null) throw listed.stop;
  const stores: KitStore[] = [];
  for (const store of listed.stores) {
    const { head, entries, stop } = await readChain(open, store, { now, known: await known(store) });
    const createdAt = entries.at(-1)?.envelope?.createdAt ?? null;
    stores.push({ store, head, createdAt, stop: stop === null ? null : stop.code });
  }
  const { vault, admin } = description;
  return { vault, admin, trust: trust.number, keys, stores, definitions: [...trust.definitions.keys()].sort() };
}
