// The orchestrator, read from the outside: what Temporal has recorded of every protocol, and the ways to start one.
// Clauses T-1 to T-5.
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { asRefusal } from '../../../client/protocols.js';
import { LIMITS } from '../../../domain/limits.js';
import { SEARCH_ATTRIBUTES } from '../../../domain/names.js';
import type { BackupReport, RestoreReport } from '../../../domain/protocol.js';
import { STEPS, stepTitle } from '../../../domain/steps.js';
import type { StepId } from '../../../domain/steps.js';
import { TEST_HOST, eventually, historyOf, stopOf, useEngine } from '../../support/engine.js';
import type { HistoryEvent } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { TestStore, makeStore } from '../../support/store.js';

/** EVENT_TYPE_… by number: these are the ones that are looked for. */
const summaryOf = ({ userMetadata }: HistoryEvent): string => {
  const data = userMetadata?.summary?.data;
  return data === null || data === undefined ? '' : (JSON.parse(Buffer.from(data).toString()) as string);
};
const activities = (events: readonly HistoryEvent[]) =>
  events.flatMap((event) => {
    const scheduled = event.activityTaskScheduledEventAttributes;
    return scheduled === null || scheduled === undefined
      ? []
      : [
          {
            summary: summaryOf(event),
            name: scheduled.activityType?.name ?? '',
            attempts: scheduled.retryPolicy?.maximumAttempts ?? 0,
            scheduled,
          },
        ];
  });

const FILES = 3_000;

describe.skipIf(requires('temporal'))('first light', () => {
  const engine = useEngine();
  let store: TestStore;
  let backup: BackupReport;
  let restored: RestoreReport;
  const history = { backup: [] as readonly HistoryEvent[], restore: [] as readonly HistoryEvent[] };

  beforeAll(async () => {
    const files = Object.fromEntries(
      Array.from({ length: FILES }, (_, index) => [`files/${index % 30}/${index}`, `file ${index}`]),
    );
    store = new TestStore(engine(), 'recorded', {
      files,
      hooks: ['quiesce', 'resume', 'detach', 'attach'],
      rollback: { destination: join(engine().directory, 'recorded-kept') },
    });
    backup = await store.backup();
    history.backup = await historyOf(engine(), `holdfast/${store.name}`);
    restored = await store.restore();
    history.restore = await historyOf(engine(), `holdfast/${store.name}`);
    await store.rollback();
    await (await engine().holdfast.verify(store.name, 'latest', { requestedBy: 'test' })).result();
  });

  const list = async (query: string): Promise<readonly { readonly type: string; readonly status: string }[]> => {
    const found: { type: string; status: string }[] = [];
    for await (const { type, status } of engine().session.client.workflow.list({ query }))
      found.push({ type, status: status.name });
    return found;
  };

  test('T-1: backup, request, restore, rollback and verify are durable workflows that closed as completed', async () => {
    const runs = await eventually('all runs are visible', async () => {
      const found = await list(`HoldfastStore = '${store.name}' AND ExecutionStatus = 'Completed'`);
      return found.length >= 8 && found;
    });
    const types = runs.map(({ type }) => type).sort();
    expect(types).toEqual(['backup', 'plan', 'plan', 'request', 'request', 'restore', 'rollback', 'verify']);
  });

  test('T-2: activities on the queue of the host lock, snapshot, hash, package and swap', () => {
    expect(activities(history.backup).map(({ name }) => name)).toEqual([
      'lock',
      'planBackup',
      'quiesce',
      'snapshot',
      'resume',
      'validateCapture',
      'packageArtefact',
      'release',
    ]);
    expect(activities(history.restore).map(({ summary }) => summary.split(':')[0])).toEqual(
      STEPS.restore.map(({ id }) => id),
    );
    const queues = new Set(
      [...activities(history.backup), ...activities(history.restore)].map(({ scheduled }) => scheduled.taskQueue?.name),
    );
    expect([...queues]).toEqual([`holdfast@${TEST_HOST}`]);
  });

  test('T-3: each step is scheduled for one attempt, compensation for as many as it takes', () => {
    const unlimited = ['backup.resume', 'backup.release', 'restore.attach', 'restore.release'];
    for (const { summary, attempts, scheduled } of [...activities(history.backup), ...activities(history.restore)]) {
      expect(attempts, summary).toBe(unlimited.includes(summary.split(':')[0] ?? '') ? 0 : 1);
      expect(Number(scheduled.heartbeatTimeout?.seconds), summary).toBe(LIMITS.heartbeatTimeoutMillis / 1000);
    }
  });

  test('T-3: a refusal is not tried again; what it owes is, until it is paid', async () => {
    const refused = makeStore(engine(), 'refused', { hooks: ['quiesce', 'resume'] });
    refused.failHook('quiesce');
    refused.failHook('resume', 2);
    expect((await stopOf(refused.backup())).code).toBe('hook_failed');
    expect(refused.hooksRun()).toEqual(['quiesce', 'resume', 'resume', 'resume']);
    const events = await historyOf(engine(), `holdfast/${refused.name}`);
    expect(activities(events).map(({ summary, attempts }) => [summary.split(':')[0], attempts])).toEqual([
      ['backup.lock', 1],
      ['backup.plan', 1],
      ['backup.quiesce', 1],
      ['settle', 0],
    ]);
    const attempts = events.flatMap((event) => event.activityTaskStartedEventAttributes?.attempt ?? []);
    expect(attempts).toEqual([1, 1, 1, 3]);
  });

  test('T-4: every activity of the history has its step id and title as summary', () => {
    for (const { summary } of [...activities(history.backup), ...activities(history.restore)]) {
      const [id = '', title] = summary.split(': ', 2);
      expect(summary).toBe(`${id}: ${stepTitle(id as StepId)}`);
      expect(title).not.toBe('');
    }
    expect(summaryOf(history.backup[0] as HistoryEvent)).toBe(`backup of ${store.name} for test`);
  });

  test('T-4: runs are found by typed search attributes: store, protocol, backup, outcome and STOP code', async () => {
    const stopped = makeStore(engine(), 'stopped');
    stopped.define({ trees: [{ path: 'absent' }] });
    await stopOf(stopped.backup());
    const queries: readonly (readonly [string, string])[] = [
      [`HoldfastBackupId = '${backup.backupId}' AND HoldfastProtocol = 'backup'`, 'backup COMPLETED'],
      [`HoldfastBackupId = '${backup.backupId}' AND HoldfastProtocol = 'restore'`, 'restore COMPLETED'],
      [
        `HoldfastStore = '${store.name}' AND HoldfastProtocol = 'restore' AND HoldfastOutcome = 'done'`,
        'restore COMPLETED',
      ],
      [
        `HoldfastStore = '${stopped.name}' AND HoldfastStopCode = 'member_missing' AND HoldfastOutcome = 'stopped'`,
        'backup FAILED',
      ],
    ];
    for (const [query, expected] of queries) {
      await eventually(
        query,
        async () => (await list(query)).map(({ type, status }) => `${type} ${status}`).join() === expected,
      );
    }
    const { customAttributes } = await engine().session.client.connection.operatorService.listSearchAttributes({
      namespace: engine().session.namespace,
    });
    expect(SEARCH_ATTRIBUTES.filter((name) => customAttributes?.[name] === undefined)).toEqual([]);
    // INDEXED_VALUE_TYPE_KEYWORD
    expect([...new Set(SEARCH_ATTRIBUTES.map((name) => customAttributes?.[name]))]).toEqual([2]);
  });

  test('T-4: a cancelled run is found by the STOP code cancelled', async () => {
    const stopped = makeStore(engine(), 'cancelled', { hooks: ['quiesce', 'resume'] });
    const hold = stopped.holdHook('quiesce');
    const running = await engine().holdfast.backup(stopped.name, { requestedBy: 'test' });
    await hold.held();
    await running.cancel();
    await stopOf(running.result());
    hold.letGo();
    const query = `HoldfastStore = '${stopped.name}' AND HoldfastOutcome = 'stopped' AND HoldfastStopCode = 'cancelled'`;
    await eventually(query, async () => (await list(query)).length === 1, 5_000);
  });

  test(`T-4: inputs are references: the histories for ${FILES} files stay under 200 events and 100 KiB`, async () => {
    expect(backup.files).toBe(FILES + 1);
    expect(restored.files).toBe(FILES + 1);
    for (const workflowId of [`holdfast/${store.name}`]) {
      for (const events of [history.backup, history.restore]) {
        expect(events.length).toBeLessThan(LIMITS.historyEventsMax);
        expect(JSON.stringify(events)).not.toContain('files/7');
      }
      for (const type of ['backup', 'restore', 'rollback']) {
        const runs = engine().session.client.workflow.list({
          query: `WorkflowId = '${workflowId}' AND WorkflowType = '${type}'`,
        });
        for await (const { runId } of runs) {
          const { raw } = await engine().session.client.workflow.getHandle(workflowId, runId).describe();
          expect(Number(raw.workflowExecutionInfo?.historySizeBytes)).toBeLessThan(LIMITS.historyBytesMax);
        }
      }
    }
  });

  test('T-4: current details show the running step, and a query returns it with what is done', async () => {
    const held = makeStore(engine(), 'shown', { hooks: ['quiesce', 'resume'] });
    const hold = held.holdHook('quiesce');
    const running = held.backup();
    await hold.held();
    const handle = engine().session.client.workflow.getHandle(`holdfast/${held.name}`);
    const metadata = await handle.query<{ readonly currentDetails: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toContain(`**backup** of store \`${held.name}\`: running`);
    expect(metadata.currentDetails).toMatch(/`backup.plan` .*: done in \d+ ms/);
    expect(metadata.currentDetails).toMatch(/`backup.quiesce` .*: \*\*running\*\*/);
    expect(metadata.currentDetails).toMatch(/`backup.snapshot` .*: to come/);
    expect(await handle.query('status')).toMatchObject({
      protocol: 'backup',
      store: held.name,
      outcome: 'running',
      running: 'backup.quiesce',
      done: [{ step: 'backup.lock' }, { step: 'backup.plan' }],
    });
    const [progress] = await engine().holdfast.running(held.name);
    expect(progress?.progress).toMatchObject({ step: 'backup.quiesce' });
    hold.letGo();
    await running;
  });

  test('T-5: the typed client starts, follows and names every protocol', async () => {
    const typed = makeStore(engine(), 'typed');
    const run = await engine().holdfast.backup(typed.name, { requestedBy: 'test' });
    expect(run.workflowId).toBe(`holdfast/${typed.name}`);
    expect(run.url).toMatch(/^http:\/\/.*\/namespaces\/default\/workflows\/holdfast%2Ftyped-\d+\/[0-9a-f-]+\/history$/);
    expect(await run.result()).toMatchObject({ protocol: 'backup', operation: run.operation });
    expect((await engine().holdfast.progress(run.workflowId, run.runId)).status).toBe('COMPLETED');
  });

  /** Starts a workflow with Temporal's own command line and waits for its end. */
  async function started(type: string, workflowId: string, input: string | null): Promise<unknown> {
    const output = await engine().temporal(
      'workflow',
      'start',
      '--type',
      type,
      '--task-queue',
      'holdfast',
      '--workflow-id',
      workflowId,
      ...(input === null ? [] : ['--input', input]),
      '--output',
      'json',
    );
    const { runId } = JSON.parse(output) as { runId: string };
    return engine()
      .session.client.workflow.getHandle(workflowId, runId)
      .result()
      .catch((error: unknown) => Promise.reject(asRefusal(error)));
  }

  const order = (name: string) => ({ operation: randomUUID(), store: name, host: TEST_HOST, requestedBy: 'ops' });

  test('T-5: `temporal workflow start` with a JSON order makes a backup', async () => {
    const ops = makeStore(engine(), 'ops');
    expect(await started('backup', `holdfast/${ops.name}`, JSON.stringify(order(ops.name)))).toMatchObject({
      protocol: 'backup',
      store: ops.name,
      files: 3,
    });
    expect(ops.published()).toHaveLength(1);
    const { operation, ...request } = order(ops.name);
    const { digest } = await ops.plan();
    const asked = JSON.stringify({
      ...request,
      operation,
      source: { kind: 'backup', backup: 'latest' },
      confirm: digest,
      deadlineMillis: 1000,
    });
    expect(await started('request', `holdfast/${ops.name}/request/${operation}`, asked)).toMatchObject({
      protocol: 'restore',
      planDigest: digest,
    });
  });

  const MALFORMED: readonly (readonly [
    string,
    (name: string) => readonly [type: string, workflowId: string, input: string | null],
  ])[] = [
    [
      'without an operation',
      (name) => ['backup', `holdfast/${name}`, JSON.stringify({ ...order(name), operation: undefined })],
    ],
    [
      'whose operation is no UUID',
      (name) => ['backup', `holdfast/${name}`, JSON.stringify({ ...order(name), operation: '1' })],
    ],
    [
      'whose store is a path',
      (name) => ['backup', 'holdfast/etc', JSON.stringify({ ...order(name), store: '../etc' })],
    ],
    ['without a host', (name) => ['backup', `holdfast/${name}`, JSON.stringify({ ...order(name), host: '' })]],
    ['under another workflow id', (name) => ['backup', `backup-of-${name}`, JSON.stringify(order(name))]],
    ['with no input at all', (name) => ['backup', `holdfast/${name}`, null]],
    ['that is a list', (name) => ['backup', `holdfast/${name}`, '[]']],
    ['for a request with no input at all', (name) => ['request', `holdfast/${name}/request/1`, null]],
    [
      'for a request without a deadline',
      (name) => [
        'request',
        `holdfast/${name}/request/2`,
        JSON.stringify({ ...order(name), source: { kind: 'backup', backup: 'latest' }, confirm: null }),
      ],
    ],
    [
      'for a restore under another workflow id',
      (name) => ['restore', `restore-of-${name}`, JSON.stringify(order(name))],
    ],
  ];
  test.each(MALFORMED)('T-5: an order %s ends in STOP usage', async (_what, make) => {
    const ops = makeStore(engine(), 'malformed');
    const before = [await ops.digest(), ops.published()];
    const stop = await stopOf(started(...make(ops.name)));
    expect(stop.code).toBe('usage');
    expect([await ops.digest(), ops.published()]).toEqual(before);
    expect(ops.leftovers()).toEqual([]);
  });

  test('T-5: an execution of a restore that carries no approved plan is approval_missing', async () => {
    const ops = makeStore(engine(), 'unapproved');
    await ops.backup();
    const asked = { ...order(ops.name), source: { kind: 'backup', backup: 'latest' } };
    expect((await stopOf(started('restore', `holdfast/${ops.name}`, JSON.stringify(asked)))).code).toBe(
      'approval_missing',
    );
    expect(ops.leftovers()).toEqual([]);
  });
});
