// Step backup.plan: every member is looked at before the application is asked to hold still, so that a refusal that
// can be known now costs it nothing.
import { statfs } from 'node:fs/promises';
import { nextNumber } from '../artefacts/names.js';
import { assertFilesystems, assertRootsExist } from '../control/store-room.js';
import type { StoreRoom } from '../control/store-room.js';
import { now } from '../control/clock.js';
import { Stop } from '../domain/stop.js';
import { ensureDirectory } from '../files/durable.js';
import { assertPatternsMatch } from '../files/members.js';
import { assertSettings } from './documents.js';
import { membersOf } from './members.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';

export interface BackupPlan {
  readonly databases: number;
  readonly files: number;
  readonly sizeBytes: number;
}

export const planBackup = (dependencies: ActivityDependencies) =>
  step(dependencies, async (_input: GrantedInput, context) =>
    lookBeforeBackup(context.room.definition.backup.destination, context),
  );

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
  const all = await membersOf(room);
  for (const { root, members } of all) assertPatternsMatch(root.definition, members);
  const sum = (pick: (members: (typeof all)[number]['members']) => number): number =>
    all.reduce((total, { members }) => total + pick(members), 0);
  const sizeBytes = sum(({ databases, files }) =>
    [...databases, ...files].reduce((total, { entry }) => total + entry.sizeBytes, 0),
  );
  const { bavail, bsize } = await statfs(destination);
  if (bavail * bsize < sizeBytes) {
    throw new Stop('no_space', `the backup needs ${sizeBytes} bytes, ${bavail * bsize} are free`, {
      path: destination,
      neededBytes: sizeBytes,
      freeBytes: bavail * bsize,
    });
  }
  return { databases: sum(({ databases }) => databases.length), files: sum(({ files }) => files.length), sizeBytes };
}
