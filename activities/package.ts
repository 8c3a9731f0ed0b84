// Step backup.package: the manifest, and the one rename that makes a backup of it (F-13, F-18, SM-9).
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { publishArtefact } from '../artefacts/artefact.js';
import type { Document } from '../artefacts/artefact.js';
import type { WrittenManifest } from '../artefacts/manifest-file.js';
import { backupName, nextNumber } from '../artefacts/names.js';
import { critical, journal } from '../control/lock.js';
import { raiseWitnesses } from '../control/witnesses.js';
import { removeTree } from '../files/durable.js';
import { backupPlace } from '../domain/backup-place.js';
import { sumForeignKeys } from '../domain/foreign-keys.js';
import type { ForeignKeysSum } from '../domain/foreign-keys.js';
import { MANIFEST_FORMAT } from '../domain/manifest.js';
import type { CutReport, FileEntry, ManifestEntry } from '../domain/manifest.js';
import { readCapture, readFacts, removeCapture, takeEntries } from './capture.js';
import type { Capture } from './capture.js';
import { documentsOf } from './documents.js';
import { manifestHead } from './manifest-head.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { publishInVault } from './vault-package.js';

export interface PackageInput extends GrantedInput {
  readonly partial: string;
  readonly requestedBy: string;
  readonly quiescedMillis: number;
}

export interface Packaged {
  readonly backupId: string;
  readonly artefact: string;
  readonly manifestSha256: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly databases: number;
  readonly foreignKeys: ForeignKeysSum;
  readonly cut: CutReport;
}

export const packageArtefact = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PackageInput, context): Promise<Packaged> => {
    const place = backupPlace(context.room.definition);
    const packaged = await ('vault' in place
      ? publishInVault(place.vault, input, context)
      : publishCapture(input, context));
    if ('vault' in place) await critical(context.room, input.grant, () => removeTree(input.partial));
    await journal(context.room, input.grant, { event: 'staging-dropped' });
    return packaged;
  });

/** Makes an artefact of a capture that was checked. It is owed to be dropped still, and is not there any more by then. */
export async function publishCapture(input: PackageInput, context: StepContext): Promise<Packaged> {
  const { room } = context;
  const { layout } = room.definition;
  const destination = dirname(input.partial);
  const capture = await readCapture(input.partial);
  const documents = await documentsOf(room.definition, capture.createdAt);
  const manifestWith = await manifestOf(input, context, capture, documents);
  await removeCapture(input.partial);
  const { manifest, ...artefact } = await critical(room, input.grant, async (database) => {
    const whole = manifestWith(await nextNumber(destination, layout.name, capture.createdAt));
    const published = await publishArtefact(input.partial, destination, backupName(whole), whole, documents);
    database.recordBackup(whole.backupId, published.manifestSha256, published.path);
    raiseWitnesses(database, whole.databases, whole.backupId);
    return published;
  });
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  return {
    backupId: manifest.backupId,
    artefact: artefact.path,
    manifestSha256: artefact.manifestSha256,
    sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    files: files.length,
    databases: manifest.databases.length,
    foreignKeys: sumForeignKeys(manifest.databases),
    cut: manifest.cut,
  };
}

/** The manifest but for its number, which the backup gets as it is published. */
async function manifestOf(
  input: PackageInput,
  context: StepContext,
  capture: Capture,
  documents: readonly Document[],
): Promise<(number: number) => WrittenManifest> {
  const facts = await readFacts(input.partial);
  const head = await manifestHead(input, context, capture, facts);
  return (number) => ({
    format: MANIFEST_FORMAT,
    ...head(number),
    databases: facts.databases,
    entries: allEntries(input.partial, facts.entries),
    ...(documents.length > 0 && {
      documents: documents.map(({ name, text }) => ({
        name,
        sha256: createHash('sha256').update(text).digest('hex'),
      })),
    }),
  });
}

function* allEntries(partial: string, databases: readonly FileEntry[]): Generator<ManifestEntry, void, undefined> {
  yield* takeEntries(partial);
  yield* databases;
}
