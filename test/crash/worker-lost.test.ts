// T-7: what a run whose worker is killed ends with, and what another worker of the host does about it.
import { describe, expect, test } from 'vitest';
import { readAudit } from '../../control/audit.js';
import type { HookName } from '../../domain/definition.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, makeStore } from '../support/store.js';
import { Victim } from './victim.js';

describe.skipIf(requires('temporal'))('a worker killed while a hook is held', () => {
  const engine = useEngine();

  test.each([
    ['detach', ['detach', 'attach']],
    ['caches', ['detach', 'caches', 'attach']],
  ] as const)(
    'T-7: a worker killed in %s: the restore is undone by the next worker and ends as worker_lost',
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
