// A vault as this host knows it: what its settings say, what it has seen of it, and where its index is.
import { join } from 'node:path';
import { loadVaultSettings } from '../definitions/vaults.js';
import type { VaultSettings } from '../domain/vault.js';
import { directoryPlace } from '../vault/directory-place.js';
import { readIdentities, vaultIdentities } from '../vault/keys.js';
import { seenOf } from '../vault/seen.js';
import type { Seen } from '../vault/seen.js';
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
  readonly seen: Seen;
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
    seen,
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
