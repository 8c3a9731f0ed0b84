// Steps restore.stage and restore.gates: the whole artefact is checked and copied beside the live store, hashed as it
// is written, before anything of the live store is touched (F-1, F-14, F-21).
import { endianness } from 'node:os';
import { stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BackupSource } from '../control/backup-source.js';
import { withControlDatabase } from '../control/control-database.js';
import { critical } from '../control/lock.js';
import { ensureControlDirectory, treeOf, treesOf } from '../control/store-room.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import { assertGates } from '../domain/gates.js';
import type { Manifest, ManifestEntry } from '../domain/manifest.js';
import type { RestorePlan } from '../domain/plan.js';
import { Stop } from '../domain/stop.js';
import { makeNewDirectories } from '../files/copy.js';
import { ensureDirectory, syncFilesystem } from '../files/durable.js';
import { assertCanExchange } from '../files/exchange.js';
import { lazily } from '../files/lazily.js';
import { applyMetadataInTurn, applyMetadataToAll, ownersDiffer } from '../files/metadata.js';
import { applicationOf } from './application.js';
import { readPlannedBackup } from './planned.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';

export interface PlannedInput extends GrantedInput {
  readonly plan: RestorePlan;
}

/** Step restore.stage. */
export const stage = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => {
    const { room } = context;
    const artefact = await readPlannedBackup(context, input.plan);
    await assertKnownManifest(room, artefact);
    await artefact.assertWhole();
    assertOwners(artefact.manifest.entries);
    await assertSpace(room.roots, artefact.manifest.entries);
    await critical(room, input.grant, (database) =>
      database.journal(input.operation, {
        event: 'staging',
        directories: room.roots.map((root) => treesOf(root, input.operation)),
      }),
    );
    const sizeBytes = await copyIn(input, context, artefact);
    for (const root of room.roots) {
      await applyDirectories(root, input.operation, artefact.manifest.entries);
      await syncFilesystem(treeOf(root, input.operation));
    }
    return { sizeBytes, files: artefact.manifest.entries.filter((entry) => entry.type !== 'directory').length };
  });

/** A backup that was made here has a witness of its manifest: an edited manifest is seen before signatures exist. */
async function assertKnownManifest(room: StoreRoom, { manifest, manifestSha256, path }: BackupSource): Promise<void> {
  const witness = await withControlDatabase(room.controlDirectory, (database) =>
    database.manifestWitness(manifest.backupId),
  );
  if (witness !== undefined && witness !== manifestSha256) {
    throw new Stop('checksum_mismatch', 'the manifest is not the one that was written here', {
      path,
      written: witness,
      found: manifestSha256,
    });
  }
}

function assertOwners(entries: readonly ManifestEntry[]): void {
  const foreign = entries.find((entry) => ownersDiffer(entry));
  if (foreign !== undefined) {
    throw new Stop('owner_differs', `${foreign.path} belongs to ${foreign.uid}:${foreign.gid}`, {
      root: foreign.root,
      path: foreign.path,
      uid: foreign.uid,
      gid: foreign.gid,
    });
  }
}

/**
 * Roots on one filesystem share what is free on it.
 * @throws Stop no_space
 */
export async function assertSpace(roots: readonly RoomRoot[], entries: readonly ManifestEntry[]): Promise<void> {
  const neededOn = new Map<number, number>();
  for (const { definition, controlDirectory } of roots) {
    await ensureControlDirectory(controlDirectory);
    const { dev } = await stat(controlDirectory);
    const neededBytes = entries.reduce(
      (sum, entry) => sum + (entry.type !== 'directory' && entry.root === definition.name ? entry.sizeBytes : 0),
      neededOn.get(dev) ?? 0,
    );
    neededOn.set(dev, neededBytes);
    const { bavail, bsize } = await statfs(controlDirectory);
    if (bavail * bsize < neededBytes) {
      throw new Stop('no_space', `staging needs ${neededBytes} bytes, ${bavail * bsize} are free`, {
        path: controlDirectory,
        neededBytes,
        freeBytes: bavail * bsize,
      });
    }
  }
}

/** Copies and hashes every file into staging, and gives it its mode, owner, attributes and times. */
async function copyIn(input: PlannedInput, context: StepContext, artefact: BackupSource): Promise<number> {
  const { manifest } = artefact;
  const places = new Map(context.room.roots.map((root) => [root.definition.name, treeOf(root, input.operation)]));
  const placeOf = (entry: ManifestEntry): string => {
    const tree = places.get(entry.root);
    if (tree === undefined) throw new Error('defect: a planned backup with a root that the store does not have');
    return entry.path === '.' ? tree : join(tree, entry.path);
  };
  for (const tree of places.values()) {
    await ensureDirectory(dirname(tree), 0o700);
    assertCanExchange(dirname(tree));
  }
  const directories = manifest.entries.filter((entry) => entry.type === 'directory');
  await makeNewDirectories(directories.map(placeOf));
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  const bytesTotal = files.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  context.report({ phase: 'copy and hash', bytesTotal, filesTotal: files.length });
  await artefact.extract(files, placeOf, {
    signal: context.signal,
    onProgress: (bytesDone, filesDone) => context.report({ bytesDone, filesDone }),
  });
  await applyMetadataInTurn(
    lazily(files, (entry) => ({ path: placeOf(entry), metadata: entry })),
    { asRoot: process.geteuid?.() === 0 },
  );
  return bytesTotal;
}

/** Directories get their metadata last, deepest first: writing into a directory changes its times. */
export async function applyDirectories(
  root: RoomRoot,
  operation: string,
  entries: readonly ManifestEntry[],
): Promise<void> {
  const tree = treeOf(root, operation);
  const directories = entries.filter((entry) => entry.type === 'directory' && entry.root === root.definition.name);
  await applyMetadataToAll(
    directories.map((entry) => ({ path: entry.path === '.' ? tree : join(tree, entry.path), metadata: entry })),
    { asRoot: process.geteuid?.() === 0 },
  );
}

/** Step restore.gates: platform, version, modules. @returns what the version hook said, for whoever backs up what is replaced */
export const gates = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context): Promise<Manifest['application']> => {
    const { room, signal } = context;
    const { manifest } = await readPlannedBackup(context, input.plan);
    const installed = await applicationOf(room, input.operation, signal);
    assertGates(room.definition.gates, manifest, { installed, os: process.platform, endianness: endianness() });
    return installed;
  });
