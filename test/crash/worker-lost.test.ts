// T-7: what a run whose worker is killed ends with, and what another worker of the host does about it.
import { describe, expect, test } from 'vitest';
import { settlementOf } from '../../client/settlement.js';
import { readAudit } from '../../control/audit.js';
import { withControlDatabase } from '../../control/control-database.js';
import type { HookName } from '../../domain/definition.js';
import { LIMITS } from '../../domain/limits.js';
import { eventually, historyOf, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, makeStore } from '../support/store.js';
import { Victim } from './victim.js';

describe.skipIf(requires('temporal'))('a worker killed', () => {
  const engine = useEngine();

  test('T-7: while it takes the lock, and no other comes: the run ends, nobody knows whether it has it, and an alarm was set', async () => {
    const store = makeStore(engine(), 'alone');
    await store.backup();
    const victim = await Victim.start(engine(), store.name);
    // Held, so that the step which takes the lock waits
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const section = withControlDatabase(store.controlDirectory, (database) => database.section(() => held));
    const options = { requestedBy: 'test', host: store.name, heartbeatTimeoutMillis: 2_000 };
    const running = await engine().holdfast.backup(store.name, options);
    await eventually('the lock is asked for', async () =>
      (await engine().holdfast.running(store.name)).some(({ progress }) => progress?.step === 'backup.lock'),
    );
    await victim.kill();
    letGo();
    await section;
    const stop = await stopOf(running.result());
    expect([stop.code, stop.details]).toEqual(['worker_lost', expect.objectContaining({ settled: 'unknown' })]);
    expect(stop.message).toContain('if it has taken the lock, the next backup or restore settles it');
    const { workflowId, runId } = running;
    expect(await settlementOf(engine().session.client, workflowId, runId)).toBe(null);
    const timers = (await historyOf(engine(), workflowId, runId)).flatMap(({ timerStartedEventAttributes }) =>
      Number(timerStartedEventAttributes?.startToFireTimeout?.seconds ?? []),
    );
    expect(timers).toContain(LIMITS.compensationAlarmMillis / 1000);
    await store.backup();
    expect(store.leftovers()).toEqual([]);
  });

  test.each([
    ['detach', ['detach', 'attach']],
    ['caches', ['detach', 'caches', 'attach']],
  ] as const)(
    'T-7: in hook %s: the restore is undone by the next worker and ends as worker_lost',
    async (hook: HookName, hooks) => {
      const store = makeStore(engine(), 'lost', { hooks: ['detach', 'attach', 'caches'] });
      const options = { requestedBy: 'test', host: store.name, heartbeatTimeoutMillis: 2_000 };
      const victim = await Victim.start(engine(), store.name);
      await store.backup();
      store.addItem('four');
      const { digest } = await (await engine().holdfast.plan(store.name, LATEST, options)).result();
      const held = store.holdHook(hook);
      const running = await engine().holdfast.restore(store.name, LATEST, digest, options);
      await held.held();
      await victim.kill();
      const next = await Victim.start(engine(), store.name);
      try {
        const stop = await stopOf(running.result());
        expect([stop.code, stop.details['step']]).toEqual(['worker_lost', hook === 'caches' ? 'rebuild' : hook]);
      } finally {
        held.letGo();
        await next.end();
      }
      expect(store.items()).toEqual(['one', 'two', 'three', 'four']);
      expect(store.hooksRun()).toEqual([...hooks]);
      expect(store.leftovers()).toEqual([]);
      const undone = (await readAudit(store.controlDirectory)).filter((entry) => entry.event === 'exchange undone');
      expect(undone).toHaveLength(hook === 'caches' ? 1 : 0);
    },
  );
});
