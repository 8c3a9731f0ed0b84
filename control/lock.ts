// The host's lock: one operation at a time on one store, decided by who the owner is and never by a timer. Taking over
// a stale lock raises the token, settles what the former owner owes, and leaves an audit entry.
import { isDeepStrictEqual } from 'node:util';
import { debtsOf, isAtRest } from '../domain/journal.js';
import type { JournalEvent } from '../domain/journal.js';
import type { LockGrant } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { appendAudit } from './audit.js';
import { ensureBallast } from './ballast.js';
import { livenessOf, now, thisProcess } from './clock.js';
import type { ControlDatabase, LockOwner } from './control-database.js';
import { givenElsewhere, withControlDatabase, withPresentControlDatabase } from './control-database.js';
import { readFence } from './fence.js';
import { settleDebts } from './settle.js';
import type { StoreRoom } from './store-room.js';

/** What an engine says of a run: `unknown` when it has never heard of it, or is another engine. */
export type RunState = 'open' | 'closed' | 'unknown';
export type DescribeRun = (owner: LockOwner) => Promise<RunState>;

export interface Claimant {
  readonly operation: string;
  readonly protocol: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly namespaceId: string;
  readonly host: string;
}

/**
 * Takes the lock for an operation, once: a second run of the same operation is refused.
 * @throws Stop store_locked, operation_repeated, fenced, and those of settling a stale owner
 */
export async function acquireLock(room: StoreRoom, claimant: Claimant, describeRun: DescribeRun): Promise<LockGrant> {
  return withControlDatabase(room.controlDirectory, async (database) => {
    const owner: LockOwner = { ...thisProcess(), ...claimant, acquiredAt: now() };
    assertFirstRun(database, claimant);
    await ensureBallast(room.controlDirectory);
    const before = database.lock();
    const stale = before.owner === null ? null : await whyStale(database, before.owner, describeRun);
    if (before.owner !== null && stale === null) throw lockedBy(before.owner);
    const grant = await database.section(async () => {
      assertFirstRun(database, claimant);
      const present = database.lock();
      // Somebody else was quicker: the decision above was about an owner who is not the present one
      if (present.token !== before.token || !isDeepStrictEqual(present.owner, before.owner))
        throw lockedBy(present.owner ?? before.owner);
      const given = database.grant(owner);
      database.beginOperation(owner);
      if (before.owner !== null) {
        await appendAudit(database, 'lock taken over', claimant.operation, {
          from: before.owner.operation,
          because: stale,
          token: given.token,
        });
      }
      await appendAudit(database, 'lock acquired', claimant.operation, {
        protocol: claimant.protocol,
        runId: claimant.runId,
        token: given.token,
      });
      return given;
    });
    try {
      for (const operation of database.openOperations()) {
        if (operation.operation !== claimant.operation)
          await settleDebts(room, grant, operation.operation, 'taken over');
      }
      await assertNotFenced(room);
    } catch (error) {
      // Refused: the debts of the former owner stay in its journal, for whoever comes next
      await database.section(async () => {
        database.assertHeld(grant);
        await appendAudit(database, 'lock released', claimant.operation, { outcome: 'refused', token: grant.token });
        database.endOperation(claimant.operation, 'refused');
        database.free();
      });
      throw error;
    }
    return grant;
  });
}

/** @throws Stop fenced */
export async function assertNotFenced(room: StoreRoom): Promise<void> {
  const fence = await readFence(room.controlDirectory);
  if (fence !== undefined) {
    throw new Stop('fenced', `the store is fenced since ${fence.since} by operation ${fence.operation}`, { ...fence });
  }
}

function assertFirstRun(database: ControlDatabase, claimant: Claimant): void {
  const known = database.operation(claimant.operation);
  if (known !== undefined) {
    throw new Stop(
      'operation_repeated',
      `operation ${claimant.operation} was carried out before, by run ${known.runId}`,
      {
        operation: claimant.operation,
        runId: known.runId,
        outcome: known.outcome,
        beganAt: known.beganAt,
      },
    );
  }
}

/** null: not provably stale, so it is held. */
async function whyStale(database: ControlDatabase, owner: LockOwner, describeRun: DescribeRun): Promise<string | null> {
  const run = await describeRun(owner);
  if (run === 'closed') return `run ${owner.runId} is closed`;
  if (run === 'open') return null;
  // Also of those that the owner was settling when it died: a recovery has no events of its own
  const operations = new Set([owner.operation, ...database.openOperations().map(({ operation }) => operation)]);
  const atRest = [...operations].every((operation) => isAtRest(debtsOf(database.events(operation))));
  return livenessOf(owner) === 'dead' && atRest ? `process ${owner.pid} is dead and the journal is at rest` : null;
}

function lockedBy(owner: LockOwner | null): Stop {
  return new Stop(
    'store_locked',
    owner === null
      ? 'the lock changed hands'
      : `operation ${owner.operation} (${owner.protocol}) holds the lock since ${owner.acquiredAt}`,
    {
      owner:
        owner === null
          ? null
          : {
              operation: owner.operation,
              protocol: owner.protocol,
              workflowId: owner.workflowId,
              runId: owner.runId,
              host: owner.host,
              pid: owner.pid,
              since: owner.acquiredAt,
              liveness: livenessOf(owner),
            },
    },
  );
}

/**
 * One effect in one critical section: the token is checked, the effect made, the journal written, together.
 * @throws Stop host_ambiguous; lock_lost when another holds the lock by now
 */
export async function critical<T>(
  room: StoreRoom,
  grant: LockGrant,
  effect: (database: ControlDatabase) => T | Promise<T>,
): Promise<T> {
  return withLockOf(room, grant, (database) =>
    database.section(async () => {
      const owner = database.assertHeld(grant);
      const self = thisProcess();
      // A worker that was started again carries the run on: the owner lives where its last effect was made
      if (owner.pid !== self.pid || owner.startTime !== self.startTime) database.moveOwner({ ...owner, ...self });
      return effect(database);
    }),
  );
}

/**
 * What is asked before a machine pays under a grant.
 * @throws Stop host_ambiguous when the lock was taken on another machine
 */
export async function assertGivenHere(room: StoreRoom, grant: LockGrant): Promise<void> {
  await withLockOf(room, grant, (database) => database.assertGivenHere(grant));
}

/** A machine that never had a lock of the store gets none by being asked for one. */
function withLockOf<T>(
  room: StoreRoom,
  grant: LockGrant,
  use: (database: ControlDatabase) => T | Promise<T>,
): Promise<T> {
  return withPresentControlDatabase(room.controlDirectory, use, () => {
    throw givenElsewhere(grant);
  });
}

/** Writes one journal event in a critical section of its own. */
export async function journal(room: StoreRoom, grant: LockGrant, event: JournalEvent): Promise<void> {
  await critical(room, grant, (database) => database.journal(grant.operation, event));
}

/** True once an operation was carried out to its end, by its own run or by recovery: a release that is tried again. */
export async function hasFinished(room: StoreRoom, operation: string): Promise<boolean> {
  const outcome = await withControlDatabase(
    room.controlDirectory,
    (database) => database.operation(operation)?.outcome ?? null,
  );
  return outcome === 'done' || outcome === 'finished';
}

/**
 * Releases the lock of an operation that owes nothing any more. Idempotent.
 * @throws Stop undo_failed when something is still owed: the lock stays
 */
export async function releaseLock(room: StoreRoom, grant: LockGrant, outcome: string): Promise<void> {
  await withControlDatabase(room.controlDirectory, (database) =>
    database.section(async () => {
      const { token, owner } = database.lock();
      if (owner === null || token !== grant.token) return;
      const debts = debtsOf(database.events(grant.operation));
      if (debts.undoExchange || debts.liftFence) {
        throw new Stop('undo_failed', `operation ${grant.operation} is not settled`, { ...debts });
      }
      await appendAudit(database, 'lock released', grant.operation, { outcome, token });
      database.endOperation(grant.operation, outcome);
      database.free();
    }),
  );
}
