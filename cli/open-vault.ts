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

/** Remembers the trust that it finds. @throws Stop of control/vault-room.ts; usage for another host */
export async function openNamedVault(command: Command, name: string): Promise<NamedVault> {
  const { openVaultRoom } = await import('../control/vault-room.js');
  const directories = { definitionsDirectory: localDefinitions(command), stateDirectory: stateDirectory() };
  const { settings, vault, seen } = await openVaultRoom(directories, name);
  return { settings, open: vault, seen };
}

/** What this host remembers of a vault. */
export async function seenOfVault(vault: string): Promise<Seen> {
  const { seenOf } = await import('../vault/seen.js');
  return seenOf(join(stateDirectory(), 'vaults'), vault);
}
