// The embedded engine alone, without a worker: what is set in it, what survives, what is left over.
import { fork, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { supervisorPaths } from '../../client/state-directory.js';
import { SEARCH_ATTRIBUTES } from '../../domain/names.js';
import { findTemporalBinary } from '../../workers/engine-binary.js';
import { startEngine } from '../../workers/engine.js';
import type { RunningEngine } from '../../workers/engine.js';
import { retentionSeconds } from '../../workers/engine-settings.js';
import { requires } from '../support/requires.js';
import { isAlive, makeRoom } from './engine-room.js';
import type { EngineRoom } from './engine-room.js';

/** In no passwd. */
const NAMELESS = 424_242;

async function start(room: EngineRoom): Promise<RunningEngine> {
  const { path } = await findTemporalBinary({ onProgress: () => undefined });
  return await startEngine({
    paths: supervisorPaths(room.directory, 'embedded'),
    binary: path,
    environment: room.environment,
  });
}

describe.skipIf(requires('temporal'))('the embedded engine', () => {
  test('keeps closed runs for 90 days and takes our search attributes at once, also on a file made before', async () => {
    const room = makeRoom();
    for (const turn of ['new file', 'same file']) {
      const engine = await start(room);
      expect(await retentionSeconds(engine.connection, 'default'), turn).toBe(90 * 24 * 3600);
      const { customAttributes } = await engine.connection.operatorService.listSearchAttributes({
        namespace: 'default',
      });
      expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining([...SEARCH_ATTRIBUTES]));
      const searchAttributes = Object.fromEntries(SEARCH_ATTRIBUTES.map((name) => [name, ['x']]));
      const client = new Client({ connection: engine.connection });
      await client.workflow.start('nobody', { taskQueue: 'nobody', workflowId: turn, searchAttributes });
      await engine.stop();
    }
  });

  test('comes back on the same file with the same namespace id, ports and runs', async () => {
    const room = makeRoom();
    const first = await start(room);
    const handle = await new Client({ connection: first.connection }).workflow.start('nobody', {
      taskQueue: 'nobody',
      workflowId: 'kept',
    });
    await first.stop();
    expect(isAlive(first.pid ?? 0)).toBe(false);
    expect(existsSync(`${room.directory}/engine.json`)).toBe(false);
    const second = await start(room);
    expect([second.namespaceId, second.address, second.uiAddress]).toEqual([
      first.namespaceId,
      first.address,
      first.uiAddress,
    ]);
    const described = await new Client({ connection: second.connection }).workflow.getHandle('kept').describe();
    expect([described.runId, described.status.name]).toEqual([handle.firstExecutionRunId, 'RUNNING']);
    await second.stop();
  });

  test('another file is another namespace id', async () => {
    const [one, other] = [await start(makeRoom()), await start(makeRoom())];
    expect(one.namespaceId).not.toBe(other.namespaceId);
    await Promise.all([one.stop(), other.stop()]);
  });

  test('records what runs, answers on loopback only and shows its UI', async () => {
    const room = makeRoom();
    const engine = await start(room);
    const record: unknown = JSON.parse(readFileSync(`${room.directory}/engine.json`, 'utf8'));
    expect(record).toMatchObject({
      pid: engine.pid,
      address: engine.address,
      uiAddress: engine.uiAddress,
      namespace: 'default',
    });
    expect(engine.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect((await fetch(engine.uiAddress ?? '')).status).toBe(200);
    await engine.stop();
  });

  test('a process left over by a dead supervisor is ended before the next is started', async () => {
    const room = makeRoom();
    const leftover = await start(room);
    const next = await start(room);
    expect(isAlive(leftover.pid ?? 0)).toBe(false);
    expect(isAlive(next.pid ?? 0)).toBe(true);
    expect(next.namespaceId).toBe(leftover.namespaceId);
    await next.stop();
  });

  test('TEMPORAL_* of the environment does not reach it', async () => {
    const room = makeRoom({
      TEMPORAL_ADDRESS: 'nowhere.invalid:1',
      TEMPORAL_TLS: 'true',
      TEMPORAL_NAMESPACE: 'elsewhere',
    });
    const engine = await start(room);
    expect(engine.namespace).toBe('default');
    expect(readFileSync(`/proc/${engine.pid}/environ`, 'utf8')).not.toContain('TEMPORAL_');
    await engine.stop();
  });

  test('its database is in a directory that nobody else can read', async () => {
    const room = makeRoom();
    const engine = await start(room);
    expect(statSync(room.directory).mode & 0o077).toBe(0);
    await engine.stop();
  });

  test.skipIf(requires('setpriv'))('a user without a name is told so, who is why temporal would not start', () => {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    chownSync(directory, NAMELESS, NAMELESS);
    const module = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
    const script = `
      const { startEngine } = await import(${module('workers/engine.js')});
      const { supervisorPaths } = await import(${module('client/state-directory.js')});
      const paths = supervisorPaths(process.argv[1], 'embedded');
      await startEngine({ paths, binary: '/bin/false' }).catch(({ code, message }) => console.log(code, message));`;
    const { stdout } = spawnSync(
      'setpriv',
      [
        `--reuid=${NAMELESS}`,
        `--regid=${NAMELESS}`,
        '--clear-groups',
        process.execPath,
        '--input-type=module',
        '--eval',
        script,
        directory,
      ],
      { encoding: 'utf8', cwd: '/', env: { HOME: directory } },
    );
    expect(stdout).toBe(
      `engine_unavailable temporal does not start for a user without an entry in passwd: give uid ${NAMELESS} a name there\n`,
    );
  });

  test('a file that is no database of Temporal is STOP engine_unavailable, and nothing runs on', async () => {
    const room = makeRoom();
    const child = fork(new URL('./engine-on-garbage.js', import.meta.url), {
      env: { ...room.environment },
      silent: true,
    });
    const code = await new Promise((resolve) => child.once('message', resolve));
    await new Promise((resolve) => child.once('exit', resolve));
    expect(code).toBe('engine_unavailable');
    expect(room.pids()).toEqual([]);
  });
});
