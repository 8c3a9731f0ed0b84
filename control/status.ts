// The state of a store as its control directory tells it: for `holdfast status`, the start-up gate, and doctor.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debtsOf } from '../domain/journal.js';
import type { Debts } from '../domain/journal.js';
import type { Epoch } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { livenessOf } from './clock.js';
import { withControlDatabase } from './control-database.js';
import type { LockOwner, RollbackPoint } from './control-database.js';
import { readEpoch } from './epoch.js';
import { isThere } from './rollback-points.js';
import { readFence } from './fence.js';
import type { Fence } from './fence.js';
import { assertAsNoted } from './noted-stores.js';
import type { StoreRoom } from './store-room.js';

export interface StoreStatus {
  readonly store: string;
  readonly roots: readonly {
    readonly name: string;
    readonly path: string;
    readonly mode: string;
    readonly why: string;
    readonly controlDirectory: string;
  }[];
  readonly lock: {
    readonly token: number;
    readonly owner: LockOwner | null;
    readonly liveness: 'alive' | 'dead' | 'unknown' | null;
  };
  readonly fence: Fence | null;
  readonly epoch: Epoch | null;
  readonly rollbackPoints: readonly (Omit<RollbackPoint, 'roots'> & {
    /** False: its tree is gone, and it can't be gone back to. */
    readonly isThere: boolean;
  })[];
  readonly debts: readonly { readonly operation: string; readonly debts: Debts }[];
}

interface Kept {
  readonly lock: { readonly token: number; readonly owner: LockOwner | null };
  readonly points: readonly RollbackPoint[];
  readonly debts: StoreStatus['debts'];
}

/** Reads only: a store that was never worked on gets no control directory by being looked at. */
export async function readStatus(room: StoreRoom): Promise<StoreStatus> {
  const { lock, points, debts } = await readKept(room);
  return {
    store: room.definition.store,
    roots: room.roots.map((root) => ({
      name: root.definition.name,
      path: root.definition.path,
      mode: root.mode,
      why: root.why,
      controlDirectory: root.controlDirectory,
    })),
    lock: { ...lock, liveness: lock.owner === null ? null : livenessOf(lock.owner) },
    fence: (await readFence(room.controlDirectory)) ?? null,
    epoch: await readEpoch(room.controlDirectory),
    rollbackPoints: points.map((point) => {
      const { id, number, createdAt, protocol } = point;
      return { id, number, createdAt, protocol, isThere: isThere(point) };
    }),
    debts,
  };
}

async function readKept(room: StoreRoom): Promise<Kept> {
  if (!existsSync(join(room.controlDirectory, 'lock.db')))
    return { lock: { token: 0, owner: null }, points: [], debts: [] };
  return withControlDatabase(room.controlDirectory, (database) => ({
    lock: database.lock(),
    points: database.rollbackPoints(),
    debts: database
      .openOperations()
      .map(({ operation }) => ({ operation, debts: debtsOf(database.events(operation)) })),
  }));
}

/**
 * The start-up gate of an application (SM-8).
 * @throws Stop root_missing where a root of a store that was worked on is gone, or its volume is not mounted, for an
 * application that starts then makes an empty store in its place; fenced while a restore has not been validated, or an
 * exchange is still owed its undo; permission_denied, io_error where that can't be told
 */
export async function assertGate(room: StoreRoom, stateDirectory: string): Promise<void> {
  const fence = await readFence(room.controlDirectory);
  const { debts } = await readKept(room);
  const owed = debts.find((entry) => entry.debts.undoExchange);
  if (fence === undefined && owed === undefined) {
    await assertAsNoted(stateDirectory, room);
    assertRootsAreThere(room);
    return;
  }
  throw new Stop('fenced', `the store is fenced by operation ${fence?.operation ?? owed?.operation ?? 'unknown'}`, {
    ...fence,
  });
}

function assertRootsAreThere(room: StoreRoom): void {
  if (!existsSync(join(room.controlDirectory, 'lock.db'))) return;
  const gone = room.roots.find(({ definition }) => !existsSync(definition.path));
  if (gone !== undefined)
    throw new Stop('root_missing', `root ${gone.definition.path} does not exist`, { root: gone.definition.name });
}
