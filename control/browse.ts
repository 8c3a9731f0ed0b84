// What people look at in backups without restoring them: one file's bytes, and what two backups differ in. Names are
// `<root>/<path>`.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { canonicalJson } from '../domain/canonical.js';
import type { FileEntry, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { renameDurable, syncFilesystem } from '../files/durable.js';
import { translating } from '../files/errors.js';
import { diffRows } from '../sqlite/row-diff.js';
import type { RowDiff } from '../sqlite/row-diff.js';
import { entryName, entryPairs, fileNamed, isBelow } from '../vault/entries.js';
import type { EntryPair } from '../vault/entries.js';
import type { BackupView } from './backup-source.js';
import { withScratchDirectory } from './scratch.js';
import type { HostDirectories } from './vault-room.js';

export type { RowDiff } from '../sqlite/row-diff.js';

export interface LookOptions {
  readonly signal?: AbortSignal;
}

/**
 * Calls `use` with a file that holds exactly the bytes of a file of the backup, held to its digest before, and removed after.
 * @throws Stop file_missing, checksum_mismatch, and those of the backup's place; cancelled
 */
export async function withFileOf<T>(
  host: HostDirectories,
  backup: BackupView,
  name: string,
  options: LookOptions,
  use: (path: string, entry: FileEntry) => Promise<T>,
): Promise<T> {
  const entry = await fileNamed(backup.entries(), name);
  return withScratchDirectory(host, async (scratch) => {
    const path = join(scratch, 'file');
    await backup.extract([entry], () => path, options);
    return use(path, entry);
  });
}

/** Writes a file of the backup to a path that must not exist, durable. @throws Stop as withFileOf, and target_exists */
export async function extractFile(
  backup: BackupView,
  name: string,
  target: string,
  options: LookOptions,
): Promise<FileEntry> {
  const entry = await fileNamed(backup.entries(), name);
  if (existsSync(target)) throw new Stop('target_exists', `${target} exists`, { path: target });
  // Beside it until it is whole: what does not check never has the name that was asked for
  const beside = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`);
  try {
    await backup.extract([entry], () => beside, options);
    await syncFilesystem(dirname(target));
    await renameDurable(beside, target);
  } catch (error) {
    await translating({ path: beside }, () => rm(beside, { force: true }));
    throw error;
  }
  return entry;
}

/** What two entries of one name differ in; `kind`: one is a directory, a database, or a file, and the other is not. */
export type Difference = 'kind' | 'content' | 'mode' | 'owner' | 'attributes' | 'time';

export interface EntryDifference extends EntryPair {
  readonly name: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Of what was changed. */
  readonly differences: readonly Difference[];
}

/**
 * What the second backup has otherwise than the first, in the order of names. The time of a directory says nothing: it
 * changes with what is in it.
 * @param name only what is of this name or below it; '' is everything
 * @throws Stop file_missing when neither has it
 */
export async function* diffBackups(
  before: BackupView,
  after: BackupView,
  name: string,
): AsyncGenerator<EntryDifference> {
  const wanted = name.replace(/\/+$/, '');
  let isFound = wanted === '';
  for await (const pair of entryPairs(before.entries(), after.entries())) {
    const entry = pair.after ?? pair.before;
    if (entry === null || !isBelow(wanted, entryName(entry))) continue;
    isFound = true;
    const difference = differenceOf(pair);
    if (difference !== null) yield { ...pair, name: entryName(entry), ...difference };
  }
  if (!isFound) throw new Stop('file_missing', `${name} is in neither backup`, { entry: name });
}

function differenceOf({ before, after }: EntryPair): Pick<EntryDifference, 'change' | 'differences'> | null {
  if (before === null) return { change: 'added', differences: [] };
  if (after === null) return { change: 'removed', differences: [] };
  const differences = DIFFERENCES.filter(([, differ]) => differ(before, after)).map(([difference]) => difference);
  return differences.length === 0 ? null : { change: 'changed', differences };
}

type Differ = (before: ManifestEntry, after: ManifestEntry) => boolean;

const DIFFERENCES: readonly (readonly [Difference, Differ])[] = [
  ['kind', (before, after) => before.type !== after.type],
  [
    'content',
    (before, after) => before.type !== 'directory' && after.type !== 'directory' && before.sha256 !== after.sha256,
  ],
  ['mode', (before, after) => before.mode !== after.mode],
  ['owner', (before, after) => before.uid !== after.uid || before.gid !== after.gid],
  ['attributes', (before, after) => canonicalJson(before.xattrs ?? {}) !== canonicalJson(after.xattrs ?? {})],
  [
    'time',
    (before, after) =>
      before.type !== 'directory' && after.type !== 'directory' && before.mtimeNanos !== after.mtimeNanos,
  ],
];

/** A database that both backups have, with other bytes. */
export function isChangedDatabase(
  difference: EntryDifference,
): difference is EntryDifference & { readonly before: FileEntry; readonly after: FileEntry } {
  const { before, after, differences } = difference;
  return before?.type === 'database' && after?.type === 'database' && differences.includes('content');
}

export interface RowOptions extends LookOptions {
  /** Keys that are told of each table and kind of difference, at most. */
  readonly keysMax: number;
}

/**
 * In which rows two states of a database differ. Both are put together in a directory that is removed again.
 * @throws Stop of extract and diffRows
 */
export async function diffDatabase(
  host: HostDirectories,
  before: readonly [BackupView, FileEntry],
  after: readonly [BackupView, FileEntry],
  { keysMax, ...options }: RowOptions,
): Promise<RowDiff> {
  return withScratchDirectory(host, async (scratch) => {
    const copy = async ([backup, entry]: readonly [BackupView, FileEntry]): Promise<string> => {
      // Each alone: SQLite's sidecars lie beside them
      const directory = join(scratch, randomUUID());
      await mkdir(directory, { mode: 0o700 });
      const path = join(directory, 'copy.db');
      await backup.extract([entry], () => path, options);
      return path;
    };
    return diffRows({ before: await copy(before), after: await copy(after), keysMax }, options.signal);
  });
}
