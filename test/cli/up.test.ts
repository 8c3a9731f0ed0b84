// `holdfast up` from its ready line to its clean end; and what commands say when all of it, or the engine alone, is
// killed in the middle of a protocol. Each test has an engine of its own, started by the commands themselves.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startTimeOf } from '../../control/clock.js';
import { processesWith } from '../../workers/processes.js';
import { eventually, startEngine, stopEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import { jsonLines, run, startCommand, startOnTerminal } from './room.js';

let engine: TestEngine;

/** Directories and definitions only: nothing of the test is connected, so that what is killed stays dead. */
beforeEach(async () => {
  engine = await startEngine();
  await engine.session.close();
  await eventually('the engine of the preparation ends', () => ownPids().length === 0);
});

afterEach(() => stopEngine(engine));

const ownPids = (): number[] =>
  processesWith(`HOLDFAST_STATE_DIRECTORY=${engine.environment['HOLDFAST_STATE_DIRECTORY'] ?? ''}`)
    .map(({ pid }) => pid)
    .filter((pid) => pid !== process.pid);

describe('up', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'says that it is ready, serves commands, and ends with 0 and no process left by %s',
    async (signal) => {
      const up = startCommand(engine.environment, 'up', '--json');
      await up.says(/"type":"ready"/);
      const store = makeStore(engine, 'up');
      const backup = await run(engine.environment, 'backup', store.name);
      expect(backup).toMatchObject({ status: 0, stderr: expect.not.stringContaining('starting') });
      up.signal(signal);
      const ended = await up.ended;
      expect(ended.status).toBe(0);
      expect(jsonLines(ended).lines).toEqual([
        expect.objectContaining({
          type: 'ready',
          host: 'test-host',
          address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
          workerPid: expect.any(Number),
        }),
        { type: 'result', ended: true },
      ]);
      expect(ended.stderr).not.toContain('"level":60');
      expect(ownPids()).toEqual([]);
    },
  );

  test('is 69 for all when the file of the engine is removed, and what was under way is settled by recovery', async () => {
    const up = startCommand(engine.environment, 'up', '--json');
    await up.says(/"type":"ready"/);
    const joined = startCommand(engine.environment, 'up');
    await joined.says(/^ready: /m);
    const store = makeStore(engine, 'orphaned', { hooks: ['quiesce', 'resume'] });
    const before = store.items();
    const hook = store.holdHook('quiesce');
    const backup = startCommand(engine.environment, 'backup', store.name);
    await hook.held();
    rmSync(join(engine.directory, 'state', 'engine.db'));
    const refused = { status: 69, stderr: expect.stringMatching(/^STOP engine_database_lost: .* was removed$/m) };
    expect(await joined.ended).toMatchObject(refused);
    hook.letGo();
    expect(await backup.ended).toMatchObject(refused);
    const ended = await up.ended;
    expect(ended.status).toBe(69);
    expect(jsonLines(ended).last).toMatchObject({ type: 'error', code: 'engine_database_lost' });
    await eventually('nothing of it runs on', () => ownPids().length === 0);
    expect((await run(engine.environment, 'recover', store.name)).status).toBe(0);
    expect([store.leftovers(), store.hooksRun().at(-1), store.items()]).toEqual([[], 'resume', before]);
    expect((await run(engine.environment, 'backup', store.name)).status).toBe(0);
  });

  test('a second one joins the first, and takes over when that ends', async () => {
    const first = startCommand(engine.environment, 'up');
    await first.says(/^ready: engine at \S+, UI at http\S+, worker of test-host \(definitions in \S+\)$/m);
    const second = startCommand(engine.environment, 'up');
    await second.says(/^ready: /m);
    expect(/^ready: .*/m.exec(second.stderr())?.[0]).toBe(/^ready: .*/m.exec(first.stderr())?.[0]);
    first.signal('SIGINT');
    expect((await first.ended).status).toBe(0);
    await eventually('the second is ready again', () => (second.stderr().match(/^ready: /gm) ?? []).length === 2);
    second.signal('SIGINT');
    expect((await second.ended).status).toBe(0);
    expect(ownPids()).toEqual([]);
  });

  test('of another host name does not join: it would serve nobody, and succeed the first one as another host', async () => {
    const up = startCommand(engine.environment, 'up', '--json');
    await up.says(/"type":"ready"/);
    const other = await run({ ...engine.environment, HOLDFAST_HOST: 'elsewhere' }, 'up', '--quiet');
    expect(other).toMatchObject({ status: 64, stderr: expect.stringContaining('STOP ambiguous_intent: ') });
    up.signal('SIGINT');
    expect((await up.ended).status).toBe(0);
  });

  test('ends cleanly when it is interrupted before it is ready', async () => {
    const up = startCommand(engine.environment, 'up');
    await up.says(/starting the worker/);
    up.signal('SIGINT');
    const { status, stderr } = await up.ended;
    expect(status).toBe(0);
    expect(stderr).not.toContain('"level":60');
    expect(ownPids()).toEqual([]);
  });

  test.skipIf(requires('python3'))('on a terminal it speaks to people, not in JSON, and ends by Ctrl-C', async () => {
    const up = startOnTerminal(engine.environment, 'up');
    await up.says(/ready: engine at /);
    expect(up.stdout()).toMatch(/^starting temporal [^\n]*\r\nstarting the worker\r\nready: [^\n]*\r\n$/);
    up.type('\u0003');
    expect((await up.ended).status).toBe(0);
    expect(ownPids()).toEqual([]);
  });
});

test('after a SIGKILL of everything in the middle of a restore the gate is shut, and `recover` brings the old state back', async () => {
  const store = makeStore(engine, 'crash', { hooks: ['detach', 'attach', 'verify'] });
  const up = startCommand(engine.environment, 'up', '--quiet');
  expect((await run(engine.environment, 'backup', store.name)).status).toBe(0);
  store.addItem('four');
  const { digest } = jsonLines(await run(engine.environment, 'plan', store.name, '--json')).last;
  const verify = store.holdHook('verify');
  const restore = startCommand(engine.environment, 'restore', store.name, 'latest', '--confirm', String(digest));
  await verify.held();
  expect(store.items()).toHaveLength(3);
  for (const pid of [up.pid, restore.pid, ...ownPids()])
    if (startTimeOf(pid) !== undefined) process.kill(pid, 'SIGKILL');
  await Promise.all([up.ended, restore.ended]);
  await eventually('everything is dead', () => ownPids().length === 0);
  verify.letGo();

  expect(await run(engine.environment, 'status', store.name, '--gate')).toMatchObject({
    status: 78,
    stderr: expect.stringContaining('STOP fenced: '),
  });
  expect((await run(engine.environment, 'status', store.name)).stdout).toMatch(
    / {2}OWED {6}operation \S+: run `holdfast recover /,
  );
  expect((await run(engine.environment, 'lock', 'show', store.name)).stdout).toMatch(
    /: dead\n {2}what to do: run `holdfast recover /,
  );
  const other = makeStore(engine, 'other');
  const recovered = await run(engine.environment, 'recover', '--all');
  expect(recovered).toMatchObject({
    status: 0,
    stdout: `${store.name}: undone: the former state is back\n${other.name}: nothing to recover\n`,
  });
  expect(store.items()).toHaveLength(4);
  expect(store.leftovers()).toEqual([]);
  expect(await run(engine.environment, 'status', store.name, '--gate')).toMatchObject({ status: 0 });
});

test('`recover --all` recovers the others when one store is busy, and ends with that one’s status', async () => {
  const [busy, other] = [makeStore(engine, 'a-busy', { hooks: ['quiesce', 'resume'] }), makeStore(engine, 'b-other')];
  const hold = busy.holdHook('quiesce');
  const backup = startCommand(engine.environment, 'backup', busy.name, '--quiet');
  await hold.held();
  const ended = await run(engine.environment, 'recover', '--all', '--json');
  expect(jsonLines(ended).lines).toEqual([
    expect.objectContaining({ type: 'recovered', store: other.name }),
    expect.objectContaining({ type: 'error', code: 'store_locked' }),
  ]);
  expect(await run(engine.environment, 'recover', '--all')).toMatchObject({
    status: 75,
    stdout: `${other.name}: nothing to recover\n`,
    stderr: expect.stringContaining(`STOP store_locked: ${busy.name}: `),
  });
  hold.letGo();
  expect((await backup.ended).status).toBe(0);
});

test('a command whose engine is killed goes on with the next one', async () => {
  const store = makeStore(engine, 'engine', { hooks: ['quiesce', 'resume'] });
  const hold = store.holdHook('quiesce');
  const up = startCommand(engine.environment, 'up', '--json');
  await up.says(/"type":"ready"/);
  const { enginePid } = JSON.parse(up.stdout()) as { enginePid: number };
  const backup = startCommand(engine.environment, 'backup', store.name);
  await hold.held();
  process.kill(enginePid, 'SIGKILL');
  await eventually('the engine is back', () => up.stdout().split('"type":"ready"').length === 3);
  hold.letGo();
  expect(await backup.ended).toMatchObject({ status: 0, stdout: expect.stringMatching(/^backup \S+ of store /) });
});

test('a cluster that goes away under way is STOP engine_lost, 69, not a defect', async () => {
  const store = makeStore(engine, 'lost', { hooks: ['quiesce', 'resume'] });
  const hold = store.holdHook('quiesce');
  const up = startCommand(engine.environment, 'up', '--json');
  await up.says(/"type":"ready"/);
  const { address } = JSON.parse(up.stdout()) as { address: string };
  const backup = startCommand(
    { ...engine.environment, TEMPORAL_ADDRESS: address, HOLDFAST_STATE_DIRECTORY: `${engine.directory}/client` },
    'backup',
    store.name,
    '--json',
  );
  await hold.held();
  for (const pid of [up.pid, ...ownPids()]) if (startTimeOf(pid) !== undefined) process.kill(pid, 'SIGKILL');
  const ended = await backup.ended;
  expect(ended).toMatchObject({ status: 69, stderr: '' });
  expect(jsonLines(ended).last).toMatchObject({
    code: 'engine_lost',
    exit: 69,
    safe: expect.stringContaining('goes on, or is undone'),
  });
});
