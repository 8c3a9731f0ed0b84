// Recovery: who may settle what, and when. A run settles its own operation; `holdfast recover` settles what a dead
// process left, with no engine at all; `holdfast lock break` is a person's decision about an owner nobody can judge.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LockGrant } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { appendAudit } from './audit.js';
import { dropBallast } from './ballast.js';
import { livenessOf, now, thisProcess } from './clock.js';
import type { ControlDatabase, LockOwner } from './control-database.js';
import { withControlDatabase, withPresentControlDatabase } from './control-database.js';
import { assertNotFenced, releaseLock } from './lock.js';
import { removeUnnamedTrees } from './rollback-points.js';
import { settleDebts } from './settle.js';
import type { Settled } from './settle.js';
import type { StoreRoom } from './store-room.js';

/**
 * Compensation of a run: raises the token, so that a step that still runs can make no effect any more, then settles and
 * releases. Nothing is done when the lock is not this operation's (never taken, released, or taken over and settled there).
 * @throws Stop undo_failed, hook_failed: to be tried again, with the lock kept
 */
export async function settleOperation(
  room: StoreRoom,
  operation: string,
  runId: string,
  outcome: string,
): Promise<Settled | null> {
  const raise = async (database: ControlDatabase): Promise<LockGrant | null> => {
    const ownerIfOurs = (): LockOwner | null => {
      const { owner } = database.lock();
      return owner !== null && owner.operation === operation && owner.runId === runId ? owner : null;
    };
    if (ownerIfOurs() === null) return null;
    await dropBallast(room.controlDirectory);
    return database.section((): LockGrant | null => {
      const owner = ownerIfOurs();
      return owner === null ? null : database.grant({ ...owner, ...thisProcess() });
    });
  };
  // Where the volume of the store is not mounted the lock was refused, and none is to be made
  const grant = await withPresentControlDatabase(room.controlDirectory, raise, () => null);
  if (grant === null) return null;
  const settled = await settleDebts(room, grant, operation, outcome);
  await removeUnnamedTrees(room, grant);
  await releaseLock(room, grant, outcome);
  return settled;
}

export interface Recovered {
  readonly store: string;
  /** Empty: there was nothing to recover. */
  readonly settled: readonly Settled[];
}

/**
 * Finishes or undoes what a crash left behind. Needs no engine, and asks none whether the run of a living owner is closed:
 * the next protocol does, alone under the id of the execution, and one of its steps may still be at work.
 * @throws Stop store_locked while the owner lives, or can't be judged from here; undo_failed; hook_failed; fenced when
 * a fence stands that no operation owes
 */
export async function recoverStore(room: StoreRoom, by: string): Promise<Recovered> {
  return takeAndSettle(room, by, 'recover', (owner) => {
    if (owner === null) return;
    const liveness = livenessOf(owner);
    if (liveness === 'dead') return;
    throw new Stop(
      'store_locked',
      `operation ${owner.operation} (${owner.protocol}) holds the lock, and its process ${liveness === 'alive' ? 'lives' : "can't be judged from here"}; if its run was terminated, the next backup or restore settles it, or recovery once that process has ended`,
      {
        operation: owner.operation,
        protocol: owner.protocol,
        pid: owner.pid,
        host: owner.host,
        since: owner.acquiredAt,
        liveness,
      },
    );
  });
}

/**
 * Takes the lock from whoever has it, because a person has made sure that the owner is gone.
 * @param confirm the operation of the owner, as `holdfast lock show` tells it
 * @throws Stop approval_mismatch when the lock is another operation's by now, or nobody's
 */
export async function breakLock(room: StoreRoom, by: string, confirm: string): Promise<Recovered> {
  return takeAndSettle(room, by, 'lock break', (owner) => {
    if (owner?.operation === confirm) return;
    const fact =
      owner === null
        ? `the store is not locked, so operation ${confirm} does not hold its lock`
        : `the lock is held by operation ${owner.operation}, not by ${confirm}`;
    throw new Stop('approval_mismatch', fact, { operation: owner?.operation ?? null, confirm });
  });
}

/** A fence that no journal owes is not lifted here: nobody has validated what lies under it. */
async function takeAndSettle(
  room: StoreRoom,
  by: string,
  protocol: string,
  judge: (owner: LockOwner | null) => void,
): Promise<Recovered> {
  const nothing: Recovered = { store: room.definition.store, settled: [] };
  if (!existsSync(join(room.controlDirectory, 'lock.db'))) {
    judge(null);
    await assertNotFenced(room);
    return nothing;
  }
  return withControlDatabase(room.controlDirectory, async (database) => {
    const present = database.lock().owner;
    judge(present);
    if (present === null && database.openOperations().length === 0) {
      await assertNotFenced(room);
      return nothing;
    }
    const operation = randomUUID();
    await dropBallast(room.controlDirectory);
    const grant = await database.section(async () => {
      const { owner } = database.lock();
      judge(owner);
      const self = thisProcess();
      const given = database.grant({
        ...self,
        operation,
        protocol,
        workflowId: `none/${operation}`,
        runId: `none/${operation}`,
        namespaceId: 'none',
        host: owner?.host ?? 'local',
        acquiredAt: now(),
      });
      await appendAudit(database, 'lock taken over', operation, {
        protocol,
        by,
        from: owner?.operation ?? null,
        token: given.token,
      });
      return given;
    });
    const settled: Settled[] = [];
    for (const open of database.openOperations())
      settled.push(await settleDebts(room, grant, open.operation, 'recovered'));
    await removeUnnamedTrees(room, grant);
    await releaseLock(room, grant, 'recovered');
    await assertNotFenced(room);
    return { store: room.definition.store, settled };
  });
}
