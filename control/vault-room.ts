// A vault as this host knows it: what its settings say, what it has seen of it, and where its index is.
import { join } from 'node:path';
import { loadVaultSettings } from '../definitions/vaults.js';
import type { StoreDefinition } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import type { VaultSettings } from '../domain/vault.js';
import { directoryPlace } from '../vault/directory-place.js';
import type { Head } from '../vault/envelopes.js';
import { readIdentities, vaultIdentities } from '../vault/keys.js';
import { seenOf } from '../vault/seen.js';
import { openVault } from '../vault/trust.js';
import type { OpenVault } from '../vault/trust.js';

export interface HostDirectories {
  readonly definitionsDirectory: string;
  readonly stateDirectory: string;
}

export interface VaultRoom {
  readonly settings: VaultSettings;
  readonly vault: OpenVault;
  /** Of the dedup index; its directory exists. */
  readonly indexPath: string;
  /** The newest backup of a store that this host knows. */
  readonly known: (store: string) => Promise<Head | null>;
  /** Remembers a backup that this host has made, restored or verified. */
  readonly remember: (store: string, head: Head) => Promise<void>;
}

/**
 * Opens a vault, and remembers its trust.
 * @throws Stop of loadVaultSettings and openVault
 */
export async function openVaultRoom(
  { definitionsDirectory, stateDirectory }: HostDirectories,
  name: string,
): Promise<VaultRoom> {
  const settings = await loadVaultSettings(definitionsDirectory, name);
  const vaults = join(stateDirectory, 'vaults');
  const seen = seenOf(vaults, settings.vault);
  const vault = await openVault(directoryPlace(settings.directory), settings, { trustSeen: await seen.trust() });
  const { number, sha256 } = vault.trust;
  await seen.sawTrust({ number, sha256 });
  return {
    settings,
    vault,
    indexPath: join(vaults, settings.vault, 'index.db'),
    known: (store) => seen.head(store),
    remember: (store, head) => seen.sawHead(store, head),
  };
}

/**
 * What opens manifests and packs.
 * @throws Stop identity_missing, secret_exposed, vault_sealed
 */
export async function identitiesOf({ settings, vault }: VaultRoom): Promise<readonly string[]> {
  return vaultIdentities(vault, await readIdentities(settings, process.env));
}

/** A backup in a vault, as plans, reports and witnesses name it: `vault:<vault>/<store>/<number>`. */
export interface VaultReference {
  readonly vault: string;
  readonly store: string;
  readonly number: number;
}

const REFERENCE = /^vault:([a-z0-9-]+)\/([a-z0-9-]+)\/([1-9]\d{0,15})$/;

export const vaultReference = ({ vault, store, number }: VaultReference): string => `vault:${vault}/${store}/${number}`;

/** null: it names no backup in a vault. */
export function parseVaultReference(text: string): VaultReference | null {
  const [, vault, store, number] = REFERENCE.exec(text) ?? [];
  if (vault === undefined || store === undefined || number === undefined) return null;
  return { vault, store, number: Number(number) };
}

/** Where the backups of a store go. */
export function placeOfBackups({ store, backup }: StoreDefinition): string {
  if (backup.destination !== null) return backup.destination;
  if (backup.vault !== undefined) return `vault:${backup.vault}`;
  throw new Stop('definition_invalid', `the definition of ${store} says nowhere to put backups`, { store });
}
