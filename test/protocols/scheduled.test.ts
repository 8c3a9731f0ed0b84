// Schedules on the real server: made from definitions, fired by the clock, and never two operations of one store at once.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { applySchedules } from '../../client/schedules.js';
import type { ScheduleChange } from '../../client/schedules.js';
import { schedulesOf } from '../../definitions/cron.js';
import { loadDefinitions } from '../../definitions/load.js';
import { executionId, scheduleId } from '../../domain/names.js';
import type { ScheduledReport } from '../../domain/protocol.js';
import { jsonLines, run } from '../cli/room.js';
import type { Ended } from '../cli/room.js';
import { TEST_HOST, eventually, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';

const NEVER = '0 4 29 2 *';
const EVERY_OTHER_SECOND = '*/2 * * * * *';

describe.skipIf(requires('temporal'))('a schedule', () => {
  const engine = useEngine();
  const wanted = async () => schedulesOf(await loadDefinitions(engine().definitionsDirectory));
  const apply = async (dryRun = false): Promise<readonly ScheduleChange[]> =>
    applySchedules(engine().session.client, await wanted(), { host: TEST_HOST, dryRun, removes: true });
  const changesOf = (changes: readonly ScheduleChange[], store: TestStore): string[] =>
    changes.filter(({ id }) => id.startsWith(`holdfast/${store.name}/`)).map(({ id, change }) => `${change} ${id}`);
  const holdfast = (...argv: readonly string[]): Promise<Ended> => run(engine().environment, ...argv);
  const handleOf = (store: TestStore, protocol = 'backup') =>
    engine().session.client.schedule.getHandle(scheduleId(store.name, protocol));

  /** The runs that the schedule has started, by their results; those that are open are waited for. */
  async function runsOf(store: TestStore, protocol = 'backup'): Promise<ScheduledReport[]> {
    const { info } = await handleOf(store, protocol).describe();
    return Promise.all(
      info.recentActions.map(
        ({ action: { workflow } }) =>
          engine().session.client.workflow.getHandle(workflow.workflowId).result() as Promise<ScheduledReport>,
      ),
    );
  }

  test('is made, left alone where it is as defined, updated with the difference, and removed with its definition', async () => {
    const store = makeStore(engine(), 'applied', { schedules: { backup: { cron: '15 2 * * 1-5' } } });
    const id = scheduleId(store.name, 'backup');
    expect(changesOf(await apply(true), store)).toEqual([`create ${id}`]);
    expect(changesOf(await apply(), store)).toEqual([`create ${id}`]);
    expect(changesOf(await apply(), store)).toEqual([`none ${id}`]);
    const made = await handleOf(store).describe();
    expect(made).toMatchObject({
      policies: { overlap: 'SKIP', catchupWindow: 3_600_000, pauseOnFailure: false },
      action: { workflowType: 'scheduled', taskQueue: 'holdfast', args: [{ store: store.name, start: 'backup' }] },
    });
    store.define({
      schedules: { backup: { cron: '30 3 * * *', timeZone: 'Europe/Berlin', jitterSeconds: 60, catchUpSeconds: 120 } },
    });
    const [update] = (await apply(true)).filter(({ change }) => change === 'update');
    expect(Object.fromEntries(update?.differences.map(({ what, from, to }) => [what, [from, to]]) ?? [])).toEqual({
      cron: ['15 2 * * 1-5', '30 3 * * *'],
      instants: [expect.any(String), expect.any(String)],
      'time zone': ['UTC', 'Europe/Berlin'],
      jitter: ['0 s', '60 s'],
      'catch up': ['3600 s', '120 s'],
    });
    expect((await handleOf(store).describe()).spec.timezone).toBe('UTC');
    expect(changesOf(await apply(), store)).toEqual([`update ${id}`]);
    expect(changesOf(await apply(), store)).toEqual([`none ${id}`]);
    store.forget();
    expect(changesOf(await apply(), store)).toEqual([`remove ${id}`]);
    expect(changesOf(await apply(), store)).toEqual([]);
  });

  test('that somebody changed in the engine is changed back: its instants, its policies, what it starts', async () => {
    const store = makeStore(engine(), 'drifted', { schedules: { backup: { cron: NEVER } } });
    await apply();
    await handleOf(store).update((present) => ({
      ...present,
      spec: { ...present.spec, calendars: [{ hour: 1, comment: NEVER }] },
      action: { ...present.action, args: [{ store: 'another', host: TEST_HOST, requestedBy: 'me', start: 'backup' }] },
      policies: { ...present.policies, overlap: 'ALLOW_ALL' },
    }));
    const differences = (await apply()).flatMap((change) => (change.change === 'update' ? change.differences : []));
    expect(differences.map(({ what }) => what).sort()).toEqual(['action', 'instants', 'overlap']);
    expect(differences.find(({ what }) => what === 'action')?.from).toContain('"store":"another"');
    expect(changesOf(await apply(), store)).toEqual([`none ${scheduleId(store.name, 'backup')}`]);
  });

  test('of another host is refused by its name, whatever is to be done to it, and left alone', async () => {
    const store = makeStore(engine(), 'elsewhere', { schedules: { backup: { cron: NEVER } } });
    const { client } = engine().session;
    await applySchedules(client, await wanted(), { host: 'another-host', dryRun: false, removes: false });
    const before = await handleOf(store).describe();
    expect(await stopOf(apply())).toMatchObject({ code: 'schedule_foreign', details: { owner: 'another-host' } });
    for (const deed of ['run', 'pause', 'resume'])
      expect(await holdfast('schedule', deed, store.name, 'backup')).toMatchObject({
        status: 78,
        stderr: expect.stringContaining('STOP schedule_foreign: '),
      });
    store.forget();
    expect(changesOf(await apply(), store)).toEqual([]);
    const after = await handleOf(store).describe();
    expect([after.action, after.state]).toEqual([before.action, before.state]);
    await handleOf(store).delete();
  });

  test('that no definition names any more is removed only with --confirm', async () => {
    const store = makeStore(engine(), 'removed', { schedules: { backup: { cron: NEVER } } });
    await apply();
    store.forget();
    const refused = await holdfast('schedule', 'apply');
    expect(refused).toMatchObject({ status: 77, stderr: expect.stringContaining('STOP approval_missing: ') });
    expect(refused.stdout).toContain(`- holdfast/${store.name}/schedule/backup\n`);
    expect(await handleOf(store).describe()).toMatchObject({ state: { paused: false } });
    expect(await holdfast('schedule', 'apply', '--confirm')).toMatchObject({ status: 0 });
    expect(changesOf(await apply(), store)).toEqual([]);
  });

  test('T-6: fires by the clock, and each run is a backup in the history of the store', async () => {
    const store = makeStore(engine(), 'fires', { schedules: { backup: { cron: EVERY_OTHER_SECOND } } });
    await apply();
    await eventually('two backups were made', () => store.published().filter((name) => !name.startsWith('.'))[1]);
    await handleOf(store).pause('enough');
    const [report] = await runsOf(store);
    expect(report).toEqual({
      protocol: 'scheduled',
      store: store.name,
      started: 'backup',
      workflowId: executionId(store.name),
      skippedBecause: null,
    });
    store.forget();
    await apply();
  });

  test('is a recorded skip while another operation of the store is at work, and changes nothing', async () => {
    const store = makeStore(engine(), 'overlaps', {
      hooks: ['quiesce', 'resume'],
      schedules: { backup: { cron: NEVER } },
    });
    await apply();
    const hook = store.holdHook('quiesce');
    const backup = store.backup();
    await hook.held();
    expect(await holdfast('schedule', 'run', store.name, 'backup')).toMatchObject({ status: 0 });
    await eventually(
      'the schedule has started a run',
      async () => (await handleOf(store).describe()).info.recentActions[0],
    );
    expect(await runsOf(store)).toMatchObject([
      { started: 'backup', skippedBecause: `another operation of store ${store.name} was running` },
    ]);
    const skipped = await eventually('the skip can be searched for', async () => {
      for await (const found of engine().session.client.workflow.list({
        query: `HoldfastStore = '${store.name}' AND HoldfastOutcome = 'skipped'`,
      }))
        return found;
      return null;
    });
    expect(skipped).toMatchObject({ type: 'scheduled', status: { name: 'COMPLETED' } });
    expect(await engine().session.client.workflow.getHandle(skipped.workflowId).query('status')).toMatchObject({
      running: 'scheduled.start',
      outcome: 'skipped',
    });
    hook.letGo();
    await backup;
    expect(store.published()).toHaveLength(1);
    expect(store.leftovers()).toEqual([]);
  });

  test('of a verification verifies the newest backup; without one its run stops, and the next is not held back', async () => {
    const store = makeStore(engine(), 'verified', { schedules: { verify: { cron: NEVER } } });
    await apply();
    await holdfast('schedule', 'run', store.name, 'verify');
    const first = await eventually(
      'a run',
      async () => (await handleOf(store, 'verify').describe()).info.recentActions[0],
    );
    const { workflowId } = first.action.workflow;
    await expect(engine().session.client.workflow.getHandle(workflowId).result()).rejects.toMatchObject({
      cause: { type: 'artefact_missing' },
    });
    await store.backup();
    await holdfast('schedule', 'run', store.name, 'verify');
    await eventually('another run', async () => (await handleOf(store, 'verify').describe()).info.recentActions[1]);
    const last = (await handleOf(store, 'verify').describe()).info.recentActions.at(-1);
    expect(
      await engine()
        .session.client.workflow.getHandle(last?.action.workflow.workflowId ?? '')
        .result(),
    ).toMatchObject({ started: 'verify', skippedBecause: null });
  });

  test('that a person paused stays paused when it is updated, until it is resumed', async () => {
    const store = makeStore(engine(), 'paused', { schedules: { backup: { cron: NEVER } } });
    expect(await holdfast('schedule', 'apply', '--confirm')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('+ holdfast/'),
    });
    expect((await holdfast('schedule', 'pause', store.name, 'backup')).stdout).toBe(
      `the backup schedule of ${store.name} is paused\n`,
    );
    store.define({ schedules: { backup: { cron: '0 5 29 2 *' } } });
    const applied = await holdfast('schedule', 'apply');
    expect(applied.stdout).toContain(`~ holdfast/${store.name}/schedule/backup\n    cron: ${NEVER} -> 0 5 29 2 *\n`);
    const listed = jsonLines(await holdfast('schedule', 'list', '--json'));
    expect(listed.lines.find((line) => line['store'] === store.name)).toMatchObject({
      type: 'schedule',
      protocol: 'backup',
      paused: true,
      note: expect.stringMatching(/^pause by /),
      next: null,
    });
    await holdfast('schedule', 'resume', store.name, 'backup');
    expect((await holdfast('schedule', 'list')).stdout).toMatch(
      new RegExp(`^${store.name} +backup +\\d{4}-02-29T05:00:00\\.000Z +- +0 +0 +active$`, 'm'),
    );
  });

  test.each([
    ['run', 'backup', 78, 'schedule_missing'],
    ['pause', 'verify', 78, 'schedule_missing'],
    ['pause', 'restore', 64, 'usage'],
  ])('schedule %s of a %s that is not scheduled is %i', async (deed, protocol, status, code) => {
    const store = makeStore(engine(), 'none');
    const refused = await holdfast('schedule', deed, store.name, protocol, '--json');
    expect(refused.status).toBe(status);
    expect(jsonLines(refused).last).toMatchObject({ type: 'error', code });
  });

  test.each([
    ["cron: '61 * * * *'", /schedules\.backup: /],
    ["cron: '* * * *'", /five fields, or six/],
    ["cron: '0 4 13 * 5'", /name one of them/],
    ["cron: '0 4 L * *'", /mean different things/],
    ["{ cron: '0 4 * * *', timeZone: Europe/Atlantis }", /there is no time zone Europe\/Atlantis/],
    ["{ cron: '0 4 * * *', catchupSeconds: 60 }", /unknown key \(did you mean catchUpSeconds\?\)/],
  ])('is refused with its line where it says %s', async (written, message) => {
    const path = join(engine().directory, 'malformed.yaml');
    const backup = written.startsWith('{') ? written : `{ ${written} }`;
    writeFileSync(
      path,
      `holdfast: 1\nstore: malformed\nroots: { data: { path: /srv/x, trees: [{}] } }\nschedules:\n  backup: ${backup}\nbackup: { destination: /var/x }\n`,
    );
    const refused = await holdfast('config', 'validate', path);
    rmSync(path);
    expect(refused).toMatchObject({ status: 78, stdout: expect.stringMatching(message) });
    expect(refused.stdout).toContain(':5:');
  });
});
