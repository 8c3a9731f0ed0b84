// What happens between two steps: somebody comes after the look, a cut is taken again, a run is reset, another store's
// definition breaks, the disk is full. Clauses SM-1, SM-8, SM-9, T-3, P-18.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { acquireLock, journal } from '../../control/lock.js';
import { recoverStore, settleOperation } from '../../control/recovery.js';
import { withControlDatabase } from '../../control/control-database.js';
import { roomOf } from '../../control/store-room.js';
import { executionId } from '../../domain/names.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import { claimant, saysRun } from '../control/room.js';
import { eventually, historyOf, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';

/** Shell that does something in the background as soon as the fence is up, when everybody has been looked for. */
function behindTheFence(store: TestStore, deed: string): string {
  return `(while [ ! -e '${store.controlDirectory}/fence.json' ]; do sleep 0.01; done; ${deed}) </dev/null >/dev/null 2>&1 &`;
}

describe.skipIf(requires('temporal'))('between two steps', () => {
  const engine = useEngine();

  test('restore.exchange: who came after everybody was looked for is in use', async () => {
    const store = makeStore(engine(), 'comes-late');
    await store.backup();
    const before = await store.digest();
    store.scriptHook('detach', behindTheFence(store, `exec 8< '${store.path('files/one')}'; exec sleep 15`));
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['store_in_use', 'restore.exchange']);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.exchange: what was written after it was compared is not replaced', async () => {
    const store = makeStore(engine(), 'written-late');
    await store.backup();
    store.scriptHook('detach', behindTheFence(store, `printf late >> '${store.path('files/one')}'`));
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['plan_stale', 'restore.exchange']);
    expect(store.read('files/one')).toBe('onelate');
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.exchange: a key that was renewed after it was carried over is the one that the new store has', async () => {
    const store = makeStore(engine(), 'renewed', {
      files: { 'files/one': 'one', 'tls/key': 'old key', 'tls/old': 'expired', 'app.log': 'log' },
    });
    await store.backup();
    store.write('files/one', 'newer');
    const renewed = join(store.directory, 'renewed');
    const added = join(store.directory, 'added');
    for (const path of [renewed, added]) writeFileSync(path, 'new key');
    const linked = `${store.controlDirectory}/trees/*/data/tls/old`;
    store.scriptHook(
      'detach',
      behindTheFence(
        store,
        `while [ ! -e ${linked} ]; do sleep 0.01; done
         mv -T '${renewed}' '${store.path('tls/key')}'; mv -T '${added}' '${store.path('tls/added')}'
         rm '${store.path('tls/old')}'; mv -T '${store.path('app.log')}' '${store.path('app.log.1')}'`,
      ),
    );
    await store.restore();
    expect(store.read('files/one')).toBe('one');
    expect(readdirSync(store.path('tls')).sort()).toEqual(['added', 'key']);
    expect([store.read('tls/key'), store.read('tls/added'), store.read('app.log.1')]).toEqual([
      'new key',
      'new key',
      'log',
    ]);
    expect(existsSync(store.path('app.log'))).toBe(false);
    expect(store.leftovers()).toEqual([]);
    // What was replaced comes back with the files of now, too
    store.scriptHook('detach', '');
    await store.rollback();
    expect([store.read('files/one'), store.read('tls/key')]).toEqual(['newer', 'new key']);
    expect(readdirSync(store.path('tls')).sort()).toEqual(['added', 'key']);
  });

  test('backup.snapshot: a cut that is taken again is taken while the application holds still again', async () => {
    const store = makeStore(engine(), 'again', { hooks: ['quiesce', 'resume'] });
    // As soon as it may go on it writes, once: the first cut fails
    store.scriptHook('resume', `[ -e wrote ] || { : > wrote; printf more >> '${store.path('files/one')}'; }`);
    const { cut } = await store.backup();
    expect(cut.cutTries).toBe(2);
    expect(store.hooksRun()).toEqual(['quiesce', 'resume', 'quiesce', 'resume']);
  });

  test('settle: the application goes on although the definition of another store has broken meanwhile', async () => {
    const store = makeStore(engine(), 'neighbour', { hooks: ['detach', 'attach', 'verify'] });
    await store.backup();
    const broken = join(engine().definitionsDirectory, 'broken.yaml');
    onTestFinished(() => rmSync(broken, { force: true }));
    store.scriptHook('verify', `printf '{' > '${broken}'; exit 1`);
    const stop = await stopOf(store.restore());
    expect(stop.code).toBe('hook_failed');
    expect(store.hooksRun()).toEqual(['detach', 'verify', 'attach']);
  });

  test('restore.exchange: a run that is reset to before its exchange does not exchange again', async () => {
    const store = makeStore(engine(), 'reset', { hooks: ['detach', 'attach', 'verify'] });
    await store.backup();
    store.addItem('newer');
    const before = await store.digest();
    const verify = store.holdHook('verify');
    await store.startRestore();
    await verify.held();
    expect(await store.digest()).not.toBe(before);
    const id = executionId(store.name);
    const events = await historyOf(engine(), id);
    const scheduled = events.findIndex(
      ({ activityTaskScheduledEventAttributes: activity }) => activity?.activityType?.name === 'exchange',
    );
    const task = events
      .slice(0, scheduled)
      .findLast(({ workflowTaskCompletedEventAttributes: completed }) => completed !== null && completed !== undefined);
    await engine().temporal(
      'workflow',
      'reset',
      '--workflow-id',
      id,
      '--event-id',
      String(task?.eventId),
      '--reason',
      'a test',
    );
    const handle = engine().session.client.workflow.getHandle(id);
    await eventually('the new run has ended', async () => (await handle.describe()).status.name !== 'RUNNING');
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'lock_lost' } });
    verify.letGo();
    // The lock is that of a run which is closed now: whoever comes next puts the old state back
    await store.backup();
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });
});

describe.skipIf(requires('mount'))('a disk that is full of what settling would remove', () => {
  async function fullRoom(hooks: Record<string, string>) {
    const disk = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', disk]);
    onTestFinished(() => {
      execFileSync('umount', ['-l', disk]);
      rmSync(disk, { recursive: true });
    });
    const root = join(disk, 'live');
    mkdirSync(root);
    const room = await roomOf(
      toStoreDefinition(
        storeDefinitionSchema.parse({
          holdfast: 1,
          store: 'full',
          roots: { data: { path: root, trees: [{ path: '.' }] } },
          backup: { destination: join(disk, 'backups') },
          hooks: Object.fromEntries(
            Object.entries(hooks).map(([name, script]) => [name, { argv: ['/bin/sh', '-c', script] }]),
          ),
        }),
      ),
    );
    const given = claimant();
    const grant = await acquireLock(room, given, saysRun('unknown'));
    const staging = join(room.controlDirectory, 'trees', given.operation);
    await journal(room, grant, { event: 'staging', directories: [staging] });
    await journal(room, grant, { event: 'quiescing' });
    mkdirSync(staging, { recursive: true });
    expect(() => {
      for (let index = 0; ; index += 1) writeFileSync(join(staging, String(index)), Buffer.alloc(4096));
    }).toThrow('ENOSPC');
    return { room, given, staging };
  }

  test('does not keep the application from going on, nor the lock from being released', async () => {
    const resumed = join(tmpdir(), `holdfast-resumed-${randomUUID()}`);
    onTestFinished(() => rmSync(resumed, { force: true }));
    const { room, given, staging } = await fullRoom({ quiesce: 'true', resume: `: > '${resumed}'` });
    await settleOperation(room, given.operation, given.runId, 'stopped');
    expect([existsSync(resumed), existsSync(staging)]).toEqual([true, false]);
    expect(await withControlDatabase(room.controlDirectory, (database) => database.lock().owner)).toBe(null);
    // The next lock puts the reserve back
    await acquireLock(room, claimant(), saysRun('unknown'));
    expect(readdirSync(room.controlDirectory)).toContain('ballast');
  });

  test('and without the reserve it is no_space, not a defect', async () => {
    const { room, given } = await fullRoom({ quiesce: 'true', resume: 'true' });
    rmSync(join(room.controlDirectory, 'ballast'));
    writeFileSync(join(room.controlDirectory, 'more'), Buffer.alloc(400_000));
    expect(() => {
      for (let index = 0; ; index += 1) writeFileSync(join(room.controlDirectory, `more-${index}`), Buffer.alloc(4096));
    }).toThrow('ENOSPC');
    expect((await stopOf(settleOperation(room, given.operation, given.runId, 'stopped'))).code).toBe('no_space');
  });
});

test('recovery does not spend the reserve of an operation that lives', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-review-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'live'));
  const room = await roomOf(
    toStoreDefinition(
      storeDefinitionSchema.parse({
        holdfast: 1,
        store: 'lives',
        roots: { data: { path: join(directory, 'live'), trees: [{ path: '.' }] } },
        backup: { destination: join(directory, 'backups') },
      }),
    ),
  );
  await acquireLock(room, claimant(), saysRun('unknown'));
  expect((await stopOf(recoverStore(room, 'test'))).code).toBe('store_locked');
  expect(readdirSync(room.controlDirectory)).toContain('ballast');
});
