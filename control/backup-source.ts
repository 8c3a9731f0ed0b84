// A backup wherever it lies, in a directory or in a vault: what it says of itself, and its files. Steps that restore, verify
// or compare ask here, and know neither layouts nor packs.
import { isAbsolute } from 'node:path';
import { assertTreeMatches, dataPath, readArtefact } from '../artefacts/artefact.js';
import type { Artefact } from '../artefacts/artefact.js';
import { resolveArtefact } from '../artefacts/catalogue.js';
import type { CatalogueEntry } from '../artefacts/catalogue.js';
import { numberOf } from '../artefacts/names.js';
import { isAdoptable } from '../domain/adoption.js';
import type { Adopted } from '../domain/adoption.js';
import { backupPlace } from '../domain/backup-place.js';
import { timeOfReference } from '../domain/backup-reference.js';
import type { ReferenceTime } from '../domain/backup-reference.js';
import type { StoreDefinition } from '../domain/definition.js';
import type { FileEntry, Manifest, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { copyEach, hashEach } from '../files/copy.js';
import type { ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import { comparePlaces } from '../vault/manifest-check.js';
import type { FileFault } from '../vault/unpacker.js';
import { listBackups } from './backups.js';
import { locateVaultBackup, openVaultBackup, viewVaultBackup } from './vault-backup.js';
import { parseVaultReference, vaultReference } from './vault-room.js';
import type { HostDirectories, VaultReference } from './vault-room.js';

export interface BackupSource {
  /** Directory of the artefact, or `vault:<vault>/<store>/<number>`. */
  readonly path: string;
  readonly manifest: Manifest;
  /** What plans, reports and witnesses bind it by: of manifest.json, or of the envelope; lower-case hex. */
  readonly manifestSha256: string;
  /** Who signed it, where its vault doesn't believe it; absent where it does, and where nothing is signed. */
  readonly adopted?: Adopted;
  /** That everything is there, by names, kinds and sizes. @throws Stop file_missing and the like; vault_object_missing */
  assertWhole(): Promise<void>;
  /**
   * Writes files to where they are wanted (copyEach: new files, mode 0600), each held to its digest.
   * @throws Stop checksum_mismatch, and those of the place
   */
  extract(files: readonly FileEntry[], targetOf: (entry: FileEntry) => string, options: ReadOptions): Promise<void>;
  /**
   * Holds files to their digests, without writing.
   * @param onFault told of each that is not what it should be, where the others can still be checked
   * @throws Stop as extract, where they can't be
   */
  check(files: readonly FileEntry[], options: ReadOptions, onFault: (fault: FileFault) => void): Promise<void>;
  /** Calls `work` with a directory in which these of its databases lie where `place` says. */
  withDatabases<T>(
    databases: readonly FileEntry[],
    options: ReadOptions,
    work: (place: (root: string, path: string) => string) => Promise<T>,
  ): Promise<T>;
}

/** A backup to look into: its entries come one after the other, of a vault's without ever being in memory all. */
export interface BackupView extends Pick<BackupSource, 'path' | 'manifestSha256' | 'extract'> {
  /** What the manifest says before its entries. */
  readonly head: Pick<Manifest, 'backupId' | 'number' | 'store' | 'createdAt' | 'host' | 'cut'>;
  /** In the order of a vault's manifest, anew with each call. @throws Stop of a manifest that is not whole, at the latest in the end */
  entries(): AsyncIterable<ManifestEntry>;
}

/**
 * The backup at a path that a plan or a report names.
 * @param adopt key that the plan adopts; that it was allowed since it was planned harms nothing
 * @throws Stop of readArtefact, and of a vault
 */
export async function openBackup(host: HostDirectories, path: string, adopt?: string): Promise<BackupSource> {
  return sourceOf(host, await placeAt(path), adopt);
}

/**
 * The backup of `store` that a person names, where the definition sends backups: an id, name or number, a unique prefix of
 * one, `latest`, `at:<RFC 3339>` (the newest that shows no later state), or the path of an artefact.
 * @param adopt fingerprint of the key that signed it, where its vault does not believe that key
 * @throws Stop artefact_missing, ambiguous_intent, usage for a time that is none, and those of openBackup;
 * adoption_not_needed where nobody doubts who signed it, and where nothing is signed
 */
export async function resolveBackup(
  host: HostDirectories,
  definition: StoreDefinition,
  store: string,
  reference: string,
  adopt?: string,
): Promise<BackupSource> {
  const source = await sourceOf(host, await locate(host, definition, { store, reference, adopt }), adopt);
  if (adopt === undefined || source.adopted !== undefined) return source;
  const why = parseVaultReference(source.path) === null ? 'is in a directory, where nothing is signed' : 'is believed';
  throw new Stop('adoption_not_needed', `the backup ${why}: there is nobody to adopt`, {
    backup: source.path,
    adopt,
  });
}

/** To look into. @throws Stop of resolveBackup */
export async function viewBackup(
  host: HostDirectories,
  definition: StoreDefinition,
  store: string,
  reference: string,
): Promise<BackupView> {
  return viewOf(host, await locate(host, definition, { store, reference }));
}

/** Path of the backup that a person names, as openBackup takes it. @throws Stop of resolveBackup */
export async function pathOfBackup(
  host: HostDirectories,
  definition: StoreDefinition,
  store: string,
  reference: string,
): Promise<string> {
  const located = await locate(host, definition, { store, reference });
  return isArtefact(located) ? located.path : vaultReference(located);
}

type Located = Artefact | VaultReference;

const isArtefact = (located: Located): located is Artefact => 'manifest' in located;

async function sourceOf(host: HostDirectories, located: Located, adopt?: string): Promise<BackupSource> {
  return isArtefact(located) ? artefactSource(located) : openVaultBackup(host, located, adopt);
}

async function viewOf(host: HostDirectories, located: Located, adopt?: string): Promise<BackupView> {
  return isArtefact(located) ? artefactView(located) : viewVaultBackup(host, located, adopt);
}

async function placeAt(path: string): Promise<Located> {
  return parseVaultReference(path) ?? readArtefact(path);
}

interface Wanted {
  readonly store: string;
  readonly reference: string;
  readonly adopt?: string | undefined;
}

async function locate(
  host: HostDirectories,
  definition: StoreDefinition,
  { store, reference, adopt }: Wanted,
): Promise<Located> {
  if (isAbsolute(reference) || parseVaultReference(reference) !== null) return placeAt(reference);
  const at = timeOfReference(reference);
  if (at !== null) return locateAt(host, definition, { store, adopt }, at);
  const place = backupPlace(definition);
  if ('vault' in place) return locateVaultBackup(host, place.vault, store, reference, adopt);
  return resolveArtefact(place.directory, store, reference);
}

/**
 * The newest backup that shows no later state. Backups are ordered by their numbers, not by their clocks.
 * @throws Stop artefact_missing; what is wrong with a backup that might be it
 */
async function locateAt(
  host: HostDirectories,
  definition: StoreDefinition,
  { store, adopt }: Omit<Wanted, 'reference'>,
  { text, millis }: ReferenceTime,
): Promise<Located> {
  for (const { path, stop } of notLater(await listBackups(host, definition, store), millis)) {
    const isForAdoption = stop !== undefined && adopt !== undefined && isAdoptable(stop.code);
    if (stop !== undefined && !isForAdoption) throw new Stop(stop.code, stop.message, { path, at: text });
    const located = await placeAt(path);
    // It was begun before; what it shows is what was there at its instant
    const { head } = await viewOf(host, located, adopt);
    if (Date.parse(head.cut.instant) <= millis) return located;
  }
  throw new Stop('artefact_missing', `no backup of ${store} is as old as ${text}`, { store, at: text });
}

/** Newest first. A broken one has no time: it is asked for where those around it leave it open, and says why not. */
function notLater(entries: readonly CatalogueEntry[], millis: number): readonly CatalogueEntry[] {
  const numbered = entries.filter(({ name, number }) => number !== undefined || numberOf(name) !== null);
  const isLater = ({ createdAt }: CatalogueEntry): boolean => createdAt !== undefined && Date.parse(createdAt) > millis;
  const lastNotLater = numbered.findLastIndex((entry) => entry.createdAt !== undefined && !isLater(entry));
  const firstLater = numbered.findIndex((entry, index) => index > lastNotLater && isLater(entry));
  return numbered
    .slice(0, firstLater < 0 ? undefined : firstLater)
    .filter((entry) => !isLater(entry))
    .toReversed();
}

function artefactSource(artefact: Artefact): BackupSource {
  const pathOf = (entry: FileEntry): string => dataPath(artefact, entry);
  const expected = ({ sizeBytes, sha256 }: FileEntry): { readonly sizeBytes: number; readonly sha256: string } => ({
    sizeBytes,
    sha256,
  });
  return {
    ...artefact,
    assertWhole: () => assertTreeMatches(artefact),
    extract: (files, targetOf, options) =>
      copyEach(
        lazily(files, (entry) => ({ source: pathOf(entry), target: targetOf(entry), expected: expected(entry) })),
        options,
      ),
    check: (files, options) =>
      hashEach(
        lazily(files, (entry) => ({ source: pathOf(entry), expected: expected(entry) })),
        options,
      ),
    withDatabases: (_databases, _options, work) => work((root, path) => dataPath(artefact, { root, path })),
  };
}

function artefactView(artefact: Artefact): BackupView {
  const { path, manifest, manifestSha256 } = artefact;
  const source = artefactSource(artefact);
  return {
    path,
    manifestSha256,
    head: manifest,
    entries: () => entriesOf(manifest),
    extract: (files, targetOf, options) => source.extract(files, targetOf, options),
  };
}

async function* entriesOf({ entries }: Manifest): AsyncGenerator<ManifestEntry> {
  yield* entries.toSorted(comparePlaces);
}
