// What is said about a protocol while it runs, and how it is interrupted: on a terminal, from another process, by
// signals; and what the gate says while a restore is not yet validated.
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readAudit } from '../../control/audit.js';
import { eventually, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';
import { jsonLines, run, startCommand, startOnTerminal } from './room.js';
import type { Ended } from './room.js';

const engine = useEngine();
const holdfast = (...argv: readonly string[]): Promise<Ended> => run(engine().environment, ...argv);
const REWRITE = '\r\u001B[K';

/** A store whose backup waits in its quiesce hook for as long as it is held. */
function makeHeld(purpose: string): { readonly store: TestStore; readonly hold: ReturnType<TestStore['holdHook']> } {
  const store = makeStore(engine(), purpose, { hooks: ['quiesce', 'resume', 'detach', 'attach', 'verify'] });
  return { store, hold: store.holdHook('quiesce') };
}

async function expectUndone(store: TestStore): Promise<void> {
  expect(store.published()).toEqual([]);
  expect(store.leftovers()).toEqual([]);
  expect(store.hooksRun()).toContain('resume');
  expect((await holdfast('status', store.name)).stdout).toMatch(/ {2}lock {6}free\n/);
}

describe('a backup that runs', () => {
  test('is watched and cancelled from other processes: 75, undone', async () => {
    const { store, hold } = makeHeld('cancel');
    const backup = startCommand(engine().environment, 'backup', store.name, '--json');
    await hold.held();
    const watch = startCommand(engine().environment, 'watch', store.name);
    await watch.says(/^backup\.quiesce/m);
    expect((await holdfast('lock', 'show', store.name)).stdout).toMatch(
      / is locked by operation \S+ \(backup\) since \S+\n {2}run .*\n {2}process {2}\d+ on test-host: alive\n {2}what to do: wait, .*\n$/,
    );
    expect((await holdfast('status', store.name)).stdout).toMatch(/ {2}lock {6}backup since .* alive\n/);
    const second = await holdfast('backup', store.name);
    expect(second).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP store_locked: ') });
    expect(await holdfast('recover', store.name)).toMatchObject({
      status: 75,
      stderr: expect.stringContaining('STOP store_locked: '),
    });

    expect(await holdfast('cancel', store.name)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`holdfast/${store.name} was asked to undo and end`),
    });
    const ended = await backup.ended;
    expect(ended).toMatchObject({ status: 75, stderr: '' });
    expect(jsonLines(ended).last).toMatchObject({
      type: 'error',
      code: 'cancelled',
      exit: 75,
      details: { settled: 'ended', hooksRun: ['resume'], stagingDropped: 0 },
    });
    expect(await watch.ended).toMatchObject({ status: 0, stdout: '1 run ended\n' });
    await expectUndone(store);
  });

  test('is watched with the reason why a step is tried again', async () => {
    const { store, hold } = makeHeld('fails-again');
    store.failHook('resume');
    const backup = startCommand(engine().environment, 'backup', store.name, '--quiet');
    await hold.held();
    const watch = startCommand(engine().environment, 'watch', store.name);
    await watch.says(/holdfast\/fails-again/);
    hold.letGo();
    await watch.says(/^tried again \(attempt \d+\) because: hook resume failed/m);
    store.mendHook('resume');
    // The step is refused; what it owes is tried until it is paid
    expect([(await backup.ended).status, (await watch.ended).status]).toEqual([78, 0]);
    expect(store.leftovers()).toEqual([]);
  });

  test('tells with --json each heartbeat once, however often it is looked at', async () => {
    const { store, hold } = makeHeld('heartbeats');
    const backup = startCommand(engine().environment, 'backup', store.name, '--json');
    await hold.held();
    // Of three seconds, with a heartbeat each and more looks than heartbeats
    await eventually('a third heartbeat is told', () =>
      /"step":"backup.quiesce".*"elapsedMillis":2\d{3}/.test(backup.stdout()),
    );
    hold.letGo();
    const { lines } = jsonLines(await backup.ended);
    const told = lines.filter(({ type }) => type === 'progress').map((line) => JSON.stringify(line));
    expect(told).toEqual([...new Set(told)]);
    expect(told.filter((line) => line.includes('backup.quiesce')).length).toBeGreaterThan(2);
  });

  test('is undone by one interrupt: 75', async () => {
    const { store, hold } = makeHeld('interrupt');
    const backup = startCommand(engine().environment, 'backup', store.name);
    await hold.held();
    await backup.says(/backup\.quiesce/);
    backup.signal('SIGINT');
    const { status, stderr } = await backup.ended;
    expect(stderr).toMatch(
      /\ncancelling: the protocol undoes what it has done[^\n]*\n(.*\n)*STOP cancelled: the operation was cancelled\n {2}settled: ended\n {2}hooksRun: resume\n/,
    );
    expect(status).toBe(75);
    await expectUndone(store);
  });

  test('is undone by SIGTERM, as a unit that is stopped sends it: 75', async () => {
    const { store, hold } = makeHeld('terminate');
    const backup = startCommand(engine().environment, 'backup', store.name, '--quiet');
    await hold.held();
    backup.signal('SIGTERM');
    expect(await backup.ended).toMatchObject({ status: 75, stderr: expect.stringMatching(/^STOP cancelled/) });
    await expectUndone(store);
  });

  test('goes on when its command is killed, and can be watched to its end', async () => {
    const { store, hold } = makeHeld('left');
    const backup = startCommand(engine().environment, 'backup', store.name);
    await hold.held();
    backup.signal('SIGKILL');
    await backup.ended;
    const watch = startCommand(engine().environment, 'watch', store.name, '--json');
    await watch.says(/"type":"progress"/);
    hold.letGo();
    const ended = await watch.ended;
    expect(jsonLines(ended).last).toMatchObject({
      type: 'result',
      stores: [store.name],
      watched: [expect.any(String)],
    });
    const [run, ...following] = jsonLines(ended).lines;
    expect(run).toMatchObject({ type: 'run', workflowId: `holdfast/${store.name}` });
    for (const line of following.slice(0, -1))
      expect(line).toMatchObject({ type: 'progress', workflowId: run?.['workflowId'], runId: run?.['runId'] });
    expect(store.published()).toHaveLength(1);
  });
});

describe.skipIf(requires('python3'))('on a terminal', () => {
  test('progress is one line that is rewritten, and gone at the end', async () => {
    const { store, hold } = makeHeld('terminal');
    const backup = startOnTerminal(engine().environment, 'backup', store.name);
    await backup.says(/backup\.quiesce, 1 s/);
    hold.letGo();
    const { status, stdout } = await backup.ended;
    expect(status).toBe(0);
    const [before = '', ...rewritten] = stdout.split(REWRITE);
    expect(before).toMatch(/^Temporal UI: \S+\r\n$/);
    expect(rewritten.length).toBeGreaterThan(3);
    for (const line of rewritten.slice(0, -1)) expect(line).toMatch(/^(backup\.\w+.{0,70})?$/);
    expect(rewritten.at(-1)).toMatch(/^backup \S+ of store [^\r\n]*\r\n/);
  });

  test('Ctrl-C undoes a backup, and its notes do not run into the line of progress', async () => {
    const { store, hold } = makeHeld('terminal');
    const backup = startOnTerminal(engine().environment, 'backup', store.name);
    await hold.held();
    await backup.says(/backup\.quiesce/);
    backup.type('\u0003');
    const { status, stdout } = await backup.ended;
    expect(stdout).toContain(`${REWRITE}cancelling: `);
    expect(stdout).toContain(`${REWRITE}STOP cancelled: `);
    expect(status).toBe(75);
    await expectUndone(store);
  });

  test('--quiet shows nothing but the answer, and TERM=dumb rewrites nothing', async () => {
    const store = makeStore(engine(), 'terminal');
    const quiet = await startOnTerminal(engine().environment, 'backup', store.name, '--quiet').ended;
    expect(quiet).toMatchObject({ status: 0, stdout: expect.stringMatching(/^backup \S+ of store /) });
    const watch = await startOnTerminal(engine().environment, 'list', store.name).ended;
    expect(watch.stdout).not.toContain('\u001B');
  });
});

describe('a store that is held', () => {
  test('by a restore that is not validated keeps its start-up gate at 78', async () => {
    const { store, hold } = makeHeld('gate');
    hold.letGo();
    expect((await holdfast('backup', store.name)).status).toBe(0);
    const { digest } = jsonLines(await holdfast('plan', store.name, '--json')).last;
    const verify = store.holdHook('verify');
    const restore = startCommand(engine().environment, 'restore', store.name, 'latest', '--confirm', String(digest));
    await verify.held();
    const gate = await holdfast('status', store.name, '--gate');
    expect(gate).toMatchObject({
      status: 78,
      stdout: '',
      stderr: expect.stringMatching(/^STOP fenced: the store is fenced by operation /),
    });
    expect(gate.stderr).toContain('what to do: run `holdfast recover`');
    expect((await holdfast('status', store.name)).stdout).toMatch(/ {2}fence {5}UP since \S+Z, by operation \S+\n/);
    expect(await holdfast('doctor', store.name)).toMatchObject({
      status: 78,
      stdout: expect.stringMatching(/ {2}stop {2}state: fenced since /),
    });
    verify.letGo();
    expect((await restore.ended).status).toBe(0);
    expect(await holdfast('status', store.name, '--gate')).toMatchObject({ status: 0 });
  });

  test('by a run that was terminated says how it is let go: by the next backup, which settles it first', async () => {
    const { store, hold } = makeHeld('terminated');
    const backup = startCommand(engine().environment, 'backup', store.name, '--quiet');
    await hold.held();
    await engine().temporal('workflow', 'terminate', '--workflow-id', `holdfast/${store.name}`, '--reason', 'a test');
    expect(await backup.ended).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP terminated: ') });
    const recover = await holdfast('recover', store.name);
    expect(recover).toMatchObject({
      status: 75,
      stderr: expect.stringMatching(
        /STOP store_locked: .* its process lives; if its run was terminated, the next backup or restore settles it/,
      ),
    });
    const show = await holdfast('lock', 'show', store.name);
    expect(show.stdout).toContain(`if its run was terminated, \`holdfast backup ${store.name}\` settles it first;`);
    hold.letGo();
    expect((await holdfast('backup', store.name)).status).toBe(0);
    expect((await readAudit(store.controlDirectory)).map(({ event }) => event)).toContain('lock taken over');
    expect(store.hooksRun()).toEqual(['quiesce', 'resume', 'quiesce', 'resume']);
    expect(store.leftovers()).toEqual([]);
  });

  test('terminated: a restore ended so behind its fence says it, and the next backup puts the old state back first', async () => {
    const store = makeStore(engine(), 'ended', { hooks: ['detach', 'attach', 'caches'] });
    await store.backup();
    store.addItem('four');
    const { digest } = await store.plan();
    const hold = store.holdHook('caches');
    const restore = startCommand(engine().environment, 'restore', store.name, 'latest', '--confirm', digest, '--quiet');
    await hold.held();
    await engine().temporal('workflow', 'terminate', '--workflow-id', `holdfast/${store.name}`, '--reason', 'a test');
    expect(await restore.ended).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP terminated: ') });
    expect(store.isFenced()).toBe(true);
    hold.letGo();
    expect((await holdfast('backup', store.name)).status).toBe(0);
    expect(store.items()).toEqual(['one', 'two', 'three', 'four']);
    expect(store.leftovers()).toEqual([]);
  });

  test('is taken from its owner by `lock break`, once the owner’s operation is confirmed', async () => {
    const { store, hold } = makeHeld('break');
    const backup = startCommand(engine().environment, 'backup', store.name, '--quiet');
    await hold.held();
    const refused = await holdfast('lock', 'break', store.name);
    expect(refused).toMatchObject({ status: 77, stdout: '' });
    expect(refused.stderr).toMatch(/ {2}owner:\n( {4}.*\n)* {4}pid: \d+\n/);
    const [, operation = ''] = /confirm: holdfast lock break \S+ --confirm (\S+)/.exec(refused.stderr) ?? [];
    expect(
      await holdfast('lock', 'break', store.name, '--confirm', '00000000-0000-4000-8000-000000000000'),
    ).toMatchObject({ status: 77, stderr: expect.stringContaining('STOP approval_mismatch') });
    expect(await holdfast('lock', 'break', store.name, '--confirm', operation)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('was broken, and 1 operation was settled'),
    });
    // Nobody holds it any more
    expect(await holdfast('lock', 'break', store.name, '--confirm', operation)).toMatchObject({
      status: 77,
      stdout: '',
      stderr: expect.stringContaining('STOP approval_mismatch: the store is not locked'),
    });
    // What its step had begun is ended with it
    expect(await backup.ended).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('STOP hook_failed: hook quiesce failed: killed by SIGKILL'),
    });
    await eventually('the run has let go', async () =>
      (await holdfast('lock', 'show', store.name)).stdout.includes('is not locked'),
    );
    expect(store.leftovers()).toEqual([]);
  });
});

test('a store whose volume is not mounted keeps its start-up gate at 78, and is told by recovery and doctor', async () => {
  const [store, other] = [makeStore(engine(), 'unmounted'), makeStore(engine(), 'mounted')];
  store.define({ backup: { destination: `${store.directory}-backups` } });
  await store.backup();
  expect(await holdfast('status', store.name, '--gate')).toMatchObject({ status: 0 });
  renameSync(store.directory, `${store.directory}-away`);
  mkdirSync(store.root, { recursive: true });
  const told = { status: 78, stderr: expect.stringMatching(/STOP root_missing: .*\/stores\/unmounted-\d+\.json/) };
  expect(await holdfast('status', store.name, '--gate')).toMatchObject(told);
  expect(await holdfast('recover', '--all')).toMatchObject({
    ...told,
    stdout: expect.stringContaining(`${other.name}: nothing to recover`),
  });
  expect(await holdfast('doctor', store.name)).toMatchObject({
    status: 78,
    stdout: expect.stringMatching(/stop {2}state: root_missing: .*\n {8}what to do: mount it/),
  });
  expect(readdirSync(store.directory)).toEqual(['live']);
});

test('a host without a worker is 69 once nobody has taken the step, 75 if cancelled before; the command says so, the store is free', async () => {
  const store = makeStore(engine(), 'absent');
  const other = makeStore(engine(), 'absent');
  const cancelled = startCommand(engine().environment, 'backup', other.name, '--host', 'attic');
  const [plan, backup] = await Promise.all([
    holdfast('plan', store.name, '--host', 'attic'),
    holdfast('backup', store.name, '--host', 'attic', '--json'),
    cancelled.says(/no step has begun yet/).then(() => cancelled.signal('SIGTERM')),
  ]);
  expect(await cancelled.ended).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP cancelled: ') });
  expect((await holdfast('backup', other.name)).status).toBe(0);
  expect(plan.stderr).toContain('STOP host_absent: no worker of host attic took step plan\n');
  expect(plan.stderr).toContain('no step has begun yet: does `holdfast up` run on the host of the store?\n');
  expect([plan.status, backup.status]).toEqual([69, 69]);
  expect(jsonLines(backup).last).toMatchObject({ type: 'error', code: 'host_absent' });
});
