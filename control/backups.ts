// Which backups of a store there are, wherever they go: what `holdfast list` and `holdfast status` show. Needs no identity.
import { listArtefacts, newestArtefact } from '../artefacts/catalogue.js';
import type { CatalogueEntry } from '../artefacts/catalogue.js';
import { backupPlace, describeBackupPlace } from '../domain/backup-place.js';
import type { StoreDefinition } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import { readChain } from '../vault/envelopes.js';
import type { ChainEntry, EnvelopeSummary } from '../vault/envelopes.js';
import { readHead } from '../vault/head.js';
import { now } from './clock.js';
import { openVaultRoom, vaultReference } from './vault-room.js';
import type { HostDirectories, VaultReference } from './vault-room.js';

/**
 * The backups of a store, oldest first; a broken one is listed with what is wrong with it.
 * @param store another one than that of the definition
 * @throws Stop of openVaultRoom; io_error, permission_denied
 */
export async function listBackups(
  directories: HostDirectories,
  definition: StoreDefinition,
  store = definition.store,
): Promise<readonly CatalogueEntry[]> {
  const where = backupPlace(definition);
  if ('directory' in where) return listArtefacts(where.directory, store);
  const { vault } = where;
  const room = await openVaultRoom(directories, vault);
  const { entries, stop } = await readChain(room.vault, store, { now: now(), known: await room.seen.head(store) });
  const listed = entries.map((entry) => entryOf(vault, store, entry));
  if (stop === null || entries.some((entry) => entry.stop === stop)) return listed;
  return withVanished(listed, stop, { vault, store });
}

/** What is wrong with the chain and with none of its envelopes: a backup that was there, or an object that is none. */
function withVanished(
  listed: readonly CatalogueEntry[],
  { code, message, details }: Stop,
  { vault, store }: Omit<VaultReference, 'number'>,
): readonly CatalogueEntry[] {
  const told = { code, message };
  const { number } = details;
  if (typeof number !== 'number') return [...listed, { name: store, path: `vault:${vault}`, stop: told }];
  if (listed.some((entry) => entry.number === number))
    return listed.map((entry) => (entry.number === number ? { ...entry, stop: told } : entry));
  const entry = { name: String(number), number, path: vaultReference({ vault, store, number }), stop: told };
  return [...listed, entry].toSorted((left, right) => (left.number ?? 0) - (right.number ?? 0));
}

/** The one that was made last, with what is wrong with it, or with the vault; null: there is none. */
export async function newestBackup(
  directories: HostDirectories,
  definition: StoreDefinition,
): Promise<CatalogueEntry | null> {
  const { store } = definition;
  const where = backupPlace(definition);
  if ('directory' in where) return newestArtefact(where.directory, store);
  const { vault } = where;
  try {
    const room = await openVaultRoom(directories, vault);
    const head = await readHead(room.vault, store, { known: await room.seen.head(store), now: now() });
    return head === null ? null : entryOf(vault, store, { ...head, stop: null });
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    const path = describeBackupPlace(where);
    return { name: path, path, stop: { code: error.code, message: error.message } };
  }
}

function entryOf(
  vault: string,
  store: string,
  { number, envelope, stop }: Pick<ChainEntry, 'number' | 'stop'> & { readonly envelope: EnvelopeSummary | null },
): CatalogueEntry {
  const base = { name: String(number), number, path: vaultReference({ vault, store, number }) };
  return {
    ...base,
    ...(envelope !== null && {
      name: `${number} ${envelope.backupId.slice(0, 8)}`,
      backupId: envelope.backupId,
      store: envelope.store,
      host: envelope.host,
      createdAt: envelope.createdAt,
      ...envelope.totals,
    }),
    ...(stop !== null && { stop: { code: stop.code, message: stop.message } }),
  };
}
