// Which of the walked entries of a root are members of the store, and which are not (F-3, P-15). Pure: a definition
// and a walk in, a selection out. Everything lands in exactly one class, so that a restore loses nothing unsaid.
import type { DatabaseDefinition, RootDefinition, TreeDefinition, TreePolicy } from '../domain/definition.js';
import { SIDECAR_SUFFIXES } from '../domain/exchange.js';
import { Stop } from '../domain/stop.js';
import { compileGlobs as compile, isGlob } from './globs.js';
import type { Matcher } from './globs.js';
import { compareBytes } from './safe-path.js';
import type { WalkedEntry } from './walk.js';

export interface DatabaseMember {
  readonly entry: WalkedEntry;
  /** False: found by its magic inside a tree. */
  readonly listed: boolean;
  /** What of the definition names it (databaseNaming); null when it is not listed. */
  readonly definition: DatabaseDefinition | null;
}

export interface FileMember {
  readonly entry: WalkedEntry;
  /** The first tree of the definition that captures it. */
  readonly tree: TreeDefinition;
}

export interface DirectoryMember {
  readonly entry: WalkedEntry;
  /** Policy of the tree in which files could appear directly in it; null: its times say nothing about the store. */
  readonly watched: TreePolicy | null;
}

/** Each walked entry is in exactly one of the lists, in the order of the walk. */
export interface Members {
  readonly databases: readonly DatabaseMember[];
  readonly files: readonly FileMember[];
  /** In a tree and not excluded, or above a member; the root itself (`.`) always. */
  readonly directories: readonly DirectoryMember[];
  /** `-wal`, `-shm` and `-journal` of member databases: never captured, never carried over. */
  readonly sidecars: readonly WalkedEntry[];
  /** Everything else: a restore carries it over. Parents come before what is in them. */
  readonly outside: readonly WalkedEntry[];
  /** Files outside the members that `drop` names: a restore leaves them behind. */
  readonly dropped: readonly WalkedEntry[];
}

/** The part of a path below a directory; null when it is not below it. */
function below(path: string, directory: string): string | null {
  if (directory === '.') return path === '.' ? null : path;
  return path.startsWith(`${directory}/`) ? path.slice(directory.length + 1) : null;
}

/**
 * The databases that the definition lists, by path or glob, without looking for others. The cut lists them again
 * under its locks with this.
 * @throws Stop member_missing for a path that is absent; symlink_found, special_file_found, not_a_database
 */
export function listedDatabases(root: RootDefinition, entries: readonly WalkedEntry[]): DatabaseMember[] {
  const naming = databaseNaming(root.databases);
  const never = compile(root.neverCaptured ?? []);
  const found: { entry: WalkedEntry; definition: DatabaseDefinition; byGlob: boolean }[] = [];
  const seen = new Set<DatabaseDefinition>();
  for (const entry of entries) {
    const definition = naming(entry.path);
    if (definition === undefined || never(entry.path)) continue;
    const byGlob = isGlob(definition.path);
    if (entry.kind === 'directory' && byGlob) continue;
    seen.add(definition);
    found.push({ entry, definition, byGlob });
  }
  const missing = root.databases.find(
    (definition) => !isGlob(definition.path) && !definition.optional && !seen.has(definition),
  );
  if (missing !== undefined)
    throw new Stop('member_missing', `database ${missing.path} does not exist`, {
      root: root.name,
      path: missing.path,
    });
  const paths = new Set(found.map(({ entry }) => entry.path));
  // `*` matches the sidecars of the databases that it matches.
  const mains = found.filter(
    ({ entry, byGlob }) =>
      !(
        byGlob &&
        SIDECAR_SUFFIXES.some((suffix) => entry.path.endsWith(suffix) && paths.has(entry.path.slice(0, -suffix.length)))
      ),
  );
  return mains.map(({ entry, definition }) => {
    assertCapturable(root, entry);
    if (entry.kind === 'directory' || entry.isDatabase === false)
      throw new Stop('not_a_database', `${entry.path} has no SQLite header`, { root: root.name, path: entry.path });
    return { entry, listed: true, definition };
  });
}

/**
 * Sorts the entries of a walk. A path that two trees claim belongs to the first of them in the definition; a file
 * with SQLite's magic in a tree is a database, listed or not, where the walk detected databases.
 * @throws Stop member_missing (a listed path, or the directory of a tree), not_a_database, symlink_found and
 * special_file_found for what would be captured
 */
export function selectMembers(root: RootDefinition, entries: readonly WalkedEntry[]): Members {
  const listed = new Map(listedDatabases(root, entries).map((database) => [database.entry.path, database]));
  const trees = root.trees.map((tree) => ({ tree, include: compile(tree.include), exclude: compile(tree.exclude) }));
  assertTreesExist(root, entries);
  const claimOf = (entry: WalkedEntry): TreeDefinition | null => {
    for (const { tree, include, exclude } of trees) {
      const relative = below(entry.path, tree.path);
      if (relative !== null && include(relative) && !exclude(relative)) return tree;
    }
    return null;
  };
  const databases: DatabaseMember[] = [];
  const claimed: FileMember[] = [];
  const rest: WalkedEntry[] = [];
  for (const entry of entries) {
    const database = listed.get(entry.path);
    const tree = database === undefined && entry.kind !== 'directory' ? claimOf(entry) : null;
    if (database !== undefined) databases.push(database);
    else if (tree !== null && entry.isDatabase === true) databases.push({ entry, listed: false, definition: null });
    else if (tree !== null) claimed.push({ entry, tree });
    else rest.push(entry);
  }
  const sidecarPaths = new Set(databases.flatMap(({ entry }) => SIDECAR_SUFFIXES.map((suffix) => entry.path + suffix)));
  const files = claimed.filter(({ entry }) => !sidecarPaths.has(entry.path));
  for (const { entry } of files) assertCapturable(root, entry);
  const sidecars = entries.filter(
    (entry) => entry.kind !== 'directory' && sidecarPaths.has(entry.path) && !listed.has(entry.path),
  );
  const directories = selectDirectories(entries, databases, files, trees);
  const captured = new Set(directories.map(({ entry }) => entry.path));
  const remaining = rest.filter(
    (entry) => !captured.has(entry.path) && !(entry.kind !== 'directory' && sidecarPaths.has(entry.path)),
  );
  return { databases, files, directories, sidecars, ...splitDropped(root, remaining) };
}

interface CompiledTree {
  readonly tree: TreeDefinition;
  readonly include: Matcher;
  readonly exclude: Matcher;
}

function selectDirectories(
  entries: readonly WalkedEntry[],
  databases: readonly DatabaseMember[],
  files: readonly FileMember[],
  trees: readonly CompiledTree[],
): DirectoryMember[] {
  const above = new Set<string>(['.']);
  for (const { entry } of [...databases, ...files]) {
    for (let parent = parentOf(entry.path); !above.has(parent); parent = parentOf(parent)) above.add(parent);
  }
  // A directory of a tree is captured even when it is empty, and its parents with it.
  const excluded = new Set<string>();
  for (const entry of entries) {
    if (entry.kind !== 'directory' || entry.path === '.') continue;
    const inTree = trees.some(({ tree, exclude }) => {
      if (entry.path === tree.path) return true;
      const relative = below(entry.path, tree.path);
      if (relative === null) return false;
      const key = `${tree.path}\0${entry.path}`;
      if (!exclude(relative) && !excluded.has(`${tree.path}\0${parentOf(entry.path)}`)) return true;
      excluded.add(key);
      return false;
    });
    if (!inTree) continue;
    for (let path = entry.path; !above.has(path); path = parentOf(path)) above.add(path);
  }
  const withDatabase = new Set(databases.map(({ entry }) => parentOf(entry.path)));
  const withFile = new Map<string, TreePolicy>();
  for (const { entry, tree } of files)
    if (!withFile.has(parentOf(entry.path))) withFile.set(parentOf(entry.path), tree.policy);
  return entries
    .filter((entry) => entry.kind === 'directory' && above.has(entry.path))
    .map((entry) => ({
      entry,
      watched: withDatabase.has(entry.path) ? null : (withFile.get(entry.path) ?? policyFor(entry.path, trees)),
    }));
}

/** Policy of the first tree that would capture a file of any name in the directory; null when none would. */
function policyFor(directory: string, trees: readonly CompiledTree[]): TreePolicy | null {
  for (const { tree, include, exclude } of trees) {
    const probe = below(directory === '.' ? 'any-name' : `${directory}/any-name`, tree.path);
    if (probe !== null && include(probe) && !exclude(probe)) return tree.policy;
  }
  return null;
}

/** A dropped directory is left behind with all that is outside the members in it. */
function splitDropped(
  root: RootDefinition,
  entries: readonly WalkedEntry[],
): { outside: WalkedEntry[]; dropped: WalkedEntry[] } {
  const matches = compile(root.drop);
  const gone = new Set<string>();
  const outside: WalkedEntry[] = [];
  const dropped: WalkedEntry[] = [];
  for (const entry of entries) {
    const isDropped = gone.has(parentOf(entry.path)) || matches(entry.path);
    if (isDropped && entry.kind === 'directory') gone.add(entry.path);
    (isDropped ? dropped : outside).push(entry);
  }
  return { outside, dropped };
}

function assertTreesExist(root: RootDefinition, entries: readonly WalkedEntry[]): void {
  const named = new Set(root.trees.map(({ path }) => path));
  const found = new Map(entries.filter(({ path }) => named.has(path)).map((entry) => [entry.path, entry]));
  for (const { path } of root.trees) {
    const entry = found.get(path);
    if (entry === undefined) throw new Stop('member_missing', `tree ${path} does not exist`, { root: root.name, path });
    if (entry.kind === 'symlink')
      throw new Stop('symlink_found', `tree ${path} is a symbolic link`, { root: root.name, path });
    if (entry.kind !== 'directory')
      throw new Stop('member_missing', `tree ${path} is no directory`, { root: root.name, path });
  }
}

function assertCapturable(root: RootDefinition, entry: WalkedEntry): void {
  const place = { root: root.name, path: entry.path };
  if (entry.kind === 'symlink') throw new Stop('symlink_found', `${entry.path} is a symbolic link`, place);
  if (entry.kind === 'special')
    throw new Stop('special_file_found', `${entry.path} is a socket, FIFO or device`, place);
}

/** The directory of a relative path; that of a name at the top is `.`. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '.' : path.slice(0, slash);
}

/**
 * What is outside the members although nothing in the definition says so, and is in no backup: databases by their
 * magic, where the walk detected databases, and links. An `exclude` or a `drop` has said so.
 */
export function unmentioned(root: RootDefinition, { outside }: Members): readonly WalkedEntry[] {
  const trees = root.trees.map(({ path, exclude }) => ({ path, exclude: compile(exclude) }));
  return outside.filter(({ path, kind, isDatabase }) => {
    if (kind !== 'symlink' && isDatabase !== true) return false;
    return !trees.some((tree) => {
      const relative = below(path, tree.path);
      return relative !== null && tree.exclude(relative);
    });
  });
}

export interface WalkChange {
  readonly path: string;
  readonly change: 'changed' | 'appeared' | 'vanished';
}

/**
 * What makes the capture of `before` no state of one instant, seen from a later walk; empty when it is one. By policy:
 * `verify` and `quiesced` allow nothing; `immutable` allows new files; `append` allows new files and growth.
 * A directory that was written to counts where files that would be captured could appear in it, unless it also holds
 * a database, whose sidecars come and go. Databases count by their set alone: the cut pins what is in them.
 */
export function compareWalks(before: Members, after: Members): WalkChange[] {
  const changes = [
    ...compareEach(
      before.databases,
      after.databases,
      () => false,
      () => true,
    ),
    ...compareEach(before.files, after.files, fileChanged, ({ tree }) => allowsNothing(tree.policy)),
    ...compareEach(
      before.directories,
      after.directories,
      directoryChanged,
      ({ watched }) => watched !== null && allowsNothing(watched),
    ),
  ];
  return changes.sort((left, right) => compareBytes(left.path, right.path));
}

function compareEach<M extends { readonly entry: WalkedEntry }>(
  before: readonly M[],
  after: readonly M[],
  isChanged: (old: M, now: M) => boolean,
  mayNotAppear: (now: M) => boolean,
): WalkChange[] {
  const left = new Map(after.map((member) => [member.entry.path, member]));
  const changes: WalkChange[] = [];
  for (const old of before) {
    const now = left.get(old.entry.path);
    left.delete(old.entry.path);
    if (now === undefined) changes.push({ path: old.entry.path, change: 'vanished' });
    else if (isChanged(old, now)) changes.push({ path: old.entry.path, change: 'changed' });
  }
  for (const now of left.values()) if (mayNotAppear(now)) changes.push({ path: now.entry.path, change: 'appeared' });
  return changes;
}

function fileChanged({ entry: old, tree }: FileMember, { entry: now }: FileMember): boolean {
  if (old.inode !== now.inode || old.device !== now.device) return true;
  if (tree.policy === 'append') return now.sizeBytes < old.sizeBytes;
  return old.sizeBytes !== now.sizeBytes || old.mtimeNanos !== now.mtimeNanos || old.ctimeNanos !== now.ctimeNanos;
}

function directoryChanged({ entry: old, watched }: DirectoryMember, { entry: now }: DirectoryMember): boolean {
  if (old.inode !== now.inode || old.device !== now.device) return true;
  if (old.mode !== now.mode || old.uid !== now.uid || old.gid !== now.gid) return true;
  return (
    watched !== null &&
    allowsNothing(watched) &&
    (old.mtimeNanos !== now.mtimeNanos || old.ctimeNanos !== now.ctimeNanos)
  );
}

function allowsNothing(policy: TreePolicy): boolean {
  return policy === 'verify' || policy === 'quiesced';
}

/**
 * A pattern that matches nothing is an unmounted volume or a moved directory as likely as a store without databases:
 * only the definition can say which. Asked of a store that is to be backed up, not of one that is to be replaced.
 * @throws Stop member_missing
 */
export function assertPatternsMatch(root: RootDefinition, { databases }: Members): void {
  const empty = root.databases.find(({ path, optional }) => {
    const matches = matcherOf(path);
    return !optional && !databases.some(({ entry }) => matches(entry.path));
  });
  if (empty !== undefined)
    throw new Stop('member_missing', `no database matches ${empty.path}`, { root: root.name, path: empty.path });
}

/**
 * Tells which entry of a definition names a database, of many: the one with its very path, else the first glob that
 * matches. So what is said of one database holds beside a glob that also matches it, wherever it stands.
 */
export function databaseNaming(
  databases: readonly DatabaseDefinition[],
): (path: string) => DatabaseDefinition | undefined {
  const exact = new Map(databases.toReversed().map((definition) => [definition.path, definition]));
  const globs = databases.flatMap((definition) =>
    isGlob(definition.path) ? [{ definition, matches: compile([definition.path]) }] : [],
  );
  return (path) => exact.get(path) ?? globs.find(({ matches }) => matches(path))?.definition;
}

/** Which paths of a root its definition lists as databases. */
export function listedBy(root: RootDefinition): (path: string) => boolean {
  const matchers = root.databases.map(({ path }) => matcherOf(path));
  return (path) => matchers.some((matches) => matches(path));
}

/**
 * Tells what a definition's path names, of many paths. A glob also names the file that is called like that, letter by
 * letter: `orders[1].db`.
 */
export function matcherOf(pattern: string): Matcher {
  const glob = isGlob(pattern) ? compile([pattern]) : () => false;
  return (path) => path === pattern || glob(path);
}
