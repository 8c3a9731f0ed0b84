// What `holdfast ls|cat|find|diff` ask of a manifest: entries below a path, by glob, one by its name, what two manifests
// differ in. Over entries as they come, so that a manifest of any size is never in memory whole.
import type { DirectoryEntry, FileEntry, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { VaultFileEntry, VaultManifestLine } from '../domain/vault.js';
import { compileGlobs } from '../files/globs.js';
import { comparePlaces } from './manifest-check.js';

/** A directory or file of a manifest. */
export type VaultEntry = DirectoryEntry | VaultFileEntry;

/** Its name in lists and arguments: `<root>/<path>`, a root alone. */
export function entryName({ root, path }: Pick<ManifestEntry, 'root' | 'path'>): string {
  return path === '.' ? root : `${root}/${path}`;
}

/** In the order of the manifest. To the end, because only that says that the manifest is whole. */
export async function* entriesOf(lines: AsyncIterable<VaultManifestLine>): AsyncGenerator<VaultEntry> {
  for await (const line of lines) {
    if ('directory' in line) yield { type: 'directory', ...line.directory };
    else if ('file' in line) yield line.file;
  }
}

export interface BelowOptions {
  /** null: everything below; 1: what a directory has itself; 0: the entry alone. */
  readonly depthMax: number | null;
}

/**
 * The entry of a name, and what is below it; everything for the empty name, whose children are the roots.
 * @param name `<root>/<path>`; slashes at its end don't matter
 * @throws Stop file_missing when all entries were seen and none is of that name
 */
export async function* entriesBelow<Entry extends ManifestEntry>(
  entries: AsyncIterable<Entry>,
  name: string,
  { depthMax }: BelowOptions,
): AsyncGenerator<Entry> {
  const wanted = name.replace(/\/+$/, '');
  let isFound = wanted === '';
  for await (const entry of entries) {
    const depth = depthBelow(wanted, entryName(entry));
    if (depth === null) continue;
    isFound = true;
    if (depthMax === null || depth <= depthMax) yield entry;
  }
  if (!isFound) throw missing(name);
}

/**
 * Entries whose name matches one of the globs, which are those of definitions (docs/reference/definition.md); `**` is any depth.
 */
export async function* entriesMatching<Entry extends ManifestEntry>(
  entries: AsyncIterable<Entry>,
  globs: readonly string[],
): AsyncGenerator<Entry> {
  const matches = compileGlobs(globs);
  for await (const entry of entries) if (matches(entryName(entry))) yield entry;
}

/**
 * The file of a name, once the manifest has proved whole.
 * @throws Stop file_missing where there is none, or it is a directory
 */
export async function fileNamed<Entry extends ManifestEntry>(
  entries: AsyncIterable<Entry>,
  name: string,
): Promise<Entry & FileEntry> {
  let found: (Entry & FileEntry) | null = null;
  for await (const entry of entries) if (isFile(entry) && entryName(entry) === name) found = entry;
  if (found === null) throw missing(name);
  return found;
}

export interface EntryPair {
  /** null: the first has none of this name. */
  readonly before: ManifestEntry | null;
  readonly after: ManifestEntry | null;
}

/** The entries of two manifests, by name, in the order of manifests; both are read to their ends. */
export async function* entryPairs(
  before: AsyncIterable<ManifestEntry>,
  after: AsyncIterable<ManifestEntry>,
): AsyncGenerator<EntryPair> {
  const [left, right] = [before[Symbol.asyncIterator](), after[Symbol.asyncIterator]()];
  let [one, other] = [await left.next(), await right.next()];
  while (one.done !== true || other.done !== true) {
    const order = one.done === true ? 1 : other.done === true ? -1 : comparePlaces(one.value, other.value);
    yield {
      before: order <= 0 && one.done !== true ? one.value : null,
      after: order >= 0 && other.done !== true ? other.value : null,
    };
    if (order <= 0) one = await left.next();
    if (order >= 0) other = await right.next();
  }
}

const isFile = <Entry extends ManifestEntry>(entry: Entry): entry is Entry & FileEntry => entry.type !== 'directory';

/** Whether a name is `wanted`, or below it; everything is below the empty one. */
export const isBelow = (wanted: string, name: string): boolean => depthBelow(wanted, name) !== null;

/** null: not below. */
function depthBelow(wanted: string, name: string): number | null {
  if (name === wanted) return 0;
  if (wanted !== '' && !name.startsWith(`${wanted}/`)) return null;
  const below = wanted === '' ? name : name.slice(wanted.length + 1);
  return below.split('/').length;
}

function missing(name: string): Stop {
  return new Stop('file_missing', `${name} is not in the backup`, { entry: name });
}
