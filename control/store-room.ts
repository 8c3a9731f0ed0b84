// What a host knows of one store before it does anything: the definition, how each root can be exchanged, and where
// the control directories are. The control directory of the first root is the store's: lock, journal, fence, epoch.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RootDefinition, StoreDefinition } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import { exchangeMode } from '../files/exchange.js';
import type { ExchangeMode } from '../files/exchange.js';
import { assertSupportedFilesystem } from '../files/mounts.js';
import { loadDefinition } from './definitions.js';

export interface RoomRoot {
  readonly definition: RootDefinition;
  readonly mode: 'root' | 'entries';
  readonly why: string;
  /** On the filesystem of the root: its staging and rollback points live here. */
  readonly controlDirectory: string;
}

export interface StoreRoom {
  readonly definition: StoreDefinition;
  readonly controlDirectory: string;
  readonly roots: readonly RoomRoot[];
}

/**
 * Opens a store for work.
 * @throws Stop of loadDefinition, not_exchangeable
 */
export async function openStoreRoom(definitionsDirectory: string, store: string): Promise<StoreRoom> {
  return roomOf(await loadDefinition(definitionsDirectory, store));
}

export async function roomOf(definition: StoreDefinition): Promise<StoreRoom> {
  const roots: RoomRoot[] = [];
  for (const root of definition.roots) roots.push({ definition: root, ...(await placeOf(root.path)) });
  const first = roots[0];
  if (first === undefined) throw new Error('defect: a store without roots passed the schema');
  return { definition, controlDirectory: first.controlDirectory, roots };
}

/**
 * A store that was worked on inside its root stays so. The user of the worker may not write the parent where root may:
 * `holdfast recover` and the start-up gate, run as root, would look for lock and fence in another place and find none.
 */
async function placeOf(path: string): Promise<ExchangeMode> {
  const place = await exchangeMode(path);
  const inside = join(path, '.holdfast');
  if (place.mode === 'entries' || !existsSync(join(inside, 'lock.db'))) return place;
  return { mode: 'entries', why: 'the control directory is in the root', controlDirectory: inside };
}

/** The tree that is staged, and later kept as the rollback point, for one root of one operation. */
export function treeOf(root: RoomRoot, operation: string): string {
  return join(treesOf(root, operation), root.definition.name);
}

export function treesOf(root: RoomRoot, operation: string): string {
  return join(root.controlDirectory, 'trees', operation);
}

/**
 * Locks, renames and fsyncs of a store mean what they say only on a local filesystem that keeps its data.
 * @throws Stop unsupported_filesystem
 */
export async function assertFilesystems(room: StoreRoom): Promise<void> {
  for (const root of room.roots) await assertSupportedFilesystem(existsSync(root.definition.path) ? root.definition.path : dirname(root.definition.path));
}

/** @throws Stop member_missing when a root does not exist */
export function assertRootsExist(room: StoreRoom): void {
  for (const root of room.roots) {
    if (!existsSync(root.definition.path)) {
      throw new Stop('member_missing', `root ${root.definition.name} does not exist at ${root.definition.path}`, { root: root.definition.name, path: root.definition.path });
    }
  }
}
