// The backups of a store for commands that look into them on this host, without the engine.
import type { Command } from 'commander';
import { stateDirectory } from '../client/state-directory.js';
import type { BackupView } from '../control/backup-source.js';
import type { HostDirectories } from '../control/vault-room.js';
import type { StoreDefinition } from '../domain/definition.js';
import { localDefinitions } from './command.js';

export interface Backups {
  readonly host: HostDirectories;
  readonly definition: StoreDefinition;
  /** @param reference as backupOf makes it @throws Stop of viewBackup */
  readonly view: (reference: string) => Promise<BackupView>;
}

/** @throws Stop usage, definition_missing and the like */
export async function openBackups(command: Command, store: string): Promise<Backups> {
  const { loadDefinition } = await import('../definitions/load.js');
  const { viewBackup } = await import('../control/backup-source.js');
  const host = { definitionsDirectory: localDefinitions(command), stateDirectory: stateDirectory() };
  const definition = await loadDefinition(host.definitionsDirectory, store);
  return { host, definition, view: (reference) => viewBackup(host, definition, store, reference) };
}
