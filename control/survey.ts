// Looks at a directory as a store that nobody has defined yet, for `holdfast init`: which databases it has and what is
// in them, which other files, and what happens to those while one looks. Changes nothing.
import { lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TreePolicy } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { SIDECAR_SUFFIXES } from '../domain/exchange.js';
import { walkTree } from '../files/walk.js';
import type { WalkedEntry } from '../files/walk.js';
import { readShapes } from '../sqlite/shape.js';
import type { ReadShape } from '../sqlite/shape.js';

export interface SurveyedDatabase {
  /** Relative to the directory. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly shape: ReadShape;
}

/** What is at the top of the directory and no database: a directory with all that is in it, or a file. */
export interface SurveyedPart {
  readonly name: string;
  readonly isDirectory: boolean;
  readonly files: number;
  readonly sizeBytes: number;
  /** Links, sockets, FIFOs and devices, which are never captured. */
  readonly special: readonly string[];
  /** null: files were changed, replaced or removed while one looked. */
  readonly policy: Exclude<TreePolicy, 'quiesced'> | null;
  /** The first file that changed, relative to the directory; null: none did. */
  readonly changed: string | null;
}

export interface Survey {
  /** Resolved. */
  readonly directory: string;
  readonly observedSeconds: number;
  readonly databases: readonly SurveyedDatabase[];
  readonly parts: readonly SurveyedPart[];
}

/** @throws Stop member_missing, path_not_utf8, permission_denied, io_error */
export async function surveyDirectory(path: string, observedSeconds: number): Promise<Survey> {
  const directory = await resolvedDirectory(path);
  const before = await walkTree(directory, { detectDatabases: () => false });
  await sleep(observedSeconds * 1000);
  const after = await walkTree(directory, { detectDatabases: () => false });
  const found = after.filter(({ isDatabase }) => isDatabase === true);
  const shapes = await readShapes(found.map((entry) => join(directory, entry.path)));
  const databases = found.map((entry, index): SurveyedDatabase => ({
    path: entry.path,
    sizeBytes: entry.sizeBytes,
    shape: shapes[index] ?? { unreadable: 'io_error' },
  }));
  const isOfDatabase = new Set(
    databases.flatMap(({ path: main }) => [main, ...SIDECAR_SUFFIXES.map((suffix) => main + suffix)]),
  );
  const others = (entries: readonly WalkedEntry[]): readonly WalkedEntry[] =>
    entries.filter((entry) => entry.path !== '.' && !isOfDatabase.has(entry.path));
  const parts = partsOf(others(before), others(after));
  if (databases.length === 0 && parts.every(({ files }) => files === 0))
    throw new Stop('member_missing', `${directory} holds neither databases nor files`, { path: directory });
  return { directory, observedSeconds, databases, parts };
}

async function resolvedDirectory(path: string): Promise<string> {
  try {
    const directory = await realpath(path);
    if ((await lstat(directory)).isDirectory()) return directory;
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw translateErrno(error, { path });
  }
  throw new Stop('member_missing', `${path} is no directory`, { path });
}

const topOf = (path: string): string => path.split('/', 1)[0] ?? path;

function partsOf(before: readonly WalkedEntry[], after: readonly WalkedEntry[]): readonly SurveyedPart[] {
  const names = [...new Set([...before, ...after].map(({ path }) => topOf(path)))].sort();
  return names.map((name) => {
    const within = (entries: readonly WalkedEntry[]): readonly WalkedEntry[] =>
      entries.filter(({ path }) => topOf(path) === name);
    const now = within(after);
    const files = now.filter(({ kind }) => kind === 'file');
    return {
      name,
      isDirectory: now.some(({ path, kind }) => path === name && kind === 'directory'),
      files: files.length,
      sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      special: now.filter(({ kind }) => kind === 'symlink' || kind === 'special').map(({ path }) => path),
      ...changeOf(within(before), now),
    };
  });
}

/** The strictest policy under which a cut would have succeeded meanwhile. */
function changeOf(
  before: readonly WalkedEntry[],
  after: readonly WalkedEntry[],
): Pick<SurveyedPart, 'policy' | 'changed'> {
  const left = new Map(before.filter(({ kind }) => kind === 'file').map((entry) => [entry.path, entry]));
  let policy: 'verify' | 'immutable' | 'append' = 'verify';
  let changed: string | null = null;
  for (const now of after) {
    if (now.kind !== 'file') continue;
    const old = left.get(now.path);
    left.delete(now.path);
    if (old === undefined) {
      if (policy === 'verify') policy = 'immutable';
      changed ??= now.path;
    } else if (old.inode !== now.inode || now.sizeBytes < old.sizeBytes) return { policy: null, changed: now.path };
    else if (now.sizeBytes > old.sizeBytes) {
      policy = 'append';
      changed = now.path;
    } else if (old.mtimeNanos !== now.mtimeNanos) return { policy: null, changed: now.path };
  }
  const [gone] = left.keys();
  return gone === undefined ? { policy, changed } : { policy: null, changed: gone };
}
