// manifest.json, read and written some entries at a time, whatever its size: of a store with many files neither its text
// nor a second copy of its entries is ever whole in memory (artefacts/manifest-splitter.ts).
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from '../domain/limits.js';
import type { Manifest, ManifestEntry } from '../domain/manifest.js';
import { manifestEntriesSchema, manifestSchema } from '../domain/schema/manifest.js';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { assertRelativePath } from '../files/safe-path.js';
import { CONTROL_NAME } from '../files/walk.js';
import { LAYOUTS, MANIFEST_NAME } from './layout.js';
import { ManifestSplitter } from './manifest-splitter.js';

export interface ReadManifest {
  readonly manifest: Manifest;
  /** Of the bytes of the file, lower-case hex. */
  readonly manifestSha256: string;
}

const READ_BYTES = 256 * 1024;
const WRITE_CHARACTERS = 64 * 1024;

let lastRead: { readonly sha256: string; readonly manifest: WeakRef<Manifest> } | undefined;

/**
 * Reads and checks the manifest in a directory, not yet the bytes it speaks of.
 * @param name of the file: another than manifest.json is one that is not published yet
 * @throws Stop manifest_missing, manifest_invalid, path_unsafe
 */
export async function readManifest(directory: string, name: string): Promise<ReadManifest> {
  // Every step of a protocol reads the manifest anew; the same bytes need to be understood only once
  const seen = lastRead;
  const known = seen?.manifest.deref();
  if (known !== undefined && (await digestOf(directory, name)) === seen?.sha256)
    return { manifest: known, manifestSha256: seen.sha256 };
  const parser = new Parser(directory);
  const manifestSha256 = await digestOf(directory, name, (chunk) => parser.push(chunk));
  const manifest = parser.end();
  lastRead = { sha256: manifestSha256, manifest: new WeakRef(manifest) };
  return { manifest, manifestSha256 };
}

async function digestOf(
  directory: string,
  name: string,
  onChunk: (chunk: Buffer) => void = () => undefined,
): Promise<string> {
  const hash = createHash('sha256');
  try {
    // Not blocking: a FIFO of that name would hold a thread for ever
    const file = await open(join(directory, name), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const facts = await file.stat();
      if (!facts.isFile())
        throw new Stop('manifest_invalid', `${directory}/${MANIFEST_NAME} is not a file`, { path: directory });
      let left = LIMITS.manifestBytesMax;
      const buffer = Buffer.allocUnsafe(READ_BYTES);
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
        if (bytesRead === 0) return hash.digest('hex');
        left -= bytesRead;
        if (left < 0 || facts.size > LIMITS.manifestBytesMax)
          throw new Stop('manifest_invalid', `${directory}/${MANIFEST_NAME} is too large`, {
            path: directory,
            sizeBytes: facts.size,
          });
        const chunk = buffer.subarray(0, bytesRead);
        hash.update(chunk);
        onChunk(chunk);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT'))
      throw new Stop('manifest_missing', `${directory} has no ${MANIFEST_NAME}`, { path: directory });
    throw translateErrno(error, { path: directory });
  }
}

class Parser {
  readonly #path: string;
  readonly #entries: ManifestEntry[] = [];
  readonly #splitter = new ManifestSplitter((entries) => this.#take(entries));
  /** What is wrong with the first entry that is; of a manifest that is no JSON either, that is told. */
  #malformed: Stop | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  push(chunk: Buffer): void {
    this.#asJson(() => this.#splitter.push(chunk));
  }

  end(): Manifest {
    const rest = this.#asJson(() => this.#splitter.end());
    const parsed = manifestSchema.safeParse(rest);
    if (!parsed.success) throw this.#stopOf(parsed.error.issues[0]);
    if (this.#malformed !== null) throw this.#malformed;
    const manifest = { ...parsed.data, entries: this.#entries };
    assertConsistent(this.#path, manifest);
    return manifest;
  }

  #take(entries: readonly unknown[]): void {
    if (this.#malformed !== null) return;
    const parsed = manifestEntriesSchema.safeParse(entries);
    if (parsed.success) for (const entry of parsed.data) this.#entries.push(entry);
    else {
      const [issue] = parsed.error.issues;
      const [index, ...key] = issue?.path ?? [];
      const place = ['entries', this.#entries.length + Number(index), ...key];
      this.#malformed = this.#stopOf({ path: place, message: issue?.message ?? 'malformed' });
    }
  }

  #asJson<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof Stop) throw error;
      const path = this.#path;
      throw new Stop('manifest_invalid', `${path}/${MANIFEST_NAME} is not JSON`, { path }, { cause: error });
    }
  }

  #stopOf(issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined): Stop {
    const path = this.#path;
    const key = issue?.path.join('.') ?? '';
    return new Stop('manifest_invalid', `${path}/${MANIFEST_NAME}: ${key}: ${issue?.message ?? 'malformed'}`, {
      path,
      key,
    });
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
  for (const entry of manifest.entries) assertSafe(path, entry);
  const directories = directoriesOf(manifest.entries);
  for (const entry of manifest.entries) {
    const parent = entry.path.includes('/') ? entry.path.slice(0, entry.path.lastIndexOf('/')) : '.';
    if (entry.path !== '.' && directories.get(entry.root)?.has(parent) !== true) {
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

/** @throws Stop path_unsafe */
function assertSafe(path: string, entry: ManifestEntry): void {
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
}

/** The directories of each root. @throws Stop path_unsafe for a path that appears twice */
function directoriesOf(entries: readonly ManifestEntry[]): ReadonlyMap<string, ReadonlySet<string>> {
  const directories = new Map<string, Set<string>>();
  const all = new Map<string, Set<string>>();
  const among = (sets: Map<string, Set<string>>, root: string): Set<string> => {
    const known = sets.get(root) ?? new Set<string>();
    sets.set(root, known);
    return known;
  };
  for (const { root, path, type } of entries) {
    const known = among(all, root);
    if (known.has(path)) throw new Stop('path_unsafe', 'a path appears twice', { path: `${root}/${path}` });
    known.add(path);
    if (type === 'directory') among(directories, root).add(path);
  }
  return directories;
}

/** A manifest that is to be written: its entries may be read from somewhere as they are asked for. */
export type WrittenManifest = Omit<Manifest, 'entries'> & { readonly entries: Iterable<ManifestEntry> };

/**
 * Writes a manifest, and makes it durable under this name.
 * @throws Stop manifest_invalid for one that is larger than readManifest takes, target_exists, no_space, io_error
 */
export async function writeManifest(directory: string, name: string, written: WrittenManifest): Promise<void> {
  const { entries, documents, ...head } = written;
  await writeText(directory, name, piecesOf(head, entries, documents));
}

function* piecesOf(
  head: Omit<Manifest, 'entries' | 'documents'>,
  entries: Iterable<ManifestEntry>,
  documents: Manifest['documents'],
): Generator<string, void, undefined> {
  yield `${JSON.stringify(head).slice(0, -1)},"entries":[`;
  let separator = '';
  for (const entry of entries) {
    yield separator + JSON.stringify(entry);
    separator = ',';
  }
  yield `]${documents === undefined ? '' : `,"documents":${JSON.stringify(documents)}`}}\n`;
}

/**
 * The text of what is put into manifest.json in the end, if it is within what readManifest takes.
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
  throw tooLarge(path, bytesMax);
}

function tooLarge(path: string, bytesMax: number): Stop {
  return new Stop('manifest_invalid', `${MANIFEST_NAME} would be larger than ${bytesMax} bytes`, { path, bytesMax });
}

/**
 * Writes a file that becomes a manifest, or part of one, from pieces of its text, and makes it durable under this name.
 * @throws Stop manifest_invalid for one that is larger than readManifest takes, target_exists, no_space, io_error
 */
export async function writeText(
  directory: string,
  name: string,
  pieces: Iterable<string>,
  bytesMax: number = LIMITS.manifestBytesMax,
): Promise<void> {
  try {
    const file = await open(join(directory, name), 'wx', 0o600);
    try {
      await writePieces(file, pieces, directory, bytesMax);
      await file.chmod(0o600);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (hasErrno(error, 'EEXIST'))
      throw new Stop('target_exists', `${join(directory, name)} exists`, { path: directory }, { cause: error });
    throw translateErrno(error, { path: directory });
  }
}

async function writePieces(file: FileHandle, pieces: Iterable<string>, path: string, bytesMax: number): Promise<void> {
  let left = bytesMax;
  let text = '';
  const write = async (): Promise<void> => {
    const bytes = Buffer.from(text);
    text = '';
    left -= bytes.length;
    if (left < 0) throw tooLarge(path, bytesMax);
    await file.writeFile(bytes);
  };
  for (const piece of pieces) {
    text += piece;
    if (text.length >= WRITE_CHARACTERS) await write();
  }
  await write();
}
