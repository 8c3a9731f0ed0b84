// T-8: Temporal itself is killed and started again from its file while a protocol is held in a hook. The default
// heartbeat timeout is longer than that, so the protocol does not even notice.
import { truncateSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { asRefusal } from '../../client/protocols.js';
import type { Operation } from '../../client/protocols.js';
import type { BackupReport, RestoreReport, VerifyReport } from '../../domain/protocol.js';
import { eventually, useEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, LATEST_POINT, makeStore } from '../support/store.js';

const OPTIONS = { requestedBy: 'test' } as const;

/** Kills the server, for good measure between two of its writes, and waits until its supervisor has another one up. */
async function killServer(engine: TestEngine): Promise<void> {
  const before = engine.session.supervisor()?.enginePid;
  if (before === undefined) throw new Error('the session has no embedded engine');
  process.kill(before, 'SIGKILL');
  await eventually(
    'another server is up',
    () => {
      const now = engine.session.supervisor()?.enginePid;
      return now !== undefined && now !== before;
    },
    60_000,
  );
}

/** The end of a run, asked for again where the connection of before was lost. */
async function endOf<Report>(engine: TestEngine, { workflowId, runId }: Operation<Report>): Promise<Report> {
  const handle = engine.session.client.workflow.getHandle(workflowId, runId);
  await eventually(
    'the run has ended',
    async () => {
      try {
        return (await handle.describe()).status.name !== 'RUNNING';
      } catch {
        await sleep(200); // The server is not back yet, or the connection is being made anew
        return false;
      }
    },
    90_000,
  );
  try {
    return (await handle.result()) as Report;
  } catch (error) {
    throw asRefusal(error);
  }
}

// An engine that ends again and again is given up: each protocol has one of its own
describe.skipIf(requires('temporal'))('Temporal killed and started again from its file, in a backup', () => {
  const engine = useEngine();

  test.each(['quiesce', 'resume', 'version'] as const)(
    'T-8: Temporal killed and started again while a backup is in its hook %s: the backup is made, once',
    async (hook) => {
      const store = makeStore(engine(), 'restarted', { hooks: ['quiesce', 'resume', 'version'] });
      store.scriptHook('version', 'echo \'{"version": "1", "modules": []}\'');
      const hold = store.holdHook(hook);
      const started: Operation<BackupReport> = await engine().holdfast.backup(store.name, OPTIONS);
      await hold.held();
      await killServer(engine());
      hold.letGo();
      const report = await endOf(engine(), started);
      expect(store.published()).toEqual([report.artefact.split('/').at(-1)]);
      expect(store.hooksRun()).toEqual(['quiesce', 'resume', 'version']);
      expect(store.leftovers()).toEqual([]);
    },
  );
});

describe.skipIf(requires('temporal'))('Temporal killed and started again from its file, in a restore', () => {
  const engine = useEngine();

  // Before anything is touched; exchanged and not committed, the worst moment to be alone; committed
  test.each(['detach', 'caches', 'attach'] as const)(
    'T-8: Temporal killed and started again while a restore is in its hook %s: the store is restored, once',
    async (hook) => {
      const store = makeStore(engine(), 'restarted', { hooks: ['detach', 'attach', 'caches'] });
      await store.backup();
      store.addItem('four');
      const { digest } = await store.plan();
      const hold = store.holdHook(hook);
      const started: Operation<RestoreReport> = await engine().holdfast.restore(store.name, LATEST, digest, OPTIONS);
      await hold.held();
      await killServer(engine());
      hold.letGo();
      await endOf(engine(), started);
      expect(store.items()).toEqual(['one', 'two', 'three']);
      expect(store.hooksRun()).toEqual(['detach', 'caches', 'attach']);
      expect(store.epochCounter()).toBe(1);
      expect(store.leftovers()).toEqual([]);
    },
  );
});

describe.skipIf(requires('temporal'))('Temporal killed and started again from its file, in a rollback', () => {
  const engine = useEngine();

  test.each(['detach', 'verify', 'attach'] as const)(
    'T-8: Temporal killed and started again while a rollback is in its hook %s: the former state is back, once',
    async (hook) => {
      const store = makeStore(engine(), 'restarted', { hooks: ['detach', 'attach', 'verify'] });
      await store.backup();
      store.addItem('four');
      await store.restore();
      store.hooksRun();
      const { digest } = await store.plan(LATEST_POINT);
      const hold = store.holdHook(hook);
      const started: Operation<RestoreReport> = await engine().holdfast.restore(
        store.name,
        LATEST_POINT,
        digest,
        OPTIONS,
      );
      await hold.held();
      await killServer(engine());
      hold.letGo();
      await endOf(engine(), started);
      expect(store.items()).toEqual(['one', 'two', 'three', 'four']);
      expect(store.hooksRun()).toEqual(['detach', 'verify', 'attach']);
      expect(store.epochCounter()).toBe(2);
      expect(store.leftovers()).toEqual([]);
    },
  );
});

describe.skipIf(requires('temporal'))('Temporal killed and started again from its file, in a verification', () => {
  const engine = useEngine();

  test.each([0, 300, 900])(
    'T-8: Temporal killed and started again %i ms after a verification began: the verification ends',
    async (millis) => {
      const store = makeStore(engine(), 'restarted');
      store.write('files/large', '');
      truncateSync(store.path('files/large'), 512 * 1024 * 1024);
      const { backupId } = await store.backup();
      const started: Operation<VerifyReport> = await engine().holdfast.verify(store.name, backupId, OPTIONS);
      await sleep(millis);
      await killServer(engine());
      expect(await endOf(engine(), started)).toMatchObject({ protocol: 'verify', backupId, files: 4 });
    },
  );
});
