// An artefact: a backup as a directory that anyone can read. The roots lie where its layout has them (layout.ts; `plain`:
// `data/<root>/<path>`), manifest.json says what they are, manifest.json.sig is the slot of its signature. A directory
// without manifest.json is not a backup. Written under a hidden name and published by one rename (F-18, SM-9).
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mainOfSidecar } from '../domain/exchange.js';
import { LIMITS } from '../domain/limits.js';
import type { Manifest, ManifestEntry } from '../domain/manifest.js';
import { manifestSchema } from '../domain/schema/manifest.js';
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
import { assertNoDuplicates, assertRelativePath } from '../files/safe-path.js';
import { CONTROL_NAME, walkTree } from '../files/walk.js';
import type { WalkedEntry } from '../files/walk.js';
import { assertChecksums, digestsOf, formatChecksums } from './checksums.js';
import { CHECKSUMS_NAME, DATA_NAME, LAYOUTS, MANIFEST_NAME, arrangeRoots, besideRoots, entryPath } from './layout.js';

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
  const bytes = await readManifestBytes(path);
  const manifestSha256 = createHash('sha256').update(bytes).digest('hex');
  // Every step of a protocol reads the manifest anew; the same bytes need to be understood only once
  const known = lastRead?.sha256 === manifestSha256 ? lastRead.manifest.deref() : undefined;
  const manifest = known ?? parseManifest(path, bytes);
  lastRead = { sha256: manifestSha256, manifest: new WeakRef(manifest) };
  return { path, manifest, manifestSha256 };
}

let lastRead: { readonly sha256: string; readonly manifest: WeakRef<Manifest> } | undefined;

/**
 * The text of what is put into manifest.json in the end, if it is within what readArtefact takes.
 * @throws Stop manifest_invalid
 */
export function jsonWithin(path: string, value: object, bytesMax: number = LIMITS.manifestBytesMax): string {
  let text: string | null = null;
  try {
    text = `${JSON.stringify(value)}\n`;
  } catch (error) {
    // No string is that long
    if (!(error instanceof RangeError)) throw error;
  }
  if (text !== null && Buffer.byteLength(text) <= bytesMax) return text;
  throw new Stop('manifest_invalid', `${MANIFEST_NAME} would be larger than ${bytesMax} bytes`, { path, bytesMax });
}

function parseManifest(path: string, bytes: Buffer): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Stop('manifest_invalid', `${path}/${MANIFEST_NAME} is not JSON`, { path }, { cause: error });
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new Stop(
      'manifest_invalid',
      `${path}/${MANIFEST_NAME}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`,
      { path, key: issue?.path.join('.') ?? '' },
    );
  }
  assertConsistent(path, parsed.data);
  return parsed.data;
}

async function readManifestBytes(path: string): Promise<Buffer> {
  try {
    if (!(await stat(path)).isDirectory()) throw new Stop('artefact_missing', `${path} is not a directory`, { path });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('artefact_missing', `${path} does not exist`, { path });
    throw translateErrno(error, { path });
  }
  try {
    // Not blocking: a FIFO of that name would hold a thread for ever
    const file = await open(join(path, MANIFEST_NAME), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const facts = await file.stat();
      if (!facts.isFile()) throw new Stop('manifest_invalid', `${path}/${MANIFEST_NAME} is not a file`, { path });
      if (facts.size > LIMITS.manifestBytesMax)
        throw new Stop('manifest_invalid', `${path}/${MANIFEST_NAME} is too large`, { path, sizeBytes: facts.size });
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('manifest_missing', `${path} has no ${MANIFEST_NAME}`, { path });
    throw translateErrno(error, { path });
  }
}

/** What the schema can't say: paths are safe and single, every file has its directory, every database its entry. */
function assertConsistent(path: string, manifest: Manifest): void {
  const documents = (manifest.documents ?? []).map(({ name }) => name);
  const { documents: expected, refuses } = LAYOUTS[manifest.layout];
  if (documents.length !== expected.length || documents.some((name, index) => name !== expected[index]))
    throw new Stop('manifest_invalid', `the documents are not those of layout ${manifest.layout}`, { path, documents });
  const refused = manifest.entries.find((entry) => refuses(entry.path));
  if (refused !== undefined)
    throw new Stop('path_unsafe', `${refused.root}/${refused.path} has no place in layout ${manifest.layout}`, {
      path,
      entry: `${refused.root}/${refused.path}`,
    });
  const kinds = new Map<string, ManifestEntry['type']>();
  for (const entry of manifest.entries) {
    assertRelativePath(entry.root);
    if (entry.root.includes('/'))
      throw new Stop('path_unsafe', `root ${entry.root} is not a name`, { path, root: entry.root });
    if (entry.path !== '.') assertRelativePath(entry.path);
    // Put into a live root it would be taken for the store's lock, fence and rollback points
    if (entry.path.split('/', 1)[0] === CONTROL_NAME)
      throw new Stop('path_unsafe', `${entry.root}/${entry.path} is the place of a control directory`, {
        path,
        entry: `${entry.root}/${entry.path}`,
      });
    kinds.set(`${entry.root}/${entry.path}`, entry.type);
  }
  assertNoDuplicates(manifest.entries.map((entry) => `${entry.root}/${entry.path}`));
  for (const entry of manifest.entries) {
    const parent = entry.path.includes('/') ? entry.path.slice(0, entry.path.lastIndexOf('/')) : '.';
    if (entry.path !== '.' && kinds.get(`${entry.root}/${parent}`) !== 'directory') {
      throw new Stop('manifest_invalid', `${entry.root}/${entry.path} has no directory in the manifest`, {
        path,
        entry: `${entry.root}/${entry.path}`,
      });
    }
    if (entry.path === '.' && entry.type !== 'directory')
      throw new Stop('manifest_invalid', `root ${entry.root} is not a directory`, { path });
  }
  const described = new Set(manifest.databases.map((database) => `${database.root}/${database.path}`));
  const databases = manifest.entries
    .filter((entry) => entry.type === 'database')
    .map((entry) => `${entry.root}/${entry.path}`);
  if (described.size !== databases.length || databases.some((name) => !described.has(name))) {
    throw new Stop('manifest_invalid', 'the databases that are listed are not those that are described', { path });
  }
}

/**
 * Holds the directory against its manifest by names, kinds and sizes; contents are hashed where they are read.
 * @throws Stop file_missing, file_extra, symlink_found, special_file_found, checksum_mismatch (another size)
 */
export async function assertTreeMatches(artefact: Artefact): Promise<void> {
  const { manifest } = artefact;
  const expected = new Map(manifest.entries.map((entry) => [entryPath(manifest.layout, entry), entry]));
  const beside = new Set(besideRoots(manifest.layout));
  const missing = new Set(expected.keys());
  for (const found of await walkTree(artefact.path, { detectDatabases: false })) {
    const entry = expected.get(found.path);
    const place = { path: artefact.path, entry: found.path };
    if (found.kind === 'symlink') throw new Stop('symlink_found', `${found.path} is a symbolic link`, place);
    if (found.kind === 'special') throw new Stop('special_file_found', `${found.path} is a special file`, place);
    if (beside.has(found.path)) {
      const isDirectory = found.path === '.' || found.path === LAYOUTS[manifest.layout].roots;
      if (isDirectory !== (found.kind === 'directory'))
        throw new Stop('checksum_mismatch', `${found.path} is of another kind`, place);
      continue;
    }
    if (entry === undefined && isTraceOfReading(found, expected)) continue;
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
    missing.delete(found.path);
  }
  const [first] = missing;
  if (first !== undefined)
    throw new Stop('file_missing', `${first} is missing`, {
      path: artefact.path,
      missing: [...missing].slice(0, 5),
      count: missing.size,
    });
  if (LAYOUTS[manifest.layout].hasChecksums) await assertChecksums(artefact.path, manifest, artefact.manifestSha256);
}

/**
 * What SQLite leaves beside a database in WAL mode that somebody merely looked at: an index, and a log without a frame.
 * Neither is ever read or copied; a log that holds anything is a file too many.
 */
function isTraceOfReading(found: WalkedEntry, expected: ReadonlyMap<string, ManifestEntry>): boolean {
  const isEmptyTrace =
    found.kind === 'file' && (found.path.endsWith('-shm') || (found.path.endsWith('-wal') && found.sizeBytes === 0));
  return isEmptyTrace && expected.get(mainOfSidecar(found.path) ?? '')?.type === 'database';
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
  manifest: Manifest,
  documents: readonly Document[] = [],
): Promise<Artefact> {
  const bytes = Buffer.from(jsonWithin(partial, manifest));
  const manifestSha256 = createHash('sha256').update(bytes).digest('hex');
  // A backup that nobody could read again is none
  parseManifest(partial, bytes);
  await arrangeRoots(partial, manifest.layout);
  await syncFilesystem(partial);
  for (const document of documents) await writeFileDurable(join(partial, document.name), document.text, 0o600);
  if (LAYOUTS[manifest.layout].hasChecksums)
    await writeFileDurable(join(partial, CHECKSUMS_NAME), formatChecksums(digestsOf(manifest, manifestSha256)), 0o600);
  await writeFileDurable(join(partial, MANIFEST_NAME), bytes, 0o600);
  const path = join(destination, name);
  await renameDurable(partial, path);
  return { path, manifest, manifestSha256 };
}
