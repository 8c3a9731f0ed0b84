// The guard: between quiesce and resume a worker may die in any way, and the application goes on all the same. The
// worker here is a real process that starts a real guard and is killed.
import { mkdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { withControlDatabase } from '../../control/control-database.js';
import { dismissGuard, startGuard } from '../../control/guard.js';
import { acquireLock, journal } from '../../control/lock.js';
import { recoverStore, settleOperation } from '../../control/recovery.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { JournalEvent } from '../../domain/journal.js';
import { claimant, eventually, makeTestRoom, saysRun, startChild } from './room.js';

const eventsOf = (room: StoreRoom, operation: string): Promise<readonly JournalEvent[]> =>
  withControlDatabase(room.controlDirectory, (database) => database.events(operation));

/** With its last write: the room may be removed then. */
const guardHasResumed = (room: StoreRoom, operation: string): Promise<unknown> =>
  eventually('the guard has resumed', async () =>
    (await eventsOf(room, operation)).some((entry) => entry.event === 'resumed' && entry.by === 'guard'),
  );

describe('the guard', () => {
  test('lets the application go on when the worker is killed after quiesce, and journals that it was the guard', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: '', resume: '' });
    const owner = claimant();
    const worker = startChild({ room, does: 'guard', claimant: owner, hook: 'quiesce' });
    await worker.line();
    expect(await worker.line()).toBe('hook done');
    await worker.kill();
    await guardHasResumed(room, owner.operation);
    expect(ran()).toEqual(['quiesce', 'resume']);
    expect((await recoverStore(room, 'test')).settled).toMatchObject([{ hooks: [] }]);
  });

  test('ends a quiesce hook that outlived the worker before it resumes: it would pause the application again', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: 'sleep 1.5', resume: '' });
    const owner = claimant();
    const worker = startChild({ room, does: 'guard', claimant: owner, hook: 'quiesce' });
    await worker.line();
    await sleep(200);
    await worker.kill();
    await eventually('the guard has resumed', () => ran().includes('resume'));
    await sleep(1_700);
    expect(ran()).toEqual(['resume']);
  });

  test('dismissed, it does nothing, also when the worker dies right after', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: '', resume: '' });
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await journal(room, grant, { event: 'quiescing' });
    await startGuard(room, grant);
    dismissGuard(grant.operation);
    dismissGuard(grant.operation);
    await sleep(600);
    expect(ran()).toEqual([]);
    expect(await eventsOf(room, grant.operation)).toEqual([{ event: 'quiescing' }]);
  });

  test('does nothing when the lock was taken over: whoever did that resumes', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: '', resume: '' });
    const owner = claimant();
    const worker = startChild({ room, does: 'guard', claimant: owner, hook: null });
    await worker.line();
    process.kill(worker.pid, 'SIGSTOP');
    await withControlDatabase(room.controlDirectory, (database) => {
      const { owner: present } = database.lock();
      if (present === null) throw new Error('no owner');
      database.grant(present);
    });
    await worker.kill();
    await sleep(600);
    expect(ran()).toEqual([]);
    expect(await settleOperation(room, owner.operation, owner.runId, 'stopped')).toMatchObject({ hooks: ['resume'] });
    expect(ran()).toEqual(['resume']);
  });

  test('asks again what is owed when lock.db could not be read', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: '', resume: '' });
    const owner = claimant();
    const worker = startChild({ room, does: 'guard', claimant: owner, hook: null });
    await worker.line();
    const [path, elsewhere] = ['lock.db', 'lock.db elsewhere'].map((name) => join(room.controlDirectory, name));
    if (path === undefined || elsewhere === undefined) throw new Error('no paths');
    renameSync(path, elsewhere);
    mkdirSync(path);
    await worker.kill();
    const log = join(room.controlDirectory, 'guard.log');
    await eventually('the guard was refused', () => readFileSync(log, 'utf8').includes('"retryInMillis"'));
    rmdirSync(path);
    renameSync(elsewhere, path);
    await guardHasResumed(room, owner.operation);
    expect(ran()).toEqual(['resume']);
  });

  test('tries again until the hook succeeds', async () => {
    const { room, ran, directory } = await makeTestRoom({ quiesce: '', resume: '' });
    const failing = {
      ...room,
      definition: {
        ...room.definition,
        hooks: {
          ...room.definition.hooks,
          resume: {
            argv: [
              '/bin/sh',
              '-c',
              `if [ -e '${directory}/tried' ]; then echo resume >> '${directory}/hooks.log'; else touch '${directory}/tried'; exit 1; fi`,
            ],
            timeoutSeconds: 5,
          },
        },
      },
    };
    const owner = claimant();
    const worker = startChild({ room: failing, does: 'guard', claimant: owner, hook: null });
    await worker.line();
    await worker.kill();
    await guardHasResumed(room, owner.operation);
    expect(ran()).toEqual(['resume']);
  });
});
