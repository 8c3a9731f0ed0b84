// What the live store would lose: counted against the source of a restore, for the bounds of its plan. Live databases
// are read in a process of their own, which changes nothing.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RollbackPoint } from '../control/control-database.js';
import { replacedMembers } from '../control/former.js';
import type { StoreRoom } from '../control/store-room.js';
import type { DatabaseFacts, Manifest } from '../domain/manifest.js';
import { LIMITS } from '../domain/limits.js';
import type { NamedDatabases, PlanFacts } from '../domain/plan.js';
import { mainOfSidecar } from '../domain/exchange.js';
import { matcherOf } from '../files/members.js';
import type { WalkedEntry } from '../files/walk.js';
import type { LiveFacts, LiveLimits } from '../sqlite/live.js';
import { readLiveFacts } from '../sqlite/live.js';
import { mayBeWrittenSince } from './live-stamp.js';
import { UNLISTED, factsRequest, listedDefinition } from './members.js';
import type { StepContext } from './step.js';

type Tables = DatabaseFacts['tables'];

/** The files of a root by path: names of their own with the root in them would be as many strings again. */
type FilesOfRoot = Map<string, { readonly sizeBytes: number; readonly mtimeNanos: string }>;

/** A source by `<root>/<path>`. */
export interface Source {
  /** By root, then by path. */
  readonly files: ReadonlyMap<string, FilesOfRoot>;
  readonly tables: ReadonlyMap<string, Tables>;
  /** What the live databases were when it was taken, by `<root>/<path>`; of one without a stamp nothing is known. */
  readonly stamps: ReadonlyMap<string, string | null>;
}

interface Measured extends PlanFacts {
  /** Every live database that can't be read, `<root>/<path>`. */
  readonly unreadable: readonly string[];
}

/** What a plan says of databases, however many there are. */
export function nameDatabases(databases: readonly string[]): NamedDatabases {
  const sorted = [...databases].sort();
  const first: string[] = [];
  let characters = 0;
  for (const name of sorted.slice(0, LIMITS.databasesNamedMax)) {
    characters += name.length;
    if (characters > LIMITS.databaseNamesCharactersMax) break;
    first.push(name);
  }
  const sha256 = createHash('sha256')
    .update(sorted.map((name) => `${name}\0`).join(''))
    .digest('hex');
  return { count: sorted.length, first, sha256 };
}

/** Of reading live databases while the application is at work. */
export const atWork = ({ definition }: StoreRoom): LiveLimits => ({
  ...definition.backup,
  writersWaitMillisMax: LIMITS.writersWaitMillisMax,
});

/**
 * Measures what lies in the live roots against what would come in. Of a live database that the source does not have,
 * every row counts as lost.
 */
export async function measureAgainst(
  room: StoreRoom,
  context: StepContext,
  source: Source,
  limits: LiveLimits | null,
): Promise<Measured> {
  let filesNewer = 0;
  let filesCarriedOver = 0;
  const vanishing: string[] = [];
  for (const { definition } of room.roots) {
    const incoming: FilesOfRoot = source.files.get(definition.name) ?? new Map();
    const { members, outside } = await replacedMembers(definition, incoming, true);
    filesCarriedOver += outside.filter((entry) => entry.kind !== 'directory').length;
    const databases = new Set(members.filter((entry) => entry.isDatabase === true).map((entry) => entry.path));
    const isDatabase = (path: string): boolean =>
      databases.has(path) || source.tables.has(`${definition.name}/${path}`);
    for (const entry of members) {
      const key = `${definition.name}/${entry.path}`;
      if (entry.kind === 'directory' || source.tables.has(key) || isDatabase(mainOfSidecar(entry.path) ?? '')) continue;
      if (entry.isDatabase === true) vanishing.push(key);
      const known = incoming.get(entry.path);
      if (known === undefined || known.sizeBytes !== entry.sizeBytes || known.mtimeNanos !== entry.mtimeNanos)
        filesNewer += 1;
    }
  }
  const keys = [...[...source.tables.keys()].filter((key) => existsSync(pathOf(room, key))), ...vanishing];
  const live = await readTables(
    room,
    keys.map((key) => ({ key, path: pathOf(room, key) })),
    limits,
    context.signal,
  );
  let rowsFewer = 0;
  const unreadable: string[] = [];
  const byDatabase = new Map<string, { readonly rowsFewer: number; readonly isChanged: boolean }>();
  for (const [index, key] of keys.entries()) {
    const found = live[index];
    if (found === undefined || 'unreadable' in found) unreadable.push(key);
    else {
      const loss = {
        rowsFewer: countFewer(found.facts.tables, source.tables.get(key) ?? []),
        isChanged: mayBeWrittenSince(pathOf(room, key), source.stamps.get(key)),
      };
      rowsFewer += loss.rowsFewer;
      byDatabase.set(key, loss);
    }
  }
  return {
    rowsFewer,
    databasesChanged: nameDatabases([...byDatabase].flatMap(([key, { isChanged }]) => (isChanged ? [key] : []))),
    filesNewer,
    filesCarriedOver,
    databasesUnreadable: nameDatabases(unreadable),
    byDatabase,
    unreadable,
  };
}

/** What a backup holds, as a source. */
export function factsOfBackup({ entries, databases, host }: Manifest, thisHost: string): Source {
  const files = new Map<string, FilesOfRoot>();
  for (const entry of entries) if (entry.type !== 'directory') filesOf(files, entry.root).set(entry.path, entry);
  return {
    files,
    tables: new Map(databases.map((database) => [`${database.root}/${database.path}`, database.tables])),
    stamps: new Map(
      host === thisHost ? databases.map(({ root, path, liveStamp }) => [`${root}/${path}`, liveStamp]) : [],
    ),
  };
}

function filesOf(files: Map<string, FilesOfRoot>, root: string): FilesOfRoot {
  const known: FilesOfRoot = files.get(root) ?? new Map();
  files.set(root, known);
  return known;
}

function countFewer(live: Tables, incoming: Tables): number {
  const rows = new Map(incoming.map((table) => [table.name, table.rows]));
  return live.reduce((sum, table) => sum + Math.max(0, table.rows - (rows.get(table.name) ?? 0)), 0);
}

function placeOf(
  room: StoreRoom,
  key: string,
): { readonly root: string; readonly relative: string; readonly path: string } {
  const definition = room.roots.find((root) => key.startsWith(`${root.definition.name}/`))?.definition;
  if (definition === undefined) throw new Error('defect: a source with a root that the store does not have');
  const relative = key.slice(definition.name.length + 1);
  return { root: definition.name, relative, path: join(definition.path, relative) };
}

function pathOf(room: StoreRoom, key: string): string {
  return placeOf(room, key).path;
}

/**
 * A database without a table that its definition speaks of can't be compared by it, so it counts as unreadable: what it
 * holds is then replaced unseen, and the plan says that.
 */
function readTables(
  room: StoreRoom,
  databases: readonly { readonly key: string; readonly path: string }[],
  limits: LiveLimits | null,
  signal: AbortSignal,
): Promise<readonly LiveFacts[]> {
  return readLiveFacts(
    databases.map(({ key, path }) => {
      const { root, relative } = placeOf(room, key);
      const { sequences, appendOnly, migrations } = listedDefinition(room, root, relative) ?? UNLISTED;
      const requiredTables = [...sequences, ...appendOnly, ...(migrations === null ? [] : [migrations])].map(
        ({ table }) => table,
      );
      return factsRequest(path, { ...UNLISTED, requiredTables }, false);
    }),
    limits,
    signal,
  );
}

/** What a rollback point holds, looked at as a source. Its databases may be damaged: that may be why it was replaced. */
export async function factsOfTrees(
  room: StoreRoom,
  context: StepContext,
  point: RollbackPoint,
): Promise<Source & { readonly unreadable: readonly string[] }> {
  const files = new Map<string, FilesOfRoot>();
  const tables = new Map<string, Tables>();
  const unreadable: string[] = [];
  for (const { root, tree, definition } of point.roots) {
    // Members only: what was carried over has one inode with the live files, which may be written to all the time
    const { members } = await replacedMembers({ ...definition, path: tree }, new Set(), true);
    const databases = members.filter((entry) => entry.isDatabase === true).map((entry) => entry.path);
    const isSidecar = (path: string): boolean => databases.includes(mainOfSidecar(path) ?? '');
    for (const entry of members)
      if (entry.kind !== 'directory' && !isSidecar(entry.path)) filesOf(files, root).set(entry.path, entry);
    const facts = await readTables(
      room,
      databases.map((path) => ({ key: `${root}/${path}`, path: join(tree, path) })),
      null,
      context.signal,
    );
    for (const [index, path] of databases.entries()) {
      const found = facts[index];
      if (found !== undefined && 'facts' in found) tables.set(`${root}/${path}`, found.facts.tables);
      else unreadable.push(`${root}/${path}`);
    }
    for (const path of listedAt(room, root, tree, members))
      if (!databases.includes(path)) unreadable.push(`${root}/${path}`);
  }
  // What replaced it was made from something else, whenever it was written
  return { files, tables, stamps: new Map(), unreadable: unreadable.sort() };
}

/** What the definition lists as databases and lies in a tree, whatever it has become: a glob names as a path does. */
function listedAt(room: StoreRoom, root: string, tree: string, members: readonly WalkedEntry[]): ReadonlySet<string> {
  const databases = room.roots.find((candidate) => candidate.definition.name === root)?.definition.databases ?? [];
  const patterns = databases.map(({ path }) => path);
  const matchers = patterns.map(matcherOf);
  const matched = new Set(
    members
      .filter(({ kind, path }) => kind !== 'directory' && matchers.some((matches) => matches(path)))
      .map(({ path }) => path),
  );
  // `*` matches the sidecars of the databases that it matches
  const mains = [...matched].filter((path) => !matched.has(mainOfSidecar(path) ?? ''));
  return new Set([...patterns.filter((path) => existsSync(join(tree, path))), ...mains]);
}
