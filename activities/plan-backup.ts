// Step backup.plan: every member is looked at before the application is asked to hold still, so that a refusal that
// can be known now costs it nothing.
import { statfs } from 'node:fs/promises';
import { nextNumber } from '../artefacts/names.js';
import { assertFilesystems, assertRootsExist, ensureControlDirectory } from '../control/store-room.js';
import type { StoreRoom } from '../control/store-room.js';
import { now } from '../control/clock.js';
import { openVaultRoom } from '../control/vault-room.js';
import type { VaultRoom } from '../control/vault-room.js';
import { backupPlace } from '../domain/backup-place.js';
import { Stop } from '../domain/stop.js';
import { NAMESPACES } from '../domain/vault.js';
import { ensureDirectory } from '../files/durable.js';
import { assertPatternsMatch } from '../files/members.js';
import { assertSettings } from './documents.js';
import { readHead } from '../vault/head.js';
import { signBelieved } from '../vault/signatures.js';
import { membersOf } from './members.js';
import type { RootMembers } from './members.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { signingKeyOf } from './vault-package.js';

export interface BackupPlan {
  readonly databases: number;
  readonly files: number;
  readonly sizeBytes: number;
}

export const planBackup = (dependencies: ActivityDependencies) =>
  step(dependencies, async (_input: GrantedInput, context) => {
    const place = backupPlace(context.room.definition);
    return 'vault' in place ? lookBeforeVault(place.vault, context) : lookBeforeBackup(place.directory, context);
  });

/**
 * That a backup that is made now has a number and documents; changes nothing.
 * @throws Stop target_exists, manifest_invalid, settings_invalid, secret_found
 */
export async function assertCanPackage(destination: string, { definition }: StoreRoom): Promise<void> {
  await nextNumber(destination, definition.layout.name, now());
  await assertSettings(definition);
}

/** What can be told before anything is copied into a destination. */
export async function lookBeforeBackup(destination: string, { room }: Pick<StepContext, 'room'>): Promise<BackupPlan> {
  assertRootsExist(room);
  await assertFilesystems(room);
  await ensureDirectory(destination, 0o700);
  await assertCanPackage(destination, room);
  const all = await listMembers(room);
  const plan = planOf(all);
  await assertFree(destination, plan.sizeBytes);
  return plan;
}

/**
 * What can be told before anything is packed: the vault is the one that was given, its chain can be added to by this host,
 * and databases can be copied beside the store. How much of it all is new, nobody knows yet.
 */
async function lookBeforeVault(name: string, { room, dependencies }: StepContext): Promise<BackupPlan> {
  assertRootsExist(room);
  await assertFilesystems(room);
  const vaultRoom = await openVaultRoom(dependencies, name);
  await assertMaySign(vaultRoom, dependencies.host);
  assertOutside(room, vaultRoom.settings.directory);
  const { store } = room.definition;
  await readHead(vaultRoom.vault, store, { known: await vaultRoom.seen.head(store), now: now(), toFollow: true });
  const all = await listMembers(room);
  await ensureControlDirectory(room.controlDirectory);
  const copied = all.flatMap(({ members }) => members.databases.map(({ entry }) => entry.sizeBytes));
  await assertFree(
    room.controlDirectory,
    copied.reduce((sum, sizeBytes) => sum + sizeBytes, 0),
  );
  return planOf(all);
}

const PROBE = Buffer.from('holdfast asks whether this key is believed\n');

/** Before anything is packed, by the same way as the envelope is signed in the end. @throws Stop of signBelieved */
async function assertMaySign(vaultRoom: VaultRoom, host: string): Promise<void> {
  const { place, trust } = vaultRoom.vault;
  const said = { name: `a backup in ${place.location}`, bytes: PROBE, namespace: NAMESPACES.backup };
  await signBelieved(trust.signers, { ...said, principal: host, at: now() }, signingKeyOf(vaultRoom));
}

/** @throws Stop roots_overlap: a backup that holds the vault would grow without end, and a restore would replace it */
function assertOutside({ roots }: StoreRoom, directory: string): void {
  const isWithin = (path: string, other: string): boolean => path === other || path.startsWith(`${other}/`);
  const root = roots.find(
    ({ definition }) => isWithin(directory, definition.path) || isWithin(definition.path, directory),
  );
  if (root !== undefined)
    throw new Stop('roots_overlap', `root ${root.definition.path} and the vault overlap`, {
      first: root.definition.path,
      second: directory,
    });
}

async function listMembers(room: StoreRoom): Promise<readonly RootMembers[]> {
  const all = await membersOf(room);
  for (const { root, members } of all) assertPatternsMatch(root.definition, members);
  return all;
}

function planOf(all: readonly RootMembers[]): BackupPlan {
  const sum = (pick: (members: RootMembers['members']) => number): number =>
    all.reduce((total, { members }) => total + pick(members), 0);
  return {
    databases: sum(({ databases }) => databases.length),
    files: sum(({ files }) => files.length),
    sizeBytes: sum(({ databases, files }) =>
      [...databases, ...files].reduce((total, { entry }) => total + entry.sizeBytes, 0),
    ),
  };
}

/** @throws Stop no_space */
async function assertFree(path: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const freeBytes = bavail * bsize;
  if (freeBytes < neededBytes)
    throw new Stop('no_space', `the backup needs ${neededBytes} bytes, ${freeBytes} are free`, {
      path,
      neededBytes,
      freeBytes,
    });
}
