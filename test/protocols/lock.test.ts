// One operation at a time on a store, and each operation once: who holds the lock, what a second one is told, and that a
// reset of a finished run does nothing again. Clauses T-2, T-7, SM-9.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { asRefusal } from '../../client/protocols.js';
import { readAudit } from '../../control/audit.js';
import { STEPS } from '../../domain/steps.js';
import { historyOf, stopOf, useEngine } from '../support/engine.js';
import type { HistoryEvent } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';

describe.skipIf(requires('temporal'))('the lock of a store', () => {
  const engine = useEngine();
  const resultOf = (workflowId: string, runId?: string): Promise<unknown> =>
    engine()
      .session.client.workflow.getHandle(workflowId, runId)
      .result()
      .catch((error: unknown) => Promise.reject(asRefusal(error)));

  test('backup.lock: a second operation of a store is store_locked at once, one of another store is not', async () => {
    const [store, other] = [makeStore(engine(), 'one', { hooks: ['quiesce', 'resume'] }), makeStore(engine(), 'other')];
    const hold = store.holdHook('quiesce');
    const running = store.backup();
    await hold.held();
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details]).toEqual(['store_locked', { workflowId: `holdfast/${store.name}` }]);
    expect((await engine().holdfast.running(store.name)).map(({ progress }) => progress?.step)).toEqual([
      'backup.quiesce',
    ]);
    await other.backup();
    hold.letGo();
    await running;
    await store.backup();
    expect(store.published()).toHaveLength(2);
  });

  test('backup.lock, backup.release: taking and giving back are in the audit log, with a token that grows', async () => {
    const store = makeStore(engine(), 'audited');
    const [first, second] = [await store.backup(), await store.backup()];
    // The history of a run is kept whenever a look finds it closed
    const entries = (await readAudit(store.controlDirectory)).filter(({ event }) => event !== 'history kept');
    expect(entries.map(({ event, operation, details }) => [event, operation, details['token']])).toEqual([
      ['lock acquired', first.operation, 1],
      ['lock released', first.operation, 1],
      ['lock acquired', second.operation, 2],
      ['lock released', second.operation, 2],
    ]);
  });

  test('backup.lock, request.plan: a volume that is not mounted is root_missing, again and again, and gets no lock', async () => {
    const store = makeStore(engine(), 'unmounted');
    store.define({ backup: { destination: join(engine().directory, 'unmounted-backups') } });
    const { backupId } = await store.backup();
    const away = `${store.directory}-away`;
    renameSync(store.directory, away);
    mkdirSync(store.root, { recursive: true });
    for (const refused of [() => store.backup(), () => store.backup(), () => store.plan()])
      expect((await stopOf(refused())).code).toBe('root_missing');
    expect(readdirSync(store.directory)).toEqual(['live']);
    // A backup is proved also then
    const verified = await engine().holdfast.verify(store.name, 'latest', { requestedBy: 'test' });
    expect((await verified.result()).backupId).toBe(backupId);
    expect(readdirSync(store.directory)).toEqual(['live']);
    rmSync(store.directory, { recursive: true });
    renameSync(away, store.directory);
    await store.backup();
  });

  test('restore.lock: the same operation started again is operation_repeated', async () => {
    const store = makeStore(engine(), 'again');
    const operation = randomUUID();
    await store.backup({ operation });
    expect((await stopOf(store.backup({ operation }))).code).toBe('operation_repeated');
    expect(store.published()).toHaveLength(1);
    const restored = await store.restore();
    const state = [await store.digest(), store.epochCounter()];
    const { digest } = await store.plan();
    const run = await engine().holdfast.restore(store.name, LATEST, digest, {
      requestedBy: 'test',
      operation: restored.operation,
    });
    expect((await stopOf(run.result())).code).toBe('operation_repeated');
    expect([await store.digest(), store.epochCounter()]).toEqual(state);
  });

  test('restore.lock: a reset of a finished restore changes nothing and is operation_repeated', async () => {
    const store = makeStore(engine(), 'reset', { hooks: ['detach', 'attach', 'migrate', 'caches', 'verify'] });
    await store.backup();
    await store.restore();
    // The application goes on after the restore: that must not be lost
    store.addItem('after the restore');
    const state = await stateOf(store);
    store.hooksRun();
    const runId = await reset(store, (_event, index) => index === 0);
    expect((await stopOf(resultOf(`holdfast/${store.name}`, runId))).code).toBe('operation_repeated');
    expect(store.hooksRun()).toEqual([]);
    expect(await stateOf(store)).toEqual(state);
    expect(store.leftovers()).toEqual([]);
  });

  test('each step of STEPS.restore: a reset of a finished restore to before it changes nothing, and runs no hook', async () => {
    const store = makeStore(engine(), 'reset', {
      hooks: ['detach', 'attach', 'migrate', 'caches', 'verify'],
      rollback: { destination: join(engine().directory, 'reset-kept') },
    });
    await store.backup();
    await store.restore();
    store.addItem('after the restore');
    const state = await stateOf(store);
    store.hooksRun();
    const history = await historyOf(engine(), `holdfast/${store.name}`);
    const finished = history[0]?.workflowExecutionStartedEventAttributes?.originalExecutionRunId ?? '';
    for (const { id } of STEPS.restore.slice(1)) {
      const scheduled = history.findIndex(({ userMetadata }) =>
        Buffer.from(userMetadata?.summary?.data ?? [])
          .toString()
          .startsWith(`"${id}: `),
      );
      expect(scheduled, id).toBeGreaterThan(0);
      const runId = await reset(store, (_event, index) => index < scheduled, 'last', finished);
      const ended = await resultOf(`holdfast/${store.name}`, runId).catch((error: unknown) => error);
      // Everything but the release is replayed from history then, and that is known to be done; else the lock is lost
      expect(ended, id).toMatchObject(id === 'restore.release' ? { protocol: 'restore' } : { code: 'lock_lost' });
      expect([store.hooksRun(), store.leftovers()], id).toEqual([[], []]);
    }
    expect(await stateOf(store)).toEqual(state);
  });

  test('settle: a backup that was reset into its middle has lost the lock, and publishes nothing', async () => {
    const store = makeStore(engine(), 'reset', { hooks: ['quiesce', 'resume'] });
    await store.backup();
    store.hooksRun();
    const history = await historyOf(engine(), `holdfast/${store.name}`);
    const quiesce = history.findIndex(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'quiesce',
    );
    const runId = await reset(store, (_event, index) => index < quiesce, 'last');
    expect((await stopOf(resultOf(`holdfast/${store.name}`, runId))).code).toBe('lock_lost');
    expect(store.hooksRun()).toEqual([]);
    expect(store.published()).toHaveLength(1);
    expect(store.leftovers()).toEqual([]);
  });

  async function stateOf(store: TestStore): Promise<unknown> {
    return [await store.digest(), store.epochCounter(), store.rollbackPoints(), store.published()];
  }

  /** Resets the newest run of a store to a completed workflow task. @returns the new run */
  async function reset(
    store: TestStore,
    isWanted: (event: HistoryEvent, index: number) => boolean,
    which: 'first' | 'last' = 'first',
    from?: string,
  ): Promise<string> {
    const workflowId = `holdfast/${store.name}`;
    const events = await historyOf(engine(), workflowId, from);
    const tasks = events.filter(
      (event, index) =>
        event.workflowTaskCompletedEventAttributes !== null &&
        event.workflowTaskCompletedEventAttributes !== undefined &&
        (isWanted(event, index) || which === 'first'),
    );
    const task = which === 'first' ? tasks[0] : tasks.at(-1);
    const output = await engine().temporal(
      'workflow',
      'reset',
      '--workflow-id',
      workflowId,
      '--event-id',
      String(task?.eventId),
      '--reason',
      'a test',
      '--output',
      'json',
      ...(from === undefined ? [] : ['--run-id', from]),
    );
    return (JSON.parse(output) as { runId: string }).runId;
  }
});
