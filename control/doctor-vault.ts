// What doctor looks at where backups go to a vault.
import type { StoreDefinition } from '../domain/definition.js';
import { readHead } from '../vault/head.js';
import { now } from './clock.js';
import type { Finding } from './doctor.js';
import { openVaultRoom } from './vault-room.js';
import type { HostDirectories } from './vault-room.js';

type Found = Omit<Finding, 'check'>;

/** @throws Stop where a backup would be refused */
export async function checkVault(
  directories: HostDirectories,
  { store }: StoreDefinition,
  name: string,
): Promise<readonly Found[]> {
  const room = await openVaultRoom(directories, name);
  const { settings, vault } = room;
  const head = await readHead(vault, store, { known: await room.seen.head(store), now: now(), toFollow: true });
  const newest = head === null ? `no backup of ${store} yet` : `backup ${head.number} of ${store} is the newest`;
  const found: Found[] = [
    {
      state: 'good',
      what: `${settings.directory} is the vault that was given, trust ${vault.trust.number}, ${newest}`,
    },
  ];
  if (settings.signingKeyFile === null)
    found.push({
      state: 'stop',
      what: `the settings of vault ${name} name no signingKeyFile`,
      remedy: 'name the SSH key of this host, which allowed_signers of the vault lists',
    });
  if (settings.identityFile === null && settings.identityCommand === null)
    found.push({
      state: 'note',
      what: 'this host has no identity: it writes backups, and can read none',
      remedy: 'restore on a host with identityFile or identityCommand',
    });
  return found;
}
