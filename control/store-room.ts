// What a host knows of one store before it does anything: the definition, how each root can be exchanged, and where
// the control directories are. One root's control directory is the store's: lock, journal, fence, epoch.
import { existsSync, lstatSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { RootDefinition, StoreDefinition } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import { ensureDirectory } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { foreignness } from '../files/exchange-mode.js';
import { exchangeMode } from '../files/exchange.js';
import type { ExchangeMode } from '../files/exchange.js';
import { assertSupportedFilesystem } from '../files/mounts.js';
import { loadDefinition, loadDefinitionAlone } from '../definitions/load.js';

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

/** Opens a store to pay what is owed: loadDefinitionAlone. */
export async function openStoreRoomAlone(definitionsDirectory: string, store: string): Promise<StoreRoom> {
  return roomOf(await loadDefinitionAlone(definitionsDirectory, store));
}

export async function roomOf(definition: StoreDefinition): Promise<StoreRoom> {
  const roots: RoomRoot[] = [];
  for (const root of definition.roots) roots.push({ definition: root, ...(await placeOf(root.path)) });
  return { definition, controlDirectory: controlDirectoryOf(definition, roots), roots };
}

/**
 * The first root's, until there is one: a store whose roots are put into another order, or that is given another first
 * root, keeps its lock, its fence and its rollback points.
 * @throws Stop definition_invalid when two roots have one, which says that they were two stores
 */
function controlDirectoryOf(definition: StoreDefinition, roots: readonly RoomRoot[]): string {
  const [first] = roots;
  if (first === undefined) throw new Error('defect: a store without roots passed the schema');
  const used = roots
    .filter((root) => existsSync(join(root.controlDirectory, 'lock.db')))
    .map((root) => root.controlDirectory);
  if (used.length > 1) {
    throw new Stop('definition_invalid', `${used.length} roots of store ${definition.store} have a lock of their own`, {
      store: definition.store,
      controlDirectories: used,
    });
  }
  return used[0] ?? first.controlDirectory;
}

/**
 * A store stays where it was worked on, whoever looks: root may write the parent of a root where the user of the worker
 * or of the application may not. Looked for in another place, lock and fence would not be found, and a start-up gate
 * would let an application into a store that is neither the old nor the new one. That the place is in the root is not
 * believed of a directory that the user of the application has put there.
 * @throws Stop permission_denied; not_exchangeable where the control directory can't be used, is another user's, or is
 * one of two
 */
async function placeOf(path: string): Promise<ExchangeMode> {
  const place = await exchangeMode(path);
  const inside = join(path, '.holdfast');
  const isInside = wasWorkedIn(inside);
  if (isInside) assertOurs(path, inside);
  if (isInside || place.mode === 'entries')
    assertNoneBeside(path, isInside ? `there is one in it, too: ${inside}` : place.why);
  return isInside && place.mode === 'root'
    ? { mode: 'entries', why: 'the control directory is in the root', controlDirectory: inside }
    : place;
}

/** @throws Stop permission_denied where that can't be told */
function wasWorkedIn(controlDirectory: string): boolean {
  return ['lock.db', 'fence.json'].some((name) => isThere(join(controlDirectory, name)));
}

function assertOurs(root: string, inside: string): void {
  const why = foreignness(inside);
  if (why !== null)
    throw new Stop('not_exchangeable', `there is a control directory in the root, but ${why}`, {
      root,
      controlDirectory: inside,
    });
}

function assertNoneBeside(root: string, why: string): void {
  const beside = join(dirname(root), '.holdfast', basename(root));
  if (!isThere(beside)) return;
  throw new Stop('not_exchangeable', `the control directory is beside the root, but ${why}`, {
    root,
    controlDirectory: beside,
  });
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw translateErrno(error, { path });
  }
}

/**
 * Makes a control directory: for its owner alone. The `.holdfast` that stores of one parent share lets others pass, so
 * that they can tell whether a store of theirs is in it.
 */
export async function ensureControlDirectory(controlDirectory: string): Promise<void> {
  const shared = dirname(controlDirectory);
  if (basename(shared) === '.holdfast') await ensureDirectory(shared, 0o711);
  await ensureDirectory(controlDirectory, 0o700);
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
  for (const root of room.roots)
    await assertSupportedFilesystem(
      existsSync(root.definition.path) ? root.definition.path : dirname(root.definition.path),
    );
}

/** @throws Stop member_missing when a root does not exist */
export function assertRootsExist(room: StoreRoom): void {
  for (const root of room.roots) {
    if (!existsSync(root.definition.path)) {
      throw new Stop('member_missing', `root ${root.definition.name} does not exist at ${root.definition.path}`, {
        root: root.definition.name,
        path: root.definition.path,
      });
    }
  }
}
