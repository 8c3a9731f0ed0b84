// What `holdfast ls|cat|find` ask of a manifest: entries below a path, by glob, one by its name. Over lines as they come, so
// that a manifest of any size is never in memory whole.
import type { DirectoryEntry, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { VaultFileEntry, VaultManifestLine } from '../domain/vault.js';
import { compileGlobs } from '../files/globs.js';

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
 * @throws Stop file_missing when all lines were seen and none is of that name
 */
export async function* entriesBelow(
  lines: AsyncIterable<VaultManifestLine>,
  name: string,
  { depthMax }: BelowOptions,
): AsyncGenerator<VaultEntry> {
  const wanted = name.replace(/\/+$/, '');
  let isFound = wanted === '';
  for await (const entry of entriesOf(lines)) {
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
export async function* entriesMatching(
  lines: AsyncIterable<VaultManifestLine>,
  globs: readonly string[],
): AsyncGenerator<VaultEntry> {
  const matches = compileGlobs(globs);
  for await (const entry of entriesOf(lines)) if (matches(entryName(entry))) yield entry;
}

/**
 * The file of a name, once the manifest has proved whole.
 * @throws Stop file_missing where there is none, or it is a directory
 */
export async function fileNamed(lines: AsyncIterable<VaultManifestLine>, name: string): Promise<VaultFileEntry> {
  let found: VaultFileEntry | null = null;
  for await (const entry of entriesOf(lines))
    if (entry.type !== 'directory' && entryName(entry) === name) found = entry;
  if (found === null) throw missing(name);
  return found;
}

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
