// The second half of a verification in full: the databases of backups in a vault are put together and checked by SQLite;
// then whoever may, vouches for the backups.
import type { FileEntry } from '../domain/manifest.js';
import { STOPS, Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import { Damage } from '../vault/damage.js';
import { readChain } from '../vault/envelopes.js';
import type { Head } from '../vault/envelopes.js';
import type { BackupSource } from './backup-source.js';
import { now } from './clock.js';
import { countersignAll } from './countersigning.js';
import { sourceOf } from './vault-backup.js';
import { identitiesOf, openVaultRoom } from './vault-room.js';
import type { HostDirectories, VaultReference, VaultRoom } from './vault-room.js';

export interface VaultDatabases {
  /** The newest of them. */
  readonly reference: VaultReference;
  /** Of its envelope: it binds those before it. */
  readonly sha256: string;
  /** How many there were when their bytes were verified; null: the newest alone is meant. */
  readonly backups: number | null;
  readonly check: (source: BackupSource, databases: readonly FileEntry[]) => Promise<unknown>;
}

/**
 * @returns how many databases were checked: of those with the same bytes one is enough
 * @throws Stop vault_damaged, or of a single backup what is wrong with its database; checksum_mismatch where the vault has
 * changed since its bytes were verified; those of countersignAll
 */
export async function verifyVaultDatabases(
  host: HostDirectories,
  wanted: VaultDatabases,
): Promise<{ readonly databases: number; readonly countersigned: boolean }> {
  const { reference, check } = wanted;
  const { vault, store } = reference;
  const vaultRoom = await openVaultRoom(host, vault);
  const heads = await headsOf(vaultRoom, wanted);
  const identities = await identitiesOf(vaultRoom);
  const damage = new Damage();
  const checked = new Set<string>();
  let count = 0;
  for (const { number, sha256 } of heads) {
    const source = await sourceOf(host, vaultRoom, { vault, store, number }, { identities });
    if (source.manifestSha256 !== sha256) throw changed(store);
    const databases = source.manifest.entries.filter(
      (entry): entry is FileEntry => entry.type === 'database' && !checked.has(checkOf(entry)),
    );
    try {
      await check(source, databases);
    } catch (error) {
      if (heads.length === 1 || !(error instanceof Stop) || STOPS[error.code].exit !== 65) throw error;
      damage.add(OBJECTS.manifest(store, number, source.manifest.backupId), error);
      continue;
    }
    for (const entry of databases) checked.add(checkOf(entry));
    count += databases.length;
  }
  if (damage.isFound) throw damage.stop(vaultRoom.vault);
  return { databases: count, countersigned: await countersignAll(vaultRoom, store, heads, 'full') };
}

/** What is asked of a database depends on where it lies in the store. */
const checkOf = ({ root, path, sha256 }: FileEntry): string => `${sha256} ${root}/${path}`;

async function headsOf(
  { vault }: VaultRoom,
  { reference: { store, number }, sha256, backups }: VaultDatabases,
): Promise<readonly Head[]> {
  if (backups === null) return [{ number, sha256 }];
  const { entries } = await readChain(vault, store, { now: now() });
  const heads = entries.flatMap((entry) =>
    entry.sha256 === null || entry.stop !== null || entry.number > number
      ? []
      : [{ number: entry.number, sha256: entry.sha256 }],
  );
  if (heads.length !== backups || heads.at(-1)?.sha256 !== sha256) throw changed(store);
  return heads;
}

function changed(store: string): Stop {
  return new Stop('checksum_mismatch', 'the vault changed while it was verified', { store });
}
