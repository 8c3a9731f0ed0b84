// Walks a tree and tells everything that is in it, in one order for one state (F-3, P-15). It never follows a link
// and never leaves anything out but the control directory: what is of no interest is for the caller to say.
import { isUtf8 } from 'node:buffer';
import { lstatSync, readdirSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from './errors.js';
import { SQLITE_MAGIC, hasMagic } from './magic.js';
import { compareBytes } from './safe-path.js';
import { EntryMaker } from './walked-entry.js';
import type { WalkedEntry } from './walked-entry.js';

export type { WalkedEntry } from './walked-entry.js';

export interface WalkOptions {
  /** Leaves out an entry, and what is below it. */
  readonly skip?: (relativePath: string, isDirectory: boolean) => boolean;
  /**
   * Given, the first bytes of every file that may be a database are read; of what it names (listed databases,
   * files/members.ts) whatever their length. Never in a process that has a database open: closing any descriptor of a
   * database drops every POSIX lock that the process holds on it.
   */
  readonly detectDatabases: ((path: string) => boolean) | false;
}

/** Never part of a store: lock, journal, staging and rollback points live here when they must be inside the root. */
export const CONTROL_NAME = '.holdfast';

/** A database is a number of whole pages, and this is the smallest page. */
const SMALLEST_PAGE_BYTES = 512n;
/** Entries looked at before the event loop has a turn: about 5 ms of work. */
const ENTRIES_PER_TURN = 1000;

/**
 * Everything in a directory, itself included as `.` and first, the rest in the order of their paths' bytes. What
 * vanishes while it is walked is left out; compareWalks sees that.
 * @throws Stop path_not_utf8, permission_denied, io_error (`directory` itself does not exist, or is none)
 */
export async function walkTree(directory: string, options: WalkOptions): Promise<WalkedEntry[]> {
  const maker = new EntryMaker();
  const top = maker.make('.', lstatOf(directory), null);
  if (top.kind !== 'directory') throw new Stop('io_error', `${directory} is no directory`, { path: directory });
  const entries: WalkedEntry[] = [];
  const pending: string[] = ['.'];
  let turn = 0;
  for (let parent = pending.pop(); parent !== undefined; parent = pending.pop()) {
    const names = namesIn(directory, parent);
    const isThere = isAmong(names);
    for (const name of names) {
      if (parent === '.' && name === CONTROL_NAME) continue;
      const path = parent === '.' ? name : `${parent}/${name}`;
      const entry = lookAt(maker, directory, path, options, (suffix) => isThere(name + suffix));
      if (entry === null) continue;
      entries.push(entry);
      if (entry.kind === 'directory') pending.push(path);
      turn += 1;
      if (turn % ENTRIES_PER_TURN === 0) await nextTurn();
    }
  }
  entries.sort((left, right) => compareBytes(left.path, right.path));
  return [top, ...entries];
}

/** Names are read as bytes: decoding would turn two different names that are not UTF-8 into one. */
function namesIn(directory: string, relative: string): string[] {
  const path = join(directory, relative);
  let names: Buffer[];
  try {
    names = readdirSync(path, { encoding: 'buffer' });
  } catch (error) {
    // Gone, or something else by now: as if it had been walked a moment later.
    if (relative !== '.' && hasErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw translateErrno(error, { path });
  }
  return names.map((name) => {
    if (!isUtf8(name))
      throw new Stop('path_not_utf8', 'a file name is not UTF-8', { directory: path, nameHex: name.toString('hex') });
    return name.toString('utf8');
  });
}

/** Only where databases are looked for are names asked for, so other walks make no sets. */
function isAmong(names: readonly string[]): (name: string) => boolean {
  let set: Set<string> | null = null;
  return (name) => (set ??= new Set(names)).has(name);
}

function lookAt(
  maker: EntryMaker,
  directory: string,
  path: string,
  options: WalkOptions,
  hasBeside: (suffix: string) => boolean,
): WalkedEntry | null {
  const absolute = `${directory}/${path}`;
  let facts: BigIntStats;
  try {
    facts = lstatSync(absolute, { bigint: true });
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw translateErrno(error, { path: absolute });
  }
  if (options.skip?.(path, facts.isDirectory()) === true) return null;
  const { detectDatabases } = options;
  if (detectDatabases === false) return maker.make(path, facts, null);
  const isNamed = (): boolean => detectDatabases(path);
  return maker.make(
    path,
    facts,
    isDatabase(absolute, facts, () => hasBeside('-wal') || hasBeside('-journal') || isNamed()),
  );
}

/**
 * Opening and reading each of thousands of small files takes longer than all else of a walk. Only a length in whole
 * pages is one of a database, but for what a full disk cut short: then there is a log or a journal beside it.
 */
function isDatabase(path: string, facts: BigIntStats, mayBeCutShort: () => boolean): boolean | null {
  if (!facts.isFile() || facts.size < SQLITE_MAGIC.length) return false;
  return facts.size % SMALLEST_PAGE_BYTES === 0n || mayBeCutShort() ? hasMagic(path) : null;
}

function lstatOf(path: string): BigIntStats {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    throw translateErrno(error, { path });
  }
}
