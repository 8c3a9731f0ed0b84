// An artefact: a backup as a directory that anyone can read. The roots lie where its layout has them (layout.ts; `plain`:
// `data/<root>/<path>`), manifest.json says what they are, manifest.json.sig is the slot of its signature. A directory
// without manifest.json is not a backup. Written under a hidden name and published by one rename (F-18, SM-9).
import { createHash } from 'node:crypto';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mainOfSidecar } from '../domain/exchange.js';
import type { Manifest, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import {
  ensureDirectory,
  fsyncDirectory,
  removeTree,
  renameDurable,
  syncFilesystem,
  writeFileDurable,
} from '../files/durable.js';
import { translateErrno } from '../files/errors.js';
import { walkTree } from '../files/walk.js';
import type { WalkedEntry } from '../files/walk.js';
import { assertChecksums, digestsOf, formatChecksums } from './checksums.js';
import { CHECKSUMS_NAME, DATA_NAME, LAYOUTS, MANIFEST_NAME, arrangeRoots, besideRoots, entryPath } from './layout.js';
import { readManifest, writeManifest } from './manifest-file.js';
import type { WrittenManifest } from './manifest-file.js';

/**
 * Hidden: what is not published is never listed. Names its store and, by the begin of a digest, its host, because both
 * may share a destination.
 */
export function partialName(store: string, host: string, name: string): string {
  return `.partial-${store}.${createHash('sha256').update(host).digest('hex').slice(0, 16)}.${name}`;
}

/** A file of a layout, with what is in it. */
export interface Document {
  readonly name: string;
  readonly text: string;
}

export interface Artefact {
  /** Directory. */
  readonly path: string;
  readonly manifest: Manifest;
  /** Of the bytes of manifest.json. */
  readonly manifestSha256: string;
}

type Place = Pick<ManifestEntry, 'root' | 'path'>;

/** Where an entry's bytes are inside an artefact. */
export function dataPath({ path, manifest }: Pick<Artefact, 'path' | 'manifest'>, entry: Place): string {
  return join(path, entryPath(manifest.layout, entry));
}

/** Where an entry's bytes are captured, before its artefact is published. */
export function capturePath(partial: string, entry: Place): string {
  return join(partial, DATA_NAME, entry.root, entry.path);
}

/**
 * Reads and checks a manifest, not yet the bytes it speaks of.
 * @throws Stop artefact_missing, manifest_missing, manifest_invalid, path_unsafe
 */
export async function readArtefact(path: string): Promise<Artefact> {
  try {
    if (!(await stat(path)).isDirectory()) throw new Stop('artefact_missing', `${path} is not a directory`, { path });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('artefact_missing', `${path} does not exist`, { path });
    throw translateErrno(error, { path });
  }
  return { path, ...(await readManifest(path, MANIFEST_NAME)) };
}

/**
 * Holds the directory against its manifest by names, kinds and sizes; contents are hashed where they are read.
 * @throws Stop file_missing, file_extra, symlink_found, special_file_found, checksum_mismatch (another size)
 */
export async function assertTreeMatches(artefact: Artefact): Promise<void> {
  const { manifest } = artefact;
  const entryAt = entriesByPlace(manifest);
  const beside = new Set(besideRoots(manifest.layout));
  let matched = 0;
  const walked = await walkTree(artefact.path, { detectDatabases: false });
  for (const found of walked) {
    const entry = entryAt(found.path);
    const place = { path: artefact.path, entry: found.path };
    if (found.kind === 'symlink') throw new Stop('symlink_found', `${found.path} is a symbolic link`, place);
    if (found.kind === 'special') throw new Stop('special_file_found', `${found.path} is a special file`, place);
    if (beside.has(found.path)) {
      const isDirectory = found.path === '.' || found.path === LAYOUTS[manifest.layout].roots;
      if (isDirectory !== (found.kind === 'directory'))
        throw new Stop('checksum_mismatch', `${found.path} is of another kind`, place);
      continue;
    }
    if (entry === undefined && isTraceOfReading(found, entryAt)) continue;
    if (entry === undefined) throw new Stop('file_extra', `${found.path} is not in the manifest`, place);
    if ((entry.type === 'directory') !== (found.kind === 'directory'))
      throw new Stop('checksum_mismatch', `${found.path} is of another kind`, place);
    if (entry.type !== 'directory' && entry.sizeBytes !== found.sizeBytes) {
      throw new Stop(
        'checksum_mismatch',
        `${found.path} has ${found.sizeBytes} bytes, the manifest says ${entry.sizeBytes}`,
        place,
      );
    }
    matched += 1;
  }
  // Each was found once: a walk tells no path twice
  if (matched < manifest.entries.length) throw filesMissing(artefact, new Set(walked.map(({ path }) => path)));
  if (LAYOUTS[manifest.layout].hasChecksums) await assertChecksums(artefact.path, manifest, artefact.manifestSha256);
}

function filesMissing({ path, manifest }: Artefact, found: ReadonlySet<string>): Stop {
  const missing = manifest.entries.map((entry) => entryPath(manifest.layout, entry)).filter((name) => !found.has(name));
  const [first] = missing;
  if (first === undefined) throw new Error('defect: all entries were found, and yet too few');
  return new Stop('file_missing', `${first} is missing`, { path, missing: missing.slice(0, 5), count: missing.length });
}

/** The inverse of entryPath. By root and path as the manifest has them: names of the artefact would be as many strings again. */
function entriesByPlace({ layout, entries }: Manifest): (path: string) => ManifestEntry | undefined {
  const roots = new Map<string, Map<string, ManifestEntry>>();
  for (const entry of entries) {
    const known = roots.get(entry.root) ?? new Map<string, ManifestEntry>();
    roots.set(entry.root, known.set(entry.path, entry));
  }
  const above = LAYOUTS[layout].roots === '.' ? '' : `${LAYOUTS[layout].roots}/`;
  return (path) => {
    if (!path.startsWith(above)) return undefined;
    const slash = path.indexOf('/', above.length);
    const root = roots.get(path.slice(above.length, slash < 0 ? undefined : slash));
    return root?.get(slash < 0 ? '.' : path.slice(slash + 1));
  };
}

/**
 * What SQLite leaves beside a database in WAL mode that somebody merely looked at: an index, and a log without a frame.
 * Neither is ever read or copied; a log that holds anything is a file too many.
 */
function isTraceOfReading(found: WalkedEntry, entryAt: (path: string) => ManifestEntry | undefined): boolean {
  const isEmptyTrace =
    found.kind === 'file' && (found.path.endsWith('-shm') || (found.path.endsWith('-wal') && found.sizeBytes === 0));
  return isEmptyTrace && entryAt(mainOfSidecar(found.path) ?? '')?.type === 'database';
}

/** Makes the hidden directory in which an artefact is put together. @throws Stop target_exists */
export async function beginArtefact(partial: string): Promise<void> {
  const destination = dirname(partial);
  await ensureDirectory(destination, 0o700);
  try {
    await mkdir(partial, { mode: 0o700 });
    await mkdir(join(partial, DATA_NAME), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new Stop('target_exists', `${partial} exists`, { path: partial });
    throw translateErrno(error, { path: partial });
  }
  await fsyncDirectory(destination);
}

/**
 * Removes what steps that came too late have left of a store's unfinished artefacts. Under the lock of the store, which
 * is one host's: another host's backup may be under way.
 */
export async function dropPartials(destination: string, store: string, host: string): Promise<void> {
  const prefix = partialName(store, host, '');
  for (const name of await namesIn(destination)) if (name.startsWith(prefix)) await removeTree(join(destination, name));
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw translateErrno(error, { path: directory });
  }
}

/**
 * Writes the manifest and what the layout has beside it, makes everything durable, and publishes by one rename that
 * replaces nothing.
 * @param documents those that the manifest names
 * @throws Stop target_exists, no_space, io_error; manifest_invalid and path_unsafe for what could not be read again
 */
export async function publishArtefact(
  partial: string,
  destination: string,
  name: string,
  written: WrittenManifest,
  documents: readonly Document[] = [],
): Promise<Artefact> {
  const temporary = `.${MANIFEST_NAME}.new`;
  await writeManifest(partial, temporary, written);
  // A backup that nobody could read again is none
  const { manifest, manifestSha256 } = await readManifest(partial, temporary);
  await arrangeRoots(partial, manifest.layout);
  await syncFilesystem(partial);
  for (const document of documents) await writeFileDurable(join(partial, document.name), document.text, 0o600);
  if (LAYOUTS[manifest.layout].hasChecksums)
    await writeFileDurable(join(partial, CHECKSUMS_NAME), formatChecksums(digestsOf(manifest, manifestSha256)), 0o600);
  await renameDurable(join(partial, temporary), join(partial, MANIFEST_NAME));
  const path = join(destination, name);
  await renameDurable(partial, path);
  return { path, manifest, manifestSha256 };
}
