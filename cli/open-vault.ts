// Opens a vault by its name in the settings of this host, as every command that looks into one does.
import { join } from 'node:path';
import type { Command } from 'commander';
import { stateDirectory } from '../client/state-directory.js';
import type { VaultSettings } from '../domain/vault.js';
import type { Seen } from '../vault/seen.js';
import type { OpenVault } from '../vault/trust.js';
import { localDefinitions } from './command.js';

export interface NamedVault {
  readonly settings: VaultSettings;
  readonly open: OpenVault;
  readonly seen: Seen;
}

/** @throws Stop definition_missing and the like for the settings; those of openVault; seen_corrupt */
export async function openNamedVault(command: Command, name: string): Promise<NamedVault> {
  const { loadVaultSettings } = await import('../definitions/vaults.js');
  const { directoryPlace } = await import('../vault/directory-place.js');
  const { openVault } = await import('../vault/trust.js');
  const settings = await loadVaultSettings(localDefinitions(command), name);
  const seen = await seenOfVault(settings.vault);
  const open = await openVault(directoryPlace(settings.directory), settings, { trustSeen: await seen.trust() });
  await seen.sawTrust(open.trust);
  return { settings, open, seen };
}

/** What this host remembers of a vault. */
export async function seenOfVault(vault: string): Promise<Seen> {
  const { seenOf } = await import('../vault/seen.js');
  return seenOf(join(stateDirectory(), 'vaults'), vault);
}
