// The request of a restore: what a plan says, that only its very digest approves it, and that the execution holds what
// it finds against what was approved. Clauses F-29, F-30.
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { nameDatabases } from '../../activities/measure.js';
import { asRefusal } from '../../client/protocols.js';
import { canonicalJson } from '../../domain/canonical.js';
import { WORKFLOW_QUEUE, requestId } from '../../domain/names.js';
import type { RequestOrder } from '../../domain/protocol.js';
import { TEST_HOST, eventually, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST, LATEST_POINT, makeStore, sql } from '../support/store.js';
import type { TestStore } from '../support/store.js';

interface Status {
  readonly outcome: string;
  readonly planDigest: string | null;
}

describe.skipIf(requires('temporal'))('request', () => {
  const engine = useEngine();

  /** A request that nobody has approved yet, waiting. */
  async function waiting(
    store: TestStore,
    order: Partial<RequestOrder> = {},
  ): Promise<{ readonly handle: WorkflowHandle; readonly digest: string; readonly result: Promise<unknown> }> {
    const operation = randomUUID();
    const args: [RequestOrder] = [
      {
        operation,
        store: store.name,
        host: TEST_HOST,
        requestedBy: 'test',
        source: LATEST,
        confirm: null,
        deadlineMillis: 60_000,
        ...order,
      },
    ];
    const handle = await engine().session.client.workflow.start('request', {
      taskQueue: WORKFLOW_QUEUE,
      workflowId: requestId(store.name, operation),
      args,
    });
    const status = await eventually('the request waits', async () => {
      const found = await handle.query<Status>('status');
      return found.outcome === 'waiting' && found;
    });
    const result = handle.result().catch((error: unknown) => Promise.reject(asRefusal(error)));
    result.catch((error: unknown) => error);
    return { handle, digest: status.planDigest ?? '', result };
  }

  const confirm = (handle: WorkflowHandle, planDigest: string): Promise<unknown> =>
    handle.executeUpdate('confirm', { args: [{ planDigest, by: 'somebody' }] });

  test('request.plan: the same facts give the same plan and digest, and nothing is changed by planning', async () => {
    const store = makeStore(engine(), 'same');
    await store.backup();
    store.addItem('newer');
    const before = await store.digest();
    const [first, second] = [await store.plan(), await store.plan()];
    expect(second).toEqual(first);
    expect(first.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
    sql(store.path('a.db'), 'DELETE FROM item WHERE id = 1');
    store.write('files/newer', 'newer');
    expect((await store.plan()).digest).not.toBe(first.digest);
  });

  test('request.plan: the bounds cover rows, files and what is carried over, rounded up', async () => {
    const store = makeStore(engine(), 'bounds', { files: { 'files/one': 'one', outside: 'x' } });
    // Files are stamped by a coarser clock than the cut's
    await delay(50);
    await store.backup();
    expect((await store.plan()).plan.bounds).toEqual({
      rowsFewerMax: 0,
      databasesChanged: nameDatabases([]),
      filesNewerMax: 0,
      filesCarriedOverMax: 10,
      databasesUnreadable: nameDatabases([]),
    });
    sql(store.path('a.db'), 'INSERT INTO item (v) SELECT 1 FROM item, item AS b, item AS c');
    store.write('files/one', 'another');
    const { plan } = await store.plan();
    expect(plan.bounds).toEqual({
      rowsFewerMax: 100,
      databasesChanged: nameDatabases(['data/a.db']),
      filesNewerMax: 10,
      filesCarriedOverMax: 10,
      databasesUnreadable: nameDatabases([]),
    });
    expect(plan.sentence).toContain('tables shrink by at most 100 rows in all; any row may be newer in data/a.db');
    expect(plan).toMatchObject({
      protocol: 'restore',
      store: store.name,
      host: TEST_HOST,
      roots: [{ root: 'data', path: store.root, mode: 'root' }],
      hooks: ['attach', 'detach'],
    });
  });

  test('request.plan: rows that were changed in place count as their database, and only since the backup', async () => {
    const store = makeStore(engine(), 'updated', {
      contents: { 'a.db': ITEMS, 'b.db': ITEMS },
      databases: [{ path: '*.db' }],
    });
    await delay(50);
    await store.backup();
    const untouched = await store.plan();
    expect(untouched.plan.sentence).toContain('no database was written to since');
    sql(store.path('b.db'), "UPDATE item SET v = 'changed'");
    const changed = await store.plan();
    expect(changed.plan.bounds).toMatchObject({ rowsFewerMax: 0, databasesChanged: { first: ['data/b.db'] } });
    const stale = await engine().holdfast.restore(store.name, LATEST, untouched.digest, { requestedBy: 'test' });
    expect((await stopOf(stale.result())).code).toBe('plan_stale');
    expect(store.items('b.db')).toEqual(['changed', 'changed', 'changed']);
  });

  test('request.approve: the digest of another plan is approval_mismatch, and nothing is started', async () => {
    const store = makeStore(engine(), 'wrong');
    await store.backup();
    const before = await store.digest();
    const run = await engine().holdfast.restore(store.name, LATEST, 'f'.repeat(64), { requestedBy: 'test' });
    expect((await stopOf(run.result())).code).toBe('approval_mismatch');
    expect(await store.digest()).toBe(before);
    expect(store.hooksRun()).toEqual([]);
  });

  test('request.approve, request.execute: a waiting request refuses a wrong confirmation, goes on waiting, and acts on the right one', async () => {
    const store = makeStore(engine(), 'waits');
    await store.backup();
    store.addItem('newer');
    const { handle, digest, result } = await waiting(store);
    const refusal: unknown = await confirm(handle, 'f'.repeat(64)).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(WorkflowUpdateFailedError);
    const { cause } = refusal as WorkflowUpdateFailedError;
    expect(cause instanceof ApplicationFailure && cause.type).toBe('approval_mismatch');
    expect((await handle.query<Status>('status')).outcome).toBe('waiting');
    expect(store.items()).toHaveLength(4);
    // Nothing is held while people think: a backup goes on
    await store.backup();
    const second = await waiting(store, { source: LATEST });
    await second.handle.cancel();
    expect((await stopOf(second.result)).code).toBe('cancelled');
    await confirm(handle, digest);
    expect(await result).toMatchObject({ protocol: 'restore', planDigest: digest });
    expect(store.items()).toHaveLength(3);
  });

  test('request.approve: a plan that nobody approves in time is approval_expired', async () => {
    const store = makeStore(engine(), 'late');
    await store.backup();
    const { result } = await waiting(store, { deadlineMillis: 1_500 });
    expect((await stopOf(result)).code).toBe('approval_expired');
    expect(store.hooksRun()).toEqual([]);
  });

  test.each([
    [
      'rows',
      (store: TestStore) =>
        sql(
          store.path('a.db'),
          "INSERT INTO item (v) VALUES ('1'), ('2'), ('3'), ('4'), ('5'), ('6'), ('7'), ('8'), ('9'), ('10'), ('11')",
        ),
    ],
    ['files', (store: TestStore) => Array.from({ length: 11 }, (_, index) => store.write(`files/${index}`, ''))],
    ['files outside the members', (store: TestStore) => store.write('outside', '')],
    ['a database that can not be read any more', (store: TestStore) => store.write('a.db', 'destroyed')],
    ['another policy', (store: TestStore) => store.define({ hooks: ['detach', 'attach', 'caches'] })],
    ['another manifest', () => undefined],
  ] as const)('restore.plan: more than was approved, %s, is plan_stale', async (what, change) => {
    const store = makeStore(engine(), 'stale');
    const { artefact } = await store.backup();
    store.addItem('one more than in the backup');
    store.write('files/newer', 'newer');
    const { handle, digest, result } = await waiting(store);
    change(store);
    if (what === 'another manifest') {
      execFileSync('sed', ['-i', 's/"createdBy":"test"/"createdBy":"tess"/', `${artefact}/manifest.json`]);
    }
    const before = await store.digest();
    await confirm(handle, digest);
    const stop = await stopOf(result);
    expect([stop.code, stop.details['step']]).toEqual(['plan_stale', 'restore.plan']);
    expect(await store.digest()).toBe(before);
    expect(store.hooksRun()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.plan: fewer than was approved holds, and `latest` is what it was when it was approved', async () => {
    const store = makeStore(engine(), 'fewer');
    const { backupId } = await store.backup();
    store.addItem('newer');
    const { handle, digest, result } = await waiting(store);
    await store.backup();
    store.addItem('and one more, within the bound');
    await confirm(handle, digest);
    await result;
    expect(store.items()).toHaveLength(3);
    expect((await store.plan({ kind: 'backup', backup: backupId })).plan.source.id).toBe(backupId);
  });

  test('request.execute: while another operation runs the request ends as store_locked', async () => {
    const store = makeStore(engine(), 'busy', { hooks: ['quiesce', 'resume', 'detach', 'attach'] });
    await store.backup();
    const { handle, digest, result } = await waiting(store);
    const hold = store.holdHook('quiesce');
    const running = store.backup();
    await hold.held();
    await confirm(handle, digest);
    expect((await stopOf(result)).code).toBe('store_locked');
    hold.letGo();
    await running;
  });

  test('request.plan: a plan that another version has kept is plan_stale once it is confirmed, and a new one is not', async () => {
    const store = makeStore(engine(), 'older');
    await store.backup();
    const { plan, digest } = await store.plan();
    // As before plans said which hooks there are
    const older = canonicalJson({ ...plan, hooks: undefined });
    const olderDigest = createHash('sha256').update(older).digest('hex');
    writeFileSync(join(store.controlDirectory, 'plans', `${olderDigest}.json`), older);
    const options = { requestedBy: 'test' };
    const run = await engine().holdfast.restore(store.name, LATEST, olderDigest, options);
    const stop = await stopOf(run.result());
    expect([stop.code, stop.details['key'], stop.details['step']]).toEqual(['plan_stale', 'hooks', 'request.plan']);
    expect(store.hooksRun()).toEqual([]);
    await (await engine().holdfast.restore(store.name, LATEST, digest, options)).result();
  });

  test('request.plan: a source that is none, and one that is not there, are usage, artefact_missing and rollback_missing', async () => {
    const store = makeStore(engine(), 'none');
    expect((await stopOf(store.plan({ kind: 'neither' } as never))).code).toBe('usage');
    expect((await stopOf(store.plan())).code).toBe('artefact_missing');
    expect((await stopOf(store.plan(LATEST_POINT))).code).toBe('rollback_missing');
  });
});
