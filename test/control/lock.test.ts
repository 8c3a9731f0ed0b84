// The host's lock: one critical section at a time across processes, a token that only grows, and the rule of who may
// take over from whom (DESIGN.md "Workflows", clauses T-4 and SM-8).
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { checkAudit } from '../../control/audit-check.js';
import { readAudit } from '../../control/audit.js';
import { thisProcess } from '../../control/clock.js';
import { ControlDatabase, withControlDatabase } from '../../control/control-database.js';
import type { LockState } from '../../control/control-database.js';
import { raiseFence, readFence } from '../../control/fence.js';
import { acquireLock, assertGivenHere, critical, hasFinished, journal, releaseLock } from '../../control/lock.js';
import { breakLock, recoverStore } from '../../control/recovery.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { JournalEvent } from '../../domain/journal.js';
import { claimant, codeOf, makeTestRoom, saysRun, startChild, stopOf } from './room.js';

const lockOf = (room: StoreRoom): Promise<LockState> =>
  withControlDatabase(room.controlDirectory, (database) => database.lock());

/** A process that takes the lock, journals, and is dead when this returns. */
async function diedOwning(room: StoreRoom, events: readonly JournalEvent[] = []): Promise<ReturnType<typeof claimant>> {
  const owner = claimant();
  const child = startChild({ room, does: 'own', claimant: owner, events, stays: true });
  await child.line();
  await child.kill();
  return owner;
}

describe('critical sections', () => {
  test('two processes that count in one file under the same token lose no count', async () => {
    const { room, directory } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    const file = join(directory, 'counter');
    writeFileSync(file, '0');
    const children = [0, 1].map(() => startChild({ room, does: 'count', grant, times: 25, file }));
    expect(await Promise.all(children.map((child) => child.line()))).toEqual(['counted', 'counted']);
    expect(readFileSync(file, 'utf8')).toBe('50');
  });

  test('a section waits for that of another process without blocking the event loop', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    const other = startChild({ room, does: 'hold', millis: 300 });
    expect(await other.line()).toBe('held');
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 10);
    const begin = performance.now();
    await critical(room, grant, () => undefined);
    clearInterval(timer);
    expect(performance.now() - begin).toBeGreaterThan(150);
    expect(turns).toBeGreaterThan(5);
    expect(await other.line()).toBe('left');
  });

  test('a section of a process that is killed in it is free at once', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    const other = startChild({ room, does: 'hold', millis: 60_000 });
    await other.line();
    await other.kill();
    await expect(critical(room, grant, () => 'in')).resolves.toBe('in');
  });

  test('an effect that fails leaves nothing in lock.db', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await expect(
      critical(room, grant, (database) => {
        database.journal(grant.operation, { event: 'fencing' });
        throw new Error('fails');
      }),
    ).rejects.toThrow('fails');
    expect(await withControlDatabase(room.controlDirectory, (database) => database.events(grant.operation))).toEqual(
      [],
    );
  });

  test('lock.db may be opened and read while a section is held', async () => {
    const { room } = await makeTestRoom();
    const database = ControlDatabase.open(room.controlDirectory);
    await database.section(async () => {
      expect((await lockOf(room)).owner).toBeNull();
    });
    database.close();
  });
});

describe('tokens', () => {
  test('a late step with the token of before a takeover makes no effect: lock_lost', async () => {
    const { room } = await makeTestRoom();
    const old = await acquireLock(room, claimant(), saysRun('unknown'));
    const next = await acquireLock(room, claimant(), saysRun('closed'));
    expect(next.token).toBe(old.token + 1);
    let effects = 0;
    expect(await codeOf(critical(room, old, () => (effects += 1)))).toBe('lock_lost');
    expect(effects).toBe(0);
    await critical(room, next, () => (effects += 1));
    expect(effects).toBe(1);
  });

  test('a late step of the same operation makes no effect once settling has raised the token', async () => {
    const { room } = await makeTestRoom();
    const old = await acquireLock(room, claimant(), saysRun('unknown'));
    const settling = await withControlDatabase(room.controlDirectory, (database) => {
      const { owner } = database.lock();
      if (owner === null) throw new Error('no owner');
      return database.grant(owner);
    });
    expect(await codeOf(journal(room, old, { event: 'fencing' }))).toBe('lock_lost');
    await expect(journal(room, settling, { event: 'fencing' })).resolves.toBeUndefined();
  });

  test('a released lock accepts no effect of its former owner', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await releaseLock(room, grant, 'done');
    expect(await codeOf(journal(room, grant, { event: 'fencing' }))).toBe('lock_lost');
  });

  test('a token never comes twice, however often the lock is released', async () => {
    const { room } = await makeTestRoom();
    const tokens: number[] = [];
    for (let time = 0; time < 3; time += 1) {
      const grant = await acquireLock(room, claimant(), saysRun('unknown'));
      tokens.push(grant.token);
      await releaseLock(room, grant, 'done');
    }
    expect(tokens).toEqual([1, 2, 3]);
  });

  test('the owner moves to the process that makes the effect: a worker that was started again', async () => {
    const { room } = await makeTestRoom();
    const owner = claimant();
    const child = startChild({ room, does: 'own', claimant: owner, events: [], stays: true });
    const grant = JSON.parse((await child.line()) ?? '');
    await child.kill();
    await critical(room, grant, () => undefined);
    expect((await lockOf(room)).owner).toMatchObject({ operation: owner.operation, ...thisProcess() });
  });
});

describe('the identity of a lock.db', () => {
  test('a grant is host_ambiguous on a clone of the machine that was made before, whose lock.db has the same identity', async () => {
    const [{ room }, { room: clone }] = [await makeTestRoom(), await makeTestRoom()];
    await releaseLock(room, await acquireLock(room, claimant(), saysRun('unknown')), 'done');
    cpSync(room.controlDirectory, clone.controlDirectory, { recursive: true });
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    expect(await codeOf(assertGivenHere(clone, grant))).toBe('host_ambiguous');
    await expect(assertGivenHere(room, grant)).resolves.toBeUndefined();
  });

  test('a grant of another machine is host_ambiguous, also with the same token and operation, and makes no effect', async () => {
    const [{ room }, { room: elsewhere }] = [await makeTestRoom(), await makeTestRoom()];
    const owner = claimant();
    const [grant, other] = [
      await acquireLock(room, owner, saysRun('unknown')),
      await acquireLock(elsewhere, owner, saysRun('unknown')),
    ];
    expect({ ...other, lockId: grant.lockId }).toEqual(grant);
    let effects = 0;
    expect(await codeOf(critical(elsewhere, grant, () => (effects += 1)))).toBe('host_ambiguous');
    expect(await codeOf(assertGivenHere(elsewhere, grant))).toBe('host_ambiguous');
    expect(effects).toBe(0);
    await expect(assertGivenHere(room, grant)).resolves.toBeUndefined();
  });

  test('a machine that never had a lock of the store gets none by being asked', async () => {
    const [{ room }, { room: elsewhere }] = [await makeTestRoom(), await makeTestRoom()];
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    expect(await codeOf(assertGivenHere(elsewhere, grant))).toBe('host_ambiguous');
    expect(existsSync(elsewhere.controlDirectory)).toBe(false);
  });

  test('one from before it had an identity, and the end of the audit log, gets both, and keeps what it holds', async () => {
    const { room } = await makeTestRoom();
    await releaseLock(room, await acquireLock(room, claimant(), saysRun('unknown')), 'done');
    const old = new Database(join(room.controlDirectory, 'lock.db'));
    old.exec('DROP TABLE identity; DROP TABLE audit_head');
    old.close();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    expect(grant).toMatchObject({ token: 2, lockId: expect.stringMatching(/^[0-9a-f]{32}$/) });
    await expect(critical(room, grant, () => 'in')).resolves.toBe('in');
    expect(await checkAudit(room.controlDirectory)).toMatchObject({ lines: 3, problems: [] });
  });
});

describe('who may take over', () => {
  test('from an owner whose run is closed: at once, with a higher token and an audit entry', async () => {
    const { room } = await makeTestRoom();
    const first = claimant();
    await acquireLock(room, first, saysRun('unknown'));
    const second = claimant();
    await acquireLock(room, second, saysRun('closed'));
    expect((await lockOf(room)).owner?.operation).toBe(second.operation);
    const audit = await readAudit(room.controlDirectory);
    expect(audit.find((entry) => entry.event === 'lock taken over')?.details).toMatchObject({
      from: first.operation,
      token: 2,
    });
  });

  test.each(['open', 'unknown'] as const)(
    'not from a living process whose run is %s: store_locked, which names the owner',
    async (state) => {
      const { room } = await makeTestRoom();
      const owner = claimant();
      await acquireLock(room, owner, saysRun('unknown'));
      const stop = await stopOf(acquireLock(room, claimant(), saysRun(state)));
      expect(stop.code).toBe('store_locked');
      expect(stop.details).toMatchObject({
        owner: { operation: owner.operation, runId: owner.runId, pid: process.pid, liveness: 'alive' },
      });
      expect((await lockOf(room)).token).toBe(1);
    },
  );

  test('not from a dead process whose run is open: its worker may be started again', async () => {
    const { room } = await makeTestRoom();
    await diedOwning(room);
    expect(await codeOf(acquireLock(room, claimant(), saysRun('open')))).toBe('store_locked');
  });

  test('from a dead process whose run nobody knows, when the journal is at rest', async () => {
    const { room } = await makeTestRoom();
    await diedOwning(room);
    await expect(acquireLock(room, claimant(), saysRun('unknown'))).resolves.toMatchObject({ token: 2 });
  });

  test('a zombie is dead: nobody waits for it where process 1 does not', async () => {
    const { room } = await makeTestRoom();
    const owner = claimant();
    const child = startChild({ room, does: 'own', claimant: owner, events: [], stays: true });
    await child.line();
    process.kill(child.pid, 'SIGSTOP');
    expect(await codeOf(recoverStore(room, 'test'))).toBe('store_locked');
    // Killed but not yet waited for: this process is blocked until the loop turns
    process.kill(child.pid, 'SIGKILL');
    const until = performance.now() + 2_000;
    while (!/\) Z /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8')) && performance.now() < until);
    const { livenessOf } = await import('../../control/clock.js');
    expect(
      livenessOf({
        ...thisProcess(),
        pid: child.pid,
        startTime: readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? '',
      }),
    ).toBe('dead');
  });

  test('from a dead process with a raised fence: not by another protocol, but by recovery', async () => {
    const { room } = await makeTestRoom();
    const owner = await diedOwning(room, [{ event: 'fencing' }]);
    await raiseFence(room.controlDirectory, owner.operation, 'restore');
    expect(await codeOf(acquireLock(room, claimant(), saysRun('unknown')))).toBe('store_locked');
    expect(await readFence(room.controlDirectory)).toMatchObject({ operation: owner.operation });
    const { settled } = await recoverStore(room, 'test');
    expect(settled).toMatchObject([{ operation: owner.operation, undone: false, finished: false }]);
    expect(await readFence(room.controlDirectory)).toBeUndefined();
    await expect(acquireLock(room, claimant(), saysRun('unknown'))).resolves.toBeTruthy();
  });

  test('a recovery that died with the fence still up is not taken over by another protocol either', async () => {
    const { room } = await makeTestRoom();
    const owner = await diedOwning(room, [{ event: 'fencing' }]);
    await raiseFence(room.controlDirectory, owner.operation, 'restore');
    await withControlDatabase(room.controlDirectory, (database) => {
      const { owner: dead } = database.lock();
      if (dead === null) throw new Error('no owner');
      // What recovery writes first; its own operation has no events
      database.grant({
        ...dead,
        operation: '00000000-0000-4000-8000-000000000000',
        protocol: 'recover',
        namespaceId: 'none',
      });
    });
    expect(await codeOf(acquireLock(room, claimant(), saysRun('unknown')))).toBe('store_locked');
    expect((await recoverStore(room, 'test')).settled).toHaveLength(1);
  });

  test('recovery does not take over from a living process', async () => {
    const { room } = await makeTestRoom();
    const child = startChild({ room, does: 'own', claimant: claimant(), events: [{ event: 'fencing' }], stays: true });
    await child.line();
    const stop = await stopOf(recoverStore(room, 'test'));
    expect(stop).toMatchObject({ code: 'store_locked', details: { liveness: 'alive', pid: child.pid } });
  });

  test('an owner in another pid namespace can not be judged; `lock break` needs its operation', async () => {
    const { room } = await makeTestRoom();
    const owner = await diedOwning(room);
    await withControlDatabase(room.controlDirectory, (database) => {
      const { owner: present } = database.lock();
      if (present !== null) database.moveOwner({ ...present, pidNamespace: 'pid:[1]' });
    });
    expect(await codeOf(acquireLock(room, claimant(), saysRun('unknown')))).toBe('store_locked');
    expect((await stopOf(recoverStore(room, 'test'))).details).toMatchObject({ liveness: 'unknown' });
    expect(await codeOf(breakLock(room, 'test', 'another operation'))).toBe('approval_mismatch');
    expect((await breakLock(room, 'test', owner.operation)).settled).toHaveLength(1);
    expect((await lockOf(room)).owner).toBeNull();
  });

  test('`lock break` of a store that is not locked is approval_mismatch, whatever is confirmed', async () => {
    const { room } = await makeTestRoom();
    const stop = await stopOf(breakLock(room, 'test', 'an operation'));
    expect(stop).toMatchObject({ code: 'approval_mismatch', message: expect.stringContaining('is not locked') });
    expect(existsSync(room.controlDirectory)).toBe(false);
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await releaseLock(room, grant, 'done');
    expect(await codeOf(breakLock(room, 'test', grant.operation))).toBe('approval_mismatch');
    expect((await lockOf(room)).token).toBe(1);
  });

  test('of two that find the same stale lock, one has it', async () => {
    const { room } = await makeTestRoom();
    await diedOwning(room);
    const both = await Promise.allSettled([0, 1].map(() => acquireLock(room, claimant(), saysRun('unknown'))));
    expect(both.map((each) => each.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both.find((each) => each.status === 'rejected')?.reason).toMatchObject({ code: 'store_locked' });
  });

  test('whoever takes over pays first what the former owner owes', async () => {
    const { room, ran } = await makeTestRoom({ quiesce: '', resume: '' });
    await diedOwning(room, [{ event: 'quiescing' }]);
    await acquireLock(room, claimant(), saysRun('closed'));
    expect(ran()).toEqual(['resume']);
  });

  test('when it can not pay, it gives the lock back, and the debt stays for whoever comes next', async () => {
    const { room, ran, directory } = await makeTestRoom({ quiesce: '', resume: 'exit 1' });
    const owner = await diedOwning(room, [{ event: 'quiescing' }]);
    expect(await codeOf(acquireLock(room, claimant(), saysRun('closed')))).toBe('hook_failed');
    expect((await lockOf(room)).owner).toBeNull();
    const mended = {
      ...room,
      definition: {
        ...room.definition,
        hooks: {
          ...room.definition.hooks,
          resume: { argv: ['/bin/sh', '-c', `echo resume >> '${directory}/hooks.log'`], timeoutSeconds: 5 },
        },
      },
    };
    expect((await recoverStore(mended, 'test')).settled).toMatchObject([
      { operation: owner.operation, hooks: ['resume'] },
    ]);
    expect(ran()).toEqual(['resume']);
  });
});

describe('operations', () => {
  test('a second run of the same operation is refused, whatever became of the first', async () => {
    const { room } = await makeTestRoom();
    const first = claimant();
    const grant = await acquireLock(room, first, saysRun('unknown'));
    expect(await codeOf(acquireLock(room, { ...first, runId: 'reset' }, saysRun('closed')))).toBe('operation_repeated');
    await releaseLock(room, grant, 'done');
    const stop = await stopOf(acquireLock(room, { ...first, runId: 'reset' }, saysRun('unknown')));
    expect(stop).toMatchObject({ code: 'operation_repeated', details: { outcome: 'done', runId: first.runId } });
  });

  test('releasing is idempotent, and knows that it was done', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    expect(await hasFinished(room, grant.operation)).toBe(false);
    await releaseLock(room, grant, 'done');
    await releaseLock(room, grant, 'done');
    expect(await hasFinished(room, grant.operation)).toBe(true);
    expect((await readAudit(room.controlDirectory)).filter((entry) => entry.event === 'lock released')).toHaveLength(1);
  });

  test('a lock with an exchange or a fence still owed is not released', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await journal(room, grant, { event: 'fencing' });
    expect(await codeOf(releaseLock(room, grant, 'done'))).toBe('undo_failed');
    expect((await lockOf(room)).owner?.operation).toBe(grant.operation);
  });

  test('a fence that nobody owes refuses every protocol, and recovery does not hide it', async () => {
    const { room } = await makeTestRoom();
    const grant = await acquireLock(room, claimant(), saysRun('unknown'));
    await releaseLock(room, grant, 'done');
    await raiseFence(room.controlDirectory, 'lost', 'restore');
    expect(await codeOf(acquireLock(room, claimant(), saysRun('unknown')))).toBe('fenced');
    expect(await codeOf(recoverStore(room, 'test'))).toBe('fenced');
    expect((await lockOf(room)).owner).toBeNull();
  });
});
