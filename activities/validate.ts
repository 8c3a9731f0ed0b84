// Steps backup.validate and restore.validate: copies are checked by SQLite before anybody relies on them (SM-2, SM-6).
import { capturePath } from '../artefacts/artefact.js';
import type { BackupSource } from '../control/backup-source.js';
import { withControlDatabase } from '../control/control-database.js';
import { now } from '../control/clock.js';
import { critical } from '../control/lock.js';
import { treeOf } from '../control/store-room.js';

import { backupPlace } from '../domain/backup-place.js';
import type { DatabaseDefinition } from '../domain/definition.js';
import { assertForeignKeys } from '../domain/foreign-keys.js';
import type { Manifest, ManifestDatabase } from '../domain/manifest.js';
import type { RestorePlan } from '../domain/plan.js';
import { syncFilesystem } from '../files/durable.js';
import { checkDatabase } from '../sqlite/check.js';
import { applicationOf } from './application.js';
import { fileEntryOf, readCapture, writeFacts } from './capture.js';
import { readPlannedBackup } from './planned.js';
import { UNLISTED, factsRequest } from './members.js';
import { listedDefinition } from './members.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { join } from 'node:path';

type CaptureInput = GrantedInput & { readonly partial: string };

/** Step backup.validate. A database whose bytes have passed before keeps that verdict, with its date. */
export const validateCapture = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: CaptureInput, context) => {
    // Copies that are published must be on disk before: the disk writes while the processors check
    const asked = () => applicationOf(context.room, input.operation, context.signal);
    const goesToVault = 'vault' in backupPlace(context.room.definition);
    const [written, checked] = await Promise.allSettled([
      goesToVault ? undefined : syncFilesystem(input.partial),
      checkCapture(input, context, asked),
    ]);
    if (checked.status === 'rejected') throw checked.reason;
    if (written.status === 'rejected') throw written.reason;
    return checked.value;
  });

/** Checks what was captured, and writes down what the manifest will say of it. */
export async function checkCapture(
  input: CaptureInput,
  context: StepContext,
  application: () => Promise<Manifest['application']>,
): Promise<{ readonly databases: number; readonly verdictsKept: number }> {
  const { room, signal } = context;
  const capture = await readCapture(input.partial);
  const known = await withControlDatabase(room.controlDirectory, (database) =>
    capture.databases.map(({ sha256 }) => database.verdict(sha256)),
  );
  context.report({ phase: 'check the copies', filesTotal: capture.databases.length, filesDone: 0 });
  let filesDone = 0;
  const checked = await Promise.all(
    capture.databases.map(async (captured, index): Promise<ManifestDatabase> => {
      // As it was in the backup before, where it was checked
      if (captured.facts !== undefined) return JSON.parse(captured.facts) as ManifestDatabase;
      const definition = listedDefinition(room, captured.root, captured.path) ?? UNLISTED;
      const verdict = known[index];
      const request = factsRequest(capturePath(input.partial, captured), definition, verdict === undefined);
      // Bytes with a verdict violate no foreign key: the others are checked whenever they are captured
      const facts = await checkDatabase({ ...request, integrity: verdict === undefined }, signal);
      filesDone += 1;
      context.report({ filesDone });
      const { root, path } = captured;
      const stamp = capture.liveStamps[`${root}/${path}`] ?? null;
      return { root, path, integrityCheckedAt: verdict ?? now(), liveStamp: stamp, ...facts };
    }),
  );
  const entries = capture.databases.map(fileEntryOf);
  await writeFacts(input.partial, {
    databases: checked,
    entries,
    application: await application(),
  });
  const verdicts = checked.flatMap(({ integrityCheckedAt: checkedAt, foreignKeys }, index) => {
    const sha256 = capture.databases[index]?.sha256;
    return sha256 === undefined || foreignKeys !== undefined ? [] : [{ sha256, checkedAt }];
  });
  await critical(room, input.grant, (database) => database.recordVerdicts(verdicts));
  return { databases: checked.length, verdictsKept: known.filter((verdict) => verdict !== undefined).length };
}

/** Step restore.validate: every staged database, in full; the verdict of the backup is not relied on. */
export const validateStaged = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput & { readonly plan: RestorePlan }, context) => {
    const artefact = await readPlannedBackup(context, input.plan);
    return checkDatabasesOf(artefact, context, (root, path) => {
      const found = context.room.roots.find((candidate) => candidate.definition.name === root);
      if (found === undefined) throw new Error('defect: a staged root that the store does not have');
      return join(treeOf(found, input.operation), path);
    });
  });

/**
 * Checks every database of an artefact where `place` says it lies.
 * @throws Stop integrity_failed, foreign_keys_violated (more than the manifest recorded), required_table_missing
 */
export async function checkDatabasesOf(
  { manifest }: Pick<BackupSource, 'manifest'>,
  context: StepContext,
  place: (root: string, path: string) => string,
): Promise<{ readonly databases: number }> {
  const { databases } = manifest;
  context.report({ phase: 'check databases', filesTotal: databases.length });
  let filesDone = 0;
  await Promise.all(
    databases.map(async ({ root, path, foreignKeys }) => {
      const definition = listedDefinition(context.room, root, path) ?? UNLISTED;
      const request = { ...requirementsOf(place(root, path), definition), integrity: true };
      const found = await checkDatabase(request, context.signal);
      assertForeignKeys(request.path, found.foreignKeys, foreignKeys);
      filesDone += 1;
      context.report({ filesDone });
    }),
  );
  return { databases: databases.length };
}

/** Sequences and histories are compared by another step. */
function requirementsOf(path: string, { requiredTables }: DatabaseDefinition) {
  return factsRequest(path, { ...UNLISTED, requiredTables }, true);
}
