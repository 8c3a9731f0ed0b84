// What the live store would lose: counted against the source of a restore, for the bounds of its plan. Live databases
// are read in a process of their own, which changes nothing.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RollbackPoint } from '../control/control-database.js';
import { replacedMembers } from '../control/former.js';
import type { StoreRoom } from '../control/store-room.js';
import type { DatabaseFacts } from '../domain/manifest.js';
import type { PlanFacts } from '../domain/plan.js';
import { mainOfSidecar } from '../domain/exchange.js';
import { walkTree } from '../files/walk.js';
import type { LiveFacts } from '../sqlite/live.js';
import { readLiveFacts } from '../sqlite/live.js';
import { UNLISTED, factsRequest } from './members.js';
import type { StepContext } from './step.js';

type Tables = DatabaseFacts['tables'];

/** A source by `<root>/<path>`. */
export interface Source {
  readonly files: ReadonlyMap<string, { readonly sizeBytes: number; readonly mtimeNanos: string }>;
  readonly tables: ReadonlyMap<string, Tables>;
}

export async function measureAgainst(room: StoreRoom, context: StepContext, source: Source): Promise<PlanFacts> {
  let filesNewer = 0;
  let filesCarriedOver = 0;
  for (const { definition } of room.roots) {
    const incoming = new Set([...source.files.keys()].filter((key) => key.startsWith(`${definition.name}/`)).map((key) => key.slice(definition.name.length + 1)));
    const { members, outside } = await replacedMembers(definition, incoming);
    filesCarriedOver += outside.filter((entry) => entry.kind !== 'directory').length;
    for (const entry of members) {
      const key = `${definition.name}/${entry.path}`;
      if (entry.kind === 'directory' || source.tables.has(key) || mainOfSidecar(entry.path) !== null) continue;
      const known = source.files.get(key);
      if (known === undefined || known.sizeBytes !== entry.sizeBytes || known.mtimeNanos !== entry.mtimeNanos) filesNewer += 1;
    }
  }
  const keys = [...source.tables.keys()].filter((key) => existsSync(pathOf(room, key)));
  const live = await readTables(keys.map((key) => pathOf(room, key)), context.signal);
  let rowsFewer = 0;
  const databasesUnreadable: string[] = [];
  for (const [index, key] of keys.entries()) {
    const found = live[index];
    if (found === undefined || 'unreadable' in found) databasesUnreadable.push(key);
    else rowsFewer += countFewer(found.facts.tables, source.tables.get(key) ?? []);
  }
  return { rowsFewer, filesNewer, filesCarriedOver, databasesUnreadable };
}

function countFewer(live: Tables, incoming: Tables): number {
  const rows = new Map(incoming.map((table) => [table.name, table.rows]));
  return live.reduce((sum, table) => sum + Math.max(0, table.rows - (rows.get(table.name) ?? 0)), 0);
}

function pathOf(room: StoreRoom, key: string): string {
  const root = room.roots.find(({ definition }) => key.startsWith(`${definition.name}/`));
  if (root === undefined) throw new Error('defect: a source with a root that the store does not have');
  return join(root.definition.path, key.slice(root.definition.name.length + 1));
}

function readTables(paths: readonly string[], signal: AbortSignal): Promise<readonly LiveFacts[]> {
  return readLiveFacts(paths.map((path) => factsRequest(path, UNLISTED, false)), signal);
}

/** What a rollback point holds, looked at as a source. Its databases may be damaged: that may be why it was replaced. */
export async function factsOfTrees(room: StoreRoom, context: StepContext, point: RollbackPoint): Promise<Source & { readonly unreadable: readonly string[] }> {
  const files = new Map<string, { readonly sizeBytes: number; readonly mtimeNanos: string }>();
  const tables = new Map<string, Tables>();
  const unreadable: string[] = [];
  for (const { root, tree } of point.roots) {
    if (!existsSync(tree)) continue;
    const walked = await walkTree(tree, { detectDatabases: true });
    for (const entry of walked) {
      if (entry.kind !== 'directory' && mainOfSidecar(entry.path) === null) files.set(`${root}/${entry.path}`, entry);
    }
    const databases = walked.filter((entry) => entry.isDatabase === true).map((entry) => entry.path);
    const facts = await readTables(databases.map((path) => join(tree, path)), context.signal);
    for (const [index, path] of databases.entries()) {
      const found = facts[index];
      if (found !== undefined && 'facts' in found) tables.set(`${root}/${path}`, found.facts.tables);
      else unreadable.push(`${root}/${path}`);
    }
    for (const { path } of room.roots.find(({ definition }) => definition.name === root)?.definition.databases ?? []) {
      if (existsSync(join(tree, path)) && !databases.includes(path)) unreadable.push(`${root}/${path}`);
    }
  }
  return { files, tables, unreadable: unreadable.sort() };
}
