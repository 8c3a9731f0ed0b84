// T-2, T-4: two machines that go by one host name. Two real workers poll the same queue of one server, each with
// definitions and a store of its own, so that each step of a run is for whichever polls.
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asRefusal } from '../../client/protocols.js';
import { executionId, requestId, WORKFLOW_QUEUE } from '../../domain/names.js';
import type { RequestOrder } from '../../domain/protocol.js';
import { startTimeOf } from '../../control/clock.js';
import { eventually, stopOf, useEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, TestStore } from '../support/store.js';
import type { StoreOptions } from '../support/store.js';
import { Victim } from './victim.js';

const HOOKS: StoreOptions = { hooks: ['quiesce', 'resume', 'detach', 'attach', 'caches'] };

describe.skipIf(requires('temporal'))('two machines of one host name', () => {
  const engine = useEngine();
  let made = 0;
  let host = '';
  let machines: readonly [Machine, Machine];
  const workers: Victim[] = [];

  interface Machine {
    readonly engine: TestEngine;
    readonly store: TestStore;
  }

  /** The same server, and directories of its own. */
  function machineOf(name: string): Machine {
    const directory = join(engine().directory, `${host}-${name}`);
    const definitionsDirectory = join(directory, 'definitions');
    mkdirSync(definitionsDirectory, { recursive: true });
    const environment = {
      ...engine().environment,
      HOLDFAST_DEFINITIONS_DIRECTORY: definitionsDirectory,
      HOLDFAST_STATE_DIRECTORY: join(directory, 'state'),
    };
    mkdirSync(join(directory, 'state'), { mode: 0o700 });
    const own: TestEngine = { ...engine(), directory, definitionsDirectory, environment };
    return { engine: own, store: new TestStore(own, host, HOOKS) };
  }

  const start = async ({ engine: own }: Machine): Promise<Victim> => {
    const worker = await Victim.start(own, host);
    workers.push(worker);
    return worker;
  };

  /** Asked to end: it finishes what it is at, and takes nothing new. */
  const retire = (worker: Victim): void => void process.kill(worker.pid, 'SIGTERM');
  const gone = (worker: Victim): Promise<boolean> =>
    eventually('the worker has ended', () => startTimeOf(worker.pid) === undefined);

  beforeEach(() => {
    made += 1;
    host = `twin-${process.pid}-${made}`;
    machines = [machineOf('first'), machineOf('second')];
  });

  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.end();
  });

  test('settle: a step on the machine that has not the lock is host_ambiguous, and compensation waits for the one that has', async () => {
    const [first, second] = machines;
    const mine = await start(first);
    await first.store.backup({ host });
    first.store.addItem('four');
    const { digest } = await first.store.plan(LATEST, { host });
    const untouched = await second.store.digest();
    first.store.hooksRun();
    // Exchanged, not committed; what comes next is for the other machine
    const held = first.store.holdHook('caches');
    const running = await engine().holdfast.restore(host, LATEST, digest, {
      requestedBy: 'test',
      host,
      heartbeatTimeoutMillis: 5_000,
    });
    await held.held();
    retire(mine);
    await start(second);
    held.letGo();
    await gone(mine);
    await eventually('settling is refused there', async () => {
      const { lastFailure } = await engine().holdfast.progress(executionId(host));
      return lastFailure?.message.includes('another machine goes by the same host name');
    });
    expect(first.store.isFenced()).toBe(true);
    await start(first);
    const stop = await stopOf(running.result());
    expect([stop.code, stop.details['step'], stop.details['settled']]).toEqual([
      'host_ambiguous',
      'restore.verify',
      'undone',
    ]);
    expect(first.store.items()).toEqual(['one', 'two', 'three', 'four']);
    expect(first.store.hooksRun()).toEqual(['detach', 'caches', 'attach']);
    expect(first.store.leftovers()).toEqual([]);
    expect([await second.store.digest(), second.store.hooksRun()]).toEqual([untouched, []]);
    expect(existsSync(second.store.controlDirectory)).toBe(false);
  });

  test('restore.plan: a plan that one machine made is host_ambiguous on another, and nothing is changed on either', async () => {
    const [first, second] = machines;
    const mine = await start(first);
    await first.store.backup({ host });
    first.store.addItem('four');
    const [before, untouched] = [await first.store.digest(), await second.store.digest()];
    const operation = randomUUID();
    const order: RequestOrder = {
      operation,
      store: host,
      host,
      requestedBy: 'test',
      source: LATEST,
      confirm: null,
      deadlineMillis: 60_000,
    };
    const handle = await engine().session.client.workflow.start('request', {
      taskQueue: WORKFLOW_QUEUE,
      workflowId: requestId(host, operation),
      args: [order],
    });
    const planDigest = await eventually('the request waits', async () => {
      const found = await handle.query<{ readonly planDigest: string | null }>('status');
      return found.planDigest;
    });
    retire(mine);
    await gone(mine);
    await start(second);
    await handle.executeUpdate('confirm', { args: [{ planDigest, by: 'somebody' }] });
    const stop = await stopOf(handle.result().catch((error: unknown) => Promise.reject(asRefusal(error))));
    expect([stop.code, stop.details['step']]).toEqual(['host_ambiguous', 'restore.plan']);
    expect([await first.store.digest(), await second.store.digest()]).toEqual([before, untouched]);
    expect([first.store.leftovers(), second.store.leftovers()]).toEqual([[], []]);
    expect([first.store.hooksRun(), second.store.hooksRun()]).toEqual([['quiesce', 'resume'], []]);
  });
});
