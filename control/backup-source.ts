// A backup wherever it lies, in a directory or in a vault: what it says of itself, and its files. Steps that restore, verify
// or compare ask here, and know neither layouts nor packs.
import { isAbsolute } from 'node:path';
import { assertTreeMatches, dataPath, readArtefact } from '../artefacts/artefact.js';
import type { Artefact } from '../artefacts/artefact.js';
import { resolveArtefact } from '../artefacts/catalogue.js';
import type { StoreDefinition } from '../domain/definition.js';
import type { FileEntry, Manifest } from '../domain/manifest.js';
import { copyEach, hashEach } from '../files/copy.js';
import type { ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import type { FileFault } from '../vault/unpacker.js';
import { openVaultBackup, resolveVaultBackup } from './vault-backup.js';
import { parseVaultReference } from './vault-room.js';
import type { HostDirectories } from './vault-room.js';

export interface BackupSource {
  /** Directory of the artefact, or `vault:<vault>/<store>/<number>`. */
  readonly path: string;
  readonly manifest: Manifest;
  /** What plans, reports and witnesses bind it by: of manifest.json, or of the envelope; lower-case hex. */
  readonly manifestSha256: string;
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

/**
 * The backup at a path that a plan or a report names.
 * @throws Stop of readArtefact, and of a vault
 */
export async function openBackup(host: HostDirectories, path: string): Promise<BackupSource> {
  const reference = parseVaultReference(path);
  return reference === null ? artefactSource(await readArtefact(path)) : openVaultBackup(host, reference);
}

/**
 * The backup of `store` that a person names, where the definition sends backups.
 * @throws Stop artefact_missing, ambiguous_intent, and those of openBackup
 */
export async function resolveBackup(
  host: HostDirectories,
  { backup: { destination, vault } }: StoreDefinition,
  store: string,
  reference: string,
): Promise<BackupSource> {
  if (isAbsolute(reference) || parseVaultReference(reference) !== null) return openBackup(host, reference);
  if (vault !== undefined) return resolveVaultBackup(host, vault, store, reference);
  if (destination === null) throw new Error('defect: a definition without destination and vault passed the schema');
  return artefactSource(await resolveArtefact(destination, store, reference));
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
