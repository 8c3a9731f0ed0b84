// The guard's process (see guard.ts). First line of stdin: the order. Then either `resumed`, and it ends; or the end
// of the stream without it: the worker died, and the resume hook is run until it succeeds.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { debtsOf } from '../domain/journal.js';
import type { LockGrant } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { withControlDatabase } from './control-database.js';
import type { GuardOrder } from './guard.js';
import { runHook } from './hooks.js';
import { endLeftHooks } from './left-hooks.js';
import type { StoreRoom } from './store-room.js';

const BACK_OFF_MAX_MILLIS = 60_000;

async function main(): Promise<void> {
  let order: GuardOrder | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    if (order === undefined) {
      order = JSON.parse(line) as GuardOrder;
      process.stdout.write('watching\n');
    } else if (line === 'resumed') {
      return;
    }
  }
  if (order !== undefined) await resume(order);
}

async function resume({ room, grant }: GuardOrder): Promise<void> {
  const hook = room.definition.hooks.resume;
  if (hook === undefined) throw new Error('defect: a guard for a store without a resume hook');
  for (let wait = 1_000; ; wait = Math.min(wait * 2, BACK_OFF_MAX_MILLIS)) {
    try {
      if (!(await isResumeOwed(room, grant))) return;
      // The quiesce hook may outlive the worker, and would pause the application again
      await endLeftHooks(grant.operation);
      await runHook('resume', hook, { store: room.definition.store, operation: grant.operation });
      await recordResumed(room, grant);
      return;
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      if (error.code === 'lock_lost') return;
      process.stderr.write(
        `${JSON.stringify({ operation: grant.operation, code: error.code, message: error.message, retryInMillis: wait })}\n`,
      );
      await sleep(wait);
    }
  }
}

/** False, too, once the lock was taken over: whoever did that has resumed the application, or does it now. */
function isResumeOwed(room: StoreRoom, grant: LockGrant): Promise<boolean> {
  return withControlDatabase(room.controlDirectory, (database) => {
    const { token, owner } = database.lock();
    return owner !== null && token === grant.token && debtsOf(database.events(grant.operation)).resume;
  });
}

/** Not by `critical`: the owner of the lock is the dead worker still, or recovery would have to wait for the guard. */
async function recordResumed(room: StoreRoom, grant: LockGrant): Promise<void> {
  await withControlDatabase(room.controlDirectory, (database) =>
    database.section(() => {
      database.assertHeld(grant);
      database.journal(grant.operation, { event: 'resumed', by: 'guard' });
    }),
  );
}

// A broken pipe must not end the guard: writing to a dead worker is what it is here for
process.stdout.on('error', () => undefined);
await main();
