// Settling: what compensation, takeover and `holdfast recover` all do. The debts of an operation are read from its
// journal and paid one by one; each payment is idempotent and journaled, so settling can be killed and begun again.
// Rule: an exchange that was not committed is undone, one that was is finished (SM-9, T-7).
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { HookName } from '../domain/definition.js';
import { debtsOf } from '../domain/journal.js';
import type { Debts, JournalEvent } from '../domain/journal.js';
import type { LockGrant } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { removeTree } from '../files/durable.js';
import { undoExchange } from '../files/exchange.js';
import { appendAudit } from './audit.js';
import type { ControlDatabase } from './control-database.js';
import { withControlDatabase } from './control-database.js';
import { liftFence } from './fence.js';
import { runHook } from './hooks.js';
import { formerDigest } from './former.js';
import { endLeftHooks } from './left-hooks.js';
import type { StoreRoom } from './store-room.js';

export interface Settled {
  readonly operation: string;
  readonly undone: boolean;
  readonly finished: boolean;
  readonly hooks: readonly HookName[];
  readonly stagingDropped: number;
}

/**
 * Pays every debt of `operation` under the lock that `grant` holds, and ends it.
 * @throws Stop undo_failed with the fence up and both trees kept; hook_failed (to be tried again); lock_lost
 */
export async function settleDebts(
  room: StoreRoom,
  grant: LockGrant,
  operation: string,
  outcome: string,
): Promise<Settled> {
  return withControlDatabase(room.controlDirectory, async (database) => {
    const events = database.events(operation);
    const debts = debtsOf(events);
    const section = <T>(effect: () => T | Promise<T>): Promise<T> =>
      database.section(() => {
        database.assertHeld(grant);
        return effect();
      });
    await endLeftHooks(operation);
    if (debts.undoExchange) await section(() => undo(database, operation, events));
    if (debts.liftFence) {
      await section(async () => {
        await liftFence(room.controlDirectory);
        database.journal(operation, { event: 'unfenced' });
      });
    }
    const hooks = await payHooks(room, section, database, operation, debts);
    const staging = debts.committed ? [] : debts.dropStaging;
    if (staging.length > 0) {
      await section(async () => {
        for (const directory of staging) await removeTree(directory);
        database.journal(operation, { event: 'staging-dropped' });
      });
    }
    await section(async () => {
      await removeUnpublished(room.controlDirectory);
      if (database.operation(operation)?.endedAt !== null) return;
      await appendAudit(database, 'operation settled', operation, {
        outcome,
        undone: debts.undoExchange,
        hooks,
      });
      database.endOperation(operation, debts.committed ? 'finished' : outcome);
    });
    return { operation, undone: debts.undoExchange, finished: debts.committed, hooks, stagingDropped: staging.length };
  });
}

async function payHooks(
  room: StoreRoom,
  section: (effect: () => void) => Promise<void>,
  database: ControlDatabase,
  operation: string,
  debts: Debts,
): Promise<readonly HookName[]> {
  const ran: HookName[] = [];
  const owed: readonly [boolean, HookName, JournalEvent][] = [
    [debts.resume, 'resume', { event: 'resumed', by: 'settle' }],
    [debts.attach, 'attach', { event: 'attached', by: 'settle' }],
  ];
  for (const [isOwed, name, event] of owed) {
    if (!isOwed) continue;
    const hook = room.definition.hooks[name];
    if (hook === undefined) {
      throw new Stop(
        'hook_failed',
        `operation ${operation} owes hook ${name}, which the definition does not have any more`,
        { hook: name, operation },
      );
    }
    await runHook(name, hook, { store: room.definition.store, operation });
    await section(() => database.journal(operation, event));
    ran.push(name);
  }
  return ran;
}

/** What a kill in the middle of a durable write left beside its target (files/durable.ts). */
async function removeUnpublished(controlDirectory: string): Promise<void> {
  for (const name of await readdir(controlDirectory)) {
    if (/^\.(?:fence\.json|epoch\.json|ballast)\.[0-9a-f]{12}\.tmp$/.test(name))
      await unlink(join(controlDirectory, name));
  }
}

/** Puts the former state back and proves that it is the former state. */
async function undo(database: ControlDatabase, operation: string, events: readonly JournalEvent[]): Promise<void> {
  const begun = events.findLast((event) => event.event === 'exchanging');
  if (begun === undefined) throw new Error('defect: an exchange is owed that never began');
  await undoExchange(begun.exchange);
  for (const former of begun.former) {
    const found = await formerDigest(former.definition.path, former.definition);
    if (found !== former.sha256) {
      throw new Stop('undo_failed', `${former.definition.path} is not the state that was there before`, {
        root: former.root,
        live: former.definition.path,
        expected: former.sha256,
        found,
      });
    }
  }
  await appendAudit(database, 'exchange undone', operation);
  database.journal(operation, { event: 'undone' });
}
