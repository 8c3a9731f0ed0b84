// Looks at a directory as a store that nobody has defined yet, for `holdfast init`: which databases it has and what is
// in them, which other files, and what happens to those while one looks. Changes no content; beside a database in WAL
// mode that nobody has open, SQLite leaves an empty log and its index.
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
  readonly shape: ReadShape;
}

/** A link, socket, FIFO or device, which is never captured. */
export interface SurveyedSpecial {
  readonly path: string;
  /** Where a link leads to outside the directory; null: it leads to what is in it, or nowhere, or is no link. */
  readonly outside: string | null;
}

/** What is at the top of the directory and no database: a directory with all that is in it, or a file. */
export interface SurveyedPart {
  readonly name: string;
  readonly isDirectory: boolean;
  readonly files: number;
  readonly special: readonly SurveyedSpecial[];
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
  /** Everything that was there in the end. */
  readonly entries: readonly WalkedEntry[];
}

/** @throws Stop member_missing, path_not_utf8, permission_denied, io_error */
export async function surveyDirectory(path: string, observedSeconds: number): Promise<Survey> {
  const directory = await resolvedDirectory(path);
  const before = await walkTree(directory, { detectDatabases: () => false });
  await sleep(observedSeconds * 1000);
  const entries = await walkTree(directory, { detectDatabases: () => false });
  const found = entries.filter(({ isDatabase }) => isDatabase === true);
  const shapes = await readShapes(found.map((entry) => join(directory, entry.path)));
  const databases = found.map((entry, index): SurveyedDatabase => ({
    path: entry.path,
    shape: shapes[index] ?? { unreadable: 'io_error' },
  }));
  const isOfDatabase = new Set(
    databases.flatMap(({ path: main }) => [main, ...SIDECAR_SUFFIXES.map((suffix) => main + suffix)]),
  );
  const others = (walked: readonly WalkedEntry[]): readonly WalkedEntry[] =>
    walked.filter((entry) => entry.path !== '.' && !isOfDatabase.has(entry.path));
  const parts = await partsOf(directory, others(before), others(entries));
  if (databases.length === 0 && parts.every(({ files }) => files === 0))
    throw new Stop('member_missing', `${directory} holds neither databases nor files`, { path: directory });
  return { directory, observedSeconds, databases, parts, entries };
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

async function partsOf(
  directory: string,
  before: readonly WalkedEntry[],
  after: readonly WalkedEntry[],
): Promise<readonly SurveyedPart[]> {
  const byName = new Map<string, { readonly before: WalkedEntry[]; readonly now: WalkedEntry[] }>();
  for (const [when, walked] of [['before', before] as const, ['now', after] as const]) {
    for (const entry of walked) {
      const name = topOf(entry.path);
      const part = byName.get(name) ?? { before: [], now: [] };
      byName.set(name, part);
      part[when].push(entry);
    }
  }
  const parts: SurveyedPart[] = [];
  for (const [name, part] of [...byName].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const special: SurveyedSpecial[] = [];
    for (const { path, kind } of part.now) {
      if (kind === 'symlink') special.push({ path, outside: await outsideOf(directory, path) });
      else if (kind === 'special') special.push({ path, outside: null });
    }
    parts.push({
      name,
      isDirectory: part.now.some(({ path, kind }) => path === name && kind === 'directory'),
      files: part.now.filter(({ kind }) => kind === 'file').length,
      special,
      ...changeOf(part.before, part.now),
    });
  }
  return parts;
}

async function outsideOf(directory: string, path: string): Promise<string | null> {
  try {
    const target = await realpath(join(directory, path));
    return target === directory || target.startsWith(`${directory}/`) ? null : target;
  } catch (error) {
    // Nothing is there, or nothing that a link can mean
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return null;
    throw translateErrno(error, { path: join(directory, path) });
  }
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
