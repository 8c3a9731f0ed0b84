// One supervisor a state directory, with real processes that are really killed. DESIGN "Engine".
import { execFileSync, fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectEngine, openEngine } from '../../client/connection.js';
import type { EngineSession } from '../../client/connection.js';
import { supervisorPaths } from '../../client/state-directory.js';
import type { EngineReady } from '../../client/supervisor-link.js';
import { findTemporalBinary } from '../../workers/engine-binary.js';
import { startEngine } from '../../workers/engine.js';
import { createLog } from '../../workers/log.js';
import { thisMachine, workerIdentity } from '../../workers/pollers.js';
import { runSupervisor } from '../../workers/supervisor.js';
import { requires } from '../support/requires.js';
import { eventually, isAlive, makeRoom } from './engine-room.js';
import type { EngineRoom } from './engine-room.js';

const open = (room: EngineRoom): Promise<EngineSession> => openEngine({ environment: room.environment });

function running(session: EngineSession): EngineReady & { readonly enginePid: number } {
  const ready = session.supervisor();
  if (ready?.enginePid === undefined) throw new Error('the session has no embedded engine');
  return { ...ready, enginePid: ready.enginePid };
}

/** A run that stays open without anybody carrying it out. */
async function startOpenRun(session: EngineSession, workflowId: string, protocol: string): Promise<void> {
  const searchAttributes = { HoldfastProtocol: [protocol] };
  await session.client.workflow.start('nobody', {
    taskQueue: 'holdfast',
    workflowId,
    startDelay: '1 hour',
    searchAttributes,
  });
}

const statusOf = async (session: EngineSession, workflowId: string): Promise<string> =>
  (await session.client.workflow.getHandle(workflowId).describe()).status.name;

async function untilEmpty(room: EngineRoom): Promise<void> {
  await eventually('every process of the room has ended', () => room.pids().length === 0);
}

/** Starts a client in another process, and returns it with what it found. */
async function clientProcess(room: EngineRoom): Promise<{ child: ChildProcess; ready: EngineReady }> {
  const child = fork(new URL('./holding-client.js', import.meta.url), { env: { ...room.environment } });
  onTestFinished(() => void child.kill('SIGKILL'));
  const ready = await new Promise<EngineReady>((resolve) =>
    child.once('message', (message) => resolve(message as EngineReady)),
  );
  return { child, ready };
}

describe.skipIf(requires('temporal'))('the supervisor', () => {
  test('two clients at once share one engine and one worker, and the last to close ends both', async () => {
    const room = makeRoom();
    const [one, other] = await Promise.all([open(room), open(room)]);
    expect(running(one)).toEqual(running(other));
    expect(one.namespaceId).toBe(other.namespaceId);
    expect(statSync(join(room.directory, 'supervisor.sock')).mode & 0o777).toBe(0o600);
    await one.close();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect([running(other).workerPid, running(other).enginePid].map(isAlive)).toEqual([true, true]);
    expect(await statusOfNothing(other)).toBe('not found');
    await other.close();
    await untilEmpty(room);
    expect(readdirSync(room.directory).filter((name) => name === 'engine.json' || name.endsWith('.sock'))).toEqual([]);
  });

  test('the worker polls both queues by the time a session is open', async () => {
    const room = makeRoom();
    const session = await open(room);
    const pollers = async (name: string, taskQueueType: 1 | 2): Promise<string[]> => {
      const described = await session.client.workflowService.describeTaskQueue({
        namespace: session.namespace,
        taskQueue: { name },
        taskQueueType,
      });
      return described.pollers.map(({ identity }) => identity ?? '');
    };
    const identity = workerIdentity('test-host', running(session).workerPid, thisMachine());
    expect(await pollers('holdfast', 1)).toContain(identity);
    expect(await pollers('holdfast@test-host', 2)).toContain(identity);
    await session.close();
    await untilEmpty(room);
  });

  test('a client killed with SIGKILL counts as gone', async () => {
    const room = makeRoom();
    const { child, ready } = await clientProcess(room);
    expect(isAlive(ready.workerPid)).toBe(true);
    child.kill('SIGKILL');
    await untilEmpty(room);
  });

  test('an open run keeps everything up without a client, a waiting request does not', async () => {
    const room = makeRoom();
    const session = await open(room);
    const before = running(session);
    await startOpenRun(session, 'holdfast/a', 'restore');
    await startOpenRun(session, 'holdfast/a/request/1', 'request');
    await session.close();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const again = await open(room);
    expect(running(again)).toEqual(before);
    await again.client.workflow.getHandle('holdfast/a').terminate();
    await again.close();
    await untilEmpty(room);
    const later = await open(room);
    expect(await statusOf(later, 'holdfast/a/request/1')).toBe('RUNNING');
    await later.close();
    await untilEmpty(room);
  });

  test('after SIGKILL of the supervisor a new one ends the old engine, and sessions go on with the same runs', async () => {
    const room = makeRoom();
    const session = await open(room);
    const before = running(session);
    await startOpenRun(session, 'kept', 'request');
    process.kill(before.supervisorPid, 'SIGKILL');
    const after = await eventually(
      'the session has another supervisor',
      () => running(session).supervisorPid !== before.supervisorPid && running(session),
    );
    expect(isAlive(before.enginePid)).toBe(false);
    expect(after.enginePid).not.toBe(before.enginePid);
    expect(after.namespaceId).toBe(before.namespaceId);
    expect(await statusOf(session, 'kept')).toBe('RUNNING');
    const other = await open(room);
    expect(running(other)).toEqual(after);
    await Promise.all([session.close(), other.close()]);
    await untilEmpty(room);
  });

  test('an engine and a worker left alone by a killed supervisor do not outlive the next command', async () => {
    const room = makeRoom();
    const { child, ready } = await clientProcess(room);
    child.kill('SIGKILL');
    process.kill(ready.supervisorPid, 'SIGKILL');
    await eventually('the worker ends itself', () => !isAlive(ready.workerPid));
    const session = await open(room);
    expect(isAlive(ready.enginePid ?? 0)).toBe(false);
    await session.close();
    await untilEmpty(room);
  });

  test('after SIGKILL of the worker there is another', async () => {
    const room = makeRoom();
    const session = await open(room);
    const before = running(session);
    process.kill(before.workerPid, 'SIGKILL');
    const after = await eventually(
      'another worker is up',
      () => running(session).workerPid !== before.workerPid && running(session),
    );
    expect(after).toEqual({ ...before, workerPid: after.workerPid });
    expect(isAlive(after.workerPid)).toBe(true);
    await session.close();
    await untilEmpty(room);
  });

  test('after SIGKILL of the engine there is another on the same file and address, with the same runs', async () => {
    const room = makeRoom();
    const session = await open(room);
    const before = running(session);
    await startOpenRun(session, 'kept', 'request');
    process.kill(before.enginePid, 'SIGKILL');
    const after = await eventually(
      'another engine is up',
      () => running(session).enginePid !== before.enginePid && running(session),
    );
    expect(after).toEqual({ ...before, enginePid: after.enginePid });
    expect(await statusOf(session, 'kept')).toBe('RUNNING');
    await session.close();
    await untilEmpty(room);
  });

  test('a session whose supervisor is lost for good ends its calls, and its end says why', async () => {
    const room = makeRoom();
    const environment: Record<string, string | undefined> = { ...room.environment };
    const session = await openEngine({ environment });
    const { supervisorPid, workerPid, enginePid } = running(session);
    await startOpenRun(session, 'waited-for', 'request');
    const waiting = session.client.workflow.getHandle('waited-for').result();
    const settled = expect(waiting).rejects.toThrow(/connection was closed|Failed to/);
    environment['HOLDFAST_TEMPORAL_BINARY'] = '/bin/false';
    for (const pid of [supervisorPid, workerPid, enginePid]) process.kill(pid, 'SIGKILL');
    await settled;
    await expect(session.close()).rejects.toMatchObject({
      code: 'engine_unavailable',
      details: { path: '/bin/false' },
    });
    await untilEmpty(room);
  });

  test('an engine whose database file was moved away is ended, sessions say why, and nothing is lost once it is back', async () => {
    const room = makeRoom();
    const session = await open(room);
    const { namespaceId } = session;
    await startOpenRun(session, 'kept', 'request');
    const waiting = expect(session.client.workflow.getHandle('kept').result()).rejects.toThrow(
      /connection was closed|Failed to/,
    );
    const database = join(room.directory, 'engine.db');
    renameSync(database, `${database}.away`);
    await waiting;
    await expect(session.close()).rejects.toMatchObject({ code: 'engine_database_lost', details: { path: database } });
    await untilEmpty(room);
    expect(existsSync(database)).toBe(false);
    renameSync(`${database}.away`, database);
    const again = await open(room);
    expect([again.namespaceId, await statusOf(again, 'kept')]).toEqual([namespaceId, 'RUNNING']);
    await again.close();
    await untilEmpty(room);
  });

  test('an engine that dies after its database file was replaced is not started again on the other file', async () => {
    const room = makeRoom();
    const session = await open(room);
    const database = join(room.directory, 'engine.db');
    rmSync(database);
    writeFileSync(database, '');
    process.kill(running(session).enginePid, 'SIGKILL');
    await eventually('every process of the room has ended', () => room.pids().length === 0);
    await expect(session.close()).rejects.toMatchObject({
      code: 'engine_database_lost',
      message: 'the database file of the running engine was replaced',
    });
    expect(statSync(database).size).toBe(0);
  });

  test('a connection that is closed while a call is being tried again ends the call', async () => {
    const room = makeRoom();
    const session = await open(room);
    const { address, enginePid } = running(session);
    const { connection, close, namespace } = await connectEngine({ options: { address }, namespace: 'default' });
    process.kill(enginePid, 'SIGSTOP');
    // As if the network broke: the next tries find nobody
    const soon = performance.now() + 100;
    const call = connection.withDeadline(Date.now() + 60_000, async () =>
      connection.workflowService.describeNamespace({ namespace }),
    );
    const settled = expect(call).rejects.toMatchObject({ code: 1 });
    process.kill(enginePid, 'SIGKILL');
    await eventually('a try has failed', () => performance.now() > soon);
    await close();
    await settled;
    await session.close();
    await untilEmpty(room);
  });

  test('a command with other settings than the running worker is STOP ambiguous_intent', async () => {
    const room = makeRoom();
    const session = await open(room);
    const other = openEngine({ environment: { ...room.environment, HOLDFAST_DEFINITIONS_DIRECTORY: '/elsewhere' } });
    await expect(other).rejects.toMatchObject({ code: 'ambiguous_intent' });
    await session.close();
    await untilEmpty(room);
  });

  test('a binary that is no temporal is STOP engine_unavailable for the client, and nothing stays', async () => {
    const room = makeRoom({ HOLDFAST_TEMPORAL_BINARY: '/bin/false' });
    await expect(open(room)).rejects.toMatchObject({ code: 'engine_unavailable', details: { path: '/bin/false' } });
    await untilEmpty(room);
  });

  test.skipIf(requires('mount'))(
    'a state directory on a full filesystem is no_space for the client, and nothing stays (needs root)',
    async () => {
      const room = makeRoom();
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=700', 'none', room.directory]);
      onTestFinished(() => void execFileSync('umount', ['-l', room.directory]));
      const fill = join(room.directory, 'fill');
      const full = (): void => expect(() => writeFileSync(fill, Buffer.alloc(32 * 1024 * 1024))).toThrow('ENOSPC');
      const session = await openEngine({ environment: room.environment });
      full();
      // Whether it still hears that the engine has failed is a matter of moments
      await Promise.allSettled([session.close()]);
      await eventually('everything has ended on the full filesystem', () => room.pids().length === 0, 60_000);
      full();
      await expect(openEngine({ environment: room.environment })).rejects.toMatchObject({ code: 'no_space' });
      await eventually('nothing stays', () => room.pids().length === 0, 60_000);
      rmSync(fill);
      await (await openEngine({ environment: room.environment })).close();
    },
  );

  test('a state directory whose socket path is too long for the kernel works all the same', async () => {
    const outer = makeRoom();
    const room = {
      ...outer,
      environment: { ...outer.environment, HOLDFAST_STATE_DIRECTORY: join(outer.directory, 'x'.repeat(120)) },
    };
    const session = await open(room);
    expect(existsSync(join(room.environment.HOLDFAST_STATE_DIRECTORY, 'supervisor.sock'))).toBe(true);
    const { supervisorPid, enginePid, workerPid } = running(session);
    await session.close();
    await eventually('all have ended', () => ![supervisorPid, enginePid, workerPid].some(isAlive));
  });

  test('in the foreground it runs without clients until it is told to end; another takes over from it', async () => {
    const room = makeRoom();
    const begin = () => {
      const ending = new AbortController();
      let ready: EngineReady | undefined;
      const onReady = (now: EngineReady) => (ready = now);
      const done = runSupervisor({
        foreground: true,
        signal: ending.signal,
        log: createLog('test'),
        environment: room.environment,
        onReady,
      });
      return { end: () => ending.abort(), done, ready: () => ready };
    };
    const first = begin();
    const held = await eventually('the first is up', first.ready);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect([held.workerPid, held.enginePid ?? 0].map(isAlive)).toEqual([true, true]);
    const session = await open(room);
    expect(running(session)).toEqual(held);
    first.end();
    await first.done;
    expect([held.workerPid, held.enginePid ?? 0].map(isAlive)).toEqual([false, false]);
    // The session that was open has had a supervisor started for itself; `up` keeps that one, and succeeds it
    const second = begin();
    await eventually('the second knows an engine', second.ready);
    expect(await statusOfNothing(session)).toBe('not found');
    await session.close();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(isAlive(second.ready()?.enginePid ?? 0)).toBe(true);
    second.end();
    await second.done;
    await untilEmpty(room);
  });
});

describe.skipIf(requires('temporal'))('a cluster named by TEMPORAL_ADDRESS', () => {
  test('is used as it is, and gets a worker of this host only where one is asked for', async () => {
    const [clusterRoom, room] = [makeRoom(), makeRoom()];
    const { path } = await findTemporalBinary({ onProgress: () => undefined });
    const cluster = await startEngine({
      paths: supervisorPaths(clusterRoom.directory, 'embedded'),
      binary: path,
      environment: clusterRoom.environment,
    });
    const environment = { ...room.environment, TEMPORAL_ADDRESS: cluster.address };
    const plain = await openEngine({ environment });
    expect([plain.namespaceId, plain.supervisor(), plain.workflowUrl('a', 'b')]).toEqual([
      cluster.namespaceId,
      undefined,
      undefined,
    ]);
    expect(room.pids()).toEqual([]);
    const working = await openEngine({ environment, startWorker: true });
    expect(working.supervisor()).toMatchObject({
      address: cluster.address,
      namespaceId: cluster.namespaceId,
      host: 'test-host',
    });
    expect(working.supervisor()?.enginePid).toBeUndefined();
    expect(existsSync(join(room.directory, 'engine.db'))).toBe(false);
    await Promise.all([plain.close(), working.close()]);
    await untilEmpty(room);
    expect(isAlive(cluster.pid ?? 0)).toBe(true);
    await cluster.stop();
  });

  test('that does not answer is STOP engine_unreachable within its time limit, and nothing is started', async () => {
    const room = makeRoom({ TEMPORAL_ADDRESS: '127.0.0.1:9' });
    const begin = Date.now();
    await expect(openEngine({ environment: room.environment, startWorker: true })).rejects.toMatchObject({
      code: 'engine_unreachable',
    });
    expect(Date.now() - begin).toBeLessThan(12_000);
    expect(room.pids()).toEqual([]);
  });
});

/** A question to the engine that only a living one answers. */
async function statusOfNothing(session: EngineSession): Promise<string> {
  return await statusOf(session, 'there-is-none').catch((error: unknown) =>
    error instanceof Error && error.name === 'WorkflowNotFoundError' ? 'not found' : String(error),
  );
}
