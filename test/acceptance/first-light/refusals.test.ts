// What is left when something fails: the fence (SM-8), no partial restore (SM-9), and one error model (SM-10).
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, ChildWorkflowFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { recoverStore } from '../../../control/recovery.js';
import { openStoreRoom } from '../../../control/store-room.js';
import type { HookName } from '../../../domain/definition.js';
import { STOPS } from '../../../domain/stop.js';
import { eventually, stopOf, useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { LATEST, makeStore } from '../../support/store.js';

const ALL: readonly HookName[] = ['quiesce', 'resume', 'detach', 'attach', 'caches', 'migrate', 'verify', 'version'];
const VERSION = 'echo \'{"version": "1.0", "modules": []}\'';

describe.skipIf(requires('temporal'))('first light', () => {
  const engine = useEngine();

  test('SM-8: a validation that fails puts the former state back; the fence stands meanwhile, and the application starts after it', async () => {
    const store = makeStore(engine(), 'unproved', { hooks: ['detach', 'attach', 'verify'] });
    await store.backup();
    store.addItem('newer');
    const before = await store.digest();
    const fence = join(store.controlDirectory, 'fence.json');
    const sight = join(store.directory, 'sight');
    // What the application's gate would see at each of its hooks, and what the validation sees of the store
    for (const hook of ['detach', 'verify', 'attach'] as const)
      store.scriptHook(
        hook,
        `echo "${hook} $([ -e '${fence}' ] && echo fenced || echo open)" >> '${sight}'; [ ${hook} != verify ]`,
      );
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['hook'], stop.details['step']]).toEqual([
      'hook_failed',
      'verify',
      'restore.verify',
    ]);
    expect(readFileSync(sight, 'utf8').trim().split('\n')).toEqual(['detach open', 'verify fenced', 'attach open']);
    expect(await store.digest()).toBe(before);
    expect(store.items()).toContain('newer');
    expect(store.leftovers()).toEqual([]);
    expect(store.rollbackPoints()).toEqual([]);
  });

  test('SM-8: where the former state can not be put back the fence stays, both trees are kept, and a backup is refused', async () => {
    const store = makeStore(engine(), 'stuck', { hooks: ['detach', 'attach', 'verify'] });
    await store.backup();
    store.addItem('newer');
    const before = await store.digest();
    // The validation fails, and somebody has replaced the live root by a copy in the meantime: nobody planned that inode
    store.scriptHook(
      'verify',
      `mv '${store.root}' '${store.directory}/aside'; cp -a '${store.directory}/aside' '${store.root}'; exit 1`,
    );
    const running = await store.startRestore();
    const stop = await stopOf(running.result());
    expect([stop.code, stop.details['step']]).toEqual(['undo_failed', 'settle']);
    expect(store.isFenced()).toBe(true);
    expect(store.hooksRun()).toEqual(['detach', 'verify']);
    const tree = join(store.controlDirectory, 'trees', running.operation, 'data');
    expect(readFileSync(join(tree, 'files/one'), 'utf8')).toBe('one');
    expect(existsSync(store.path('a.db'))).toBe(true);
    const refused = await stopOf(store.backup());
    // It says more than `fenced`: the next operation tries to undo as well, and can't either
    expect([refused.code, refused.details['step']]).toEqual(['undo_failed', 'backup.lock']);
    expect(store.isFenced()).toBe(true);
    // A person puts the planned tree back; then recovery finishes its work
    rmSync(store.root, { recursive: true });
    renameSync(join(store.directory, 'aside'), store.root);
    await eventually('no run is open', async () => (await engine().holdfast.running(store.name)).length === 0);
    store.scriptHook('verify', 'true');
    await store.backup();
    expect(await store.digest()).toBe(before);
    expect(store.isFenced()).toBe(false);
    expect(store.leftovers()).toEqual([]);
  });

  test('SM-8: a fence that no operation owes forbids every operation, and recovery does not lift it', async () => {
    const store = makeStore(engine(), 'fenced');
    await store.backup();
    writeFileSync(
      join(store.controlDirectory, 'fence.json'),
      '{"operation": "somebody", "protocol": "restore", "since": "then"}',
    );
    const stop = await stopOf(store.backup());
    expect([stop.code, STOPS[stop.code].exit]).toEqual(['fenced', 78]);
    expect((await stopOf(store.restore())).code).toBe('fenced');
    const room = await openStoreRoom(engine().definitionsDirectory, store.name);
    expect((await stopOf(recoverStore(room, 'test'))).code).toBe('fenced');
    expect(store.isFenced()).toBe(true);
    rmSync(join(store.controlDirectory, 'fence.json'));
    await store.backup();
  });

  const FAILING: readonly (readonly [HookName, string, readonly string[]])[] = [
    ['version', 'restore.gates', ['version']],
    ['detach', 'restore.detach', ['version', 'detach', 'attach']],
    ['migrate', 'restore.rebuild', ['version', 'detach', 'migrate', 'attach']],
    ['caches', 'restore.rebuild', ['version', 'detach', 'migrate', 'caches', 'attach']],
    ['verify', 'restore.verify', ['version', 'detach', 'migrate', 'caches', 'verify', 'attach']],
  ];
  test.each(FAILING)(
    'SM-9: hook %s fails in %s: the store is the old one, the application goes on, nothing is left',
    async (hook, step, ran) => {
      const store = makeStore(engine(), 'failing', { hooks: ALL });
      store.scriptHook('version', VERSION);
      await store.backup();
      store.addItem('newer');
      store.hooksRun();
      const before = [await store.digest(), store.epochCounter()];
      store.failHook(hook);
      const stop = await stopOf(store.restore());
      expect([stop.code, stop.details['hook'], stop.details['step']]).toEqual(['hook_failed', hook, step]);
      expect(stop.details['lastOutput']).toBe('told to fail\n');
      expect(store.hooksRun()).toEqual(ran);
      const epoch = store.epochCounter();
      expect(await store.digest()).toBe(before[0]);
      // An exchange that was undone has been an exchange: whoever follows the store learns of it
      expect(epoch).toBe(['restore.rebuild', 'restore.verify'].includes(step) ? 1 : 0);
      expect(store.leftovers()).toEqual([]);
      expect(store.rollbackPoints()).toEqual([]);
      // The same restore passes once the hook does
      store.mendHook(hook);
      await store.restore();
      expect(store.items()).toEqual(['one', 'two', 'three']);
    },
  );

  test('SM-9: hook attach fails after the commit: it is tried again until the application runs, and the restore stands', async () => {
    const store = makeStore(engine(), 'slow', { hooks: ['detach', 'attach'] });
    await store.backup();
    store.addItem('newer');
    store.failHook('attach', 2);
    await store.restore();
    expect(store.hooksRun()).toEqual(['detach', 'attach', 'attach', 'attach']);
    expect(store.items()).toEqual(['one', 'two', 'three']);
  });

  test('SM-9: hooks quiesce and resume fail: a backup leaves nothing, or comes about once the application goes on', async () => {
    const store = makeStore(engine(), 'paused', { hooks: ['quiesce', 'resume'] });
    store.failHook('quiesce', 1);
    expect((await stopOf(store.backup())).code).toBe('hook_failed');
    expect(store.published()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
    expect(store.hooksRun()).toEqual(['quiesce', 'resume']);
    store.failHook('resume', 1);
    // Asked for at the instant of the cut, and refused: the backup ends, but the application goes on first
    const ended = await store.backup().catch((error: unknown) => error);
    expect(store.hooksRun().at(-1)).toBe('resume');
    expect(ended).toMatchObject({ code: 'hook_failed', details: { hook: 'resume' } });
    expect(store.leftovers()).toEqual([]);
    await store.backup();
    expect(store.published()).toHaveLength(1);
  });

  test('SM-9: an artefact that is altered between plan and deed is refused before the live store is touched', async () => {
    const store = makeStore(engine(), 'altered', { hooks: ['detach', 'attach', 'version'] });
    store.scriptHook('version', VERSION);
    const { artefact } = await store.backup();
    store.addItem('newer');
    const before = await store.digest();
    for (const [path, content] of [
      ['data/data/files/one', 'eno'],
      ['data/data/a.db', 'short'],
      ['data/data/files/deep/two', 'owt'],
    ] as const) {
      const kept = readFileSync(join(artefact, path));
      writeFileSync(join(artefact, path), content);
      store.hooksRun();
      const stop = await stopOf(store.restore());
      expect([stop.code, stop.details['step']]).toEqual(['checksum_mismatch', 'restore.stage']);
      expect(store.hooksRun()).toEqual([]);
      expect(await store.digest()).toBe(before);
      expect(store.leftovers()).toEqual([]);
      writeFileSync(join(artefact, path), kept);
    }
    await store.restore();
  });

  test('SM-9: a destination that can not be written to leaves no part of a backup', async () => {
    const store = makeStore(engine(), 'blocked');
    writeFileSync(store.destination, 'a file where the directory should be');
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['step']]).toEqual(['target_exists', 'backup.plan']);
    rmSync(store.destination);
    mkdirSync(store.destination);
    await store.backup();
    expect(store.published()).toHaveLength(1);
  });

  test('SM-10: the failure of a run is the STOP: its code as type, and code, message, exit, safe, remedy and details', async () => {
    const store = makeStore(engine(), 'model', { hooks: ['detach', 'attach', 'verify'] });
    store.define({ trees: [{ path: 'absent' }] });
    const run = await engine().holdfast.backup(store.name, { requestedBy: 'test' });
    const failure: unknown = await engine()
      .session.client.workflow.getHandle(run.workflowId, run.runId)
      .result()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    const { cause } = failure as WorkflowFailedError;
    expect(cause).toBeInstanceOf(ApplicationFailure);
    const { type, details, nonRetryable } = cause as ApplicationFailure;
    const { exit, safe, remedy } = STOPS.member_missing;
    expect([type, nonRetryable]).toEqual(['member_missing', true]);
    expect(details).toEqual([
      {
        code: 'member_missing',
        message: 'tree absent does not exist',
        exit,
        safe,
        remedy,
        details: {
          root: 'data',
          path: 'absent',
          step: 'backup.plan',
          settled: 'ended',
          hooksRun: [],
          stagingDropped: 0,
        },
      },
    ]);
    expect(await stopOf(run.result())).toMatchObject({
      code: 'member_missing',
      message: 'tree absent does not exist',
      details: { step: 'backup.plan' },
    });
  });

  test('SM-10: a request ends with the STOP of its execution, unwrapped', async () => {
    const store = makeStore(engine(), 'unwrapped', { hooks: ['detach', 'attach', 'verify'] });
    await store.backup();
    store.failHook('verify');
    const { digest } = await store.plan();
    const run = await engine().holdfast.restore(store.name, LATEST, digest, { requestedBy: 'test' });
    const failure: unknown = await engine()
      .session.client.workflow.getHandle(run.workflowId, run.runId)
      .result()
      .catch((error: unknown) => error);
    const { cause } = failure as WorkflowFailedError;
    expect(cause).not.toBeInstanceOf(ChildWorkflowFailure);
    expect((cause as ApplicationFailure).type).toBe('hook_failed');
    expect((cause as ApplicationFailure).details).toMatchObject([
      { code: 'hook_failed', exit: 78, details: { hook: 'verify', step: 'restore.verify' } },
    ]);
  });
});
