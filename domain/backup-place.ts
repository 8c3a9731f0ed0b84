// Where the backups of a store go, as its definition says.
import type { StoreDefinition } from './definition.js';

/** A directory that holds artefacts, absolute; or a vault, by its name. */
export type BackupPlace = { readonly directory: string } | { readonly vault: string };

export function backupPlace({ backup: { destination, vault } }: Pick<StoreDefinition, 'backup'>): BackupPlace {
  if (destination !== null) return { directory: destination };
  if (vault !== undefined) return { vault };
  throw new Error('defect: a definition without destination and vault passed the schema');
}

/** As lists and messages name it. */
export function describeBackupPlace(place: BackupPlace): string {
  return 'vault' in place ? `vault:${place.vault}` : place.directory;
}
