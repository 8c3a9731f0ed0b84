// Histories of closed runs beside the audit log: kept whole, once, bound to the log, and good for a replay.
import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { basename, dirname, join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gunzipSync } from 'node:zlib';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';
import { readAudit } from '../../control/audit.js';
import { executionId } from '../../domain/names.js';
import { BUNDLE_PATH } from '../../workers/bundle.js';
import { createHistoryKeeper, lowerBoundMillis } from '../../workers/history-keeper.js';
import type { HistoryKeeper, KeeperOptions } from '../../workers/history-keeper.js';
import { createLog } from '../../workers/log.js';
import { TEST_HOST, eventually, stopOf, useEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';

const KEPT_MILLIS = 40_000;

function filesOf(store: TestStore): string[] {
  const directory = join(store.controlDirectory, 'histories');
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => join(directory, name));
}

async function keptBy(store: TestStore, count: number): Promise<string[]> {
  return eventually(
    `${count} histories are kept`,
    () => {
      const files = filesOf(store);
      return files.length === count && files;
    },
    KEPT_MILLIS,
  );
}

function keeperOf(engine: TestEngine, changed: Partial<KeeperOptions> = {}): HistoryKeeper {
  return createHistoryKeeper({
    client: engine.session.client,
    host: TEST_HOST,
    definitionsDirectory: engine.definitionsDirectory,
    log: createLog('test'),
    ...changed,
  });
}

/** Another worker's keeper: looks once and ends. */
async function lookOnce(engine: TestEngine, host: string): Promise<void> {
  const keeper = keeperOf(engine, { host });
  keeper.end();
  await keeper.run();
}

describe('the history of a closed run', () => {
  const engine = useEngine();

  test(
    'T-4: is written beside the audit log, bound to it by its digest, and replays',
    { timeout: 60_000 },
    async () => {
      const store = makeStore(engine(), 'kept');
      const report = await store.backup();
      const [file = ''] = await keptBy(store, 1);
      const json = gunzipSync(readFileSync(file)).toString('utf8');
      const [line] = (await readAudit(store.controlDirectory)).filter(({ event }) => event === 'history kept');
      expect(line).toMatchObject({
        operation: report.operation,
        details: {
          protocol: 'backup',
          workflowId: executionId(store.name),
          file: `histories/${basename(file)}`,
          sha256: createHash('sha256').update(json).digest('hex'),
        },
      });
      await Worker.runReplayHistory(
        { workflowBundle: { codePath: BUNDLE_PATH } },
        JSON.parse(json),
        executionId(store.name),
      );
    },
  );

  test(
    'is kept of a refused run and of one that was terminated, each once, whoever else looks',
    { timeout: 120_000 },
    async () => {
      const store = makeStore(engine(), 'ended', { hooks: ['quiesce', 'resume'] });
      rmSync(store.path('a.db'));
      await stopOf(store.backup());
      store.define({ databases: [] });
      const hook = store.holdHook('quiesce');
      const running = await engine().holdfast.backup(store.name, { requestedBy: 'test' });
      await hook.held();
      await engine().temporal('workflow', 'terminate', '--workflow-id', executionId(store.name), '--reason', 'test');
      hook.letGo();
      await expect(running.result()).rejects.toThrow();
      await keptBy(store, 2);
      await Promise.all([lookOnce(engine(), TEST_HOST), lookOnce(engine(), TEST_HOST)]);
      expect(filesOf(store)).toHaveLength(2);
      const lines = (await readAudit(store.controlDirectory)).filter(({ event }) => event === 'history kept');
      expect(lines).toHaveLength(2);
    },
  );

  test('of a run that a schedule has started is kept, too, under its own run id', { timeout: 60_000 }, async () => {
    const store = makeStore(engine(), 'scheduled');
    const workflowId = `holdfast/${store.name}/schedule/backup-now`;
    const handle = await engine().session.client.workflow.start('scheduled', {
      workflowId,
      taskQueue: 'holdfast',
      args: [{ store: store.name, host: TEST_HOST, requestedBy: 'test', start: 'backup' }],
    });
    await handle.result();
    const files = (await keptBy(store, 2)).map((path) => basename(path));
    expect(files.filter((name) => name.includes('scheduled'))).toHaveLength(1);
    const lines = (await readAudit(store.controlDirectory)).filter(({ event }) => event === 'history kept');
    expect(lines.map(({ operation }) => operation)).toContain(handle.firstExecutionRunId);
  });

  test('is left to the host that carried the run out', { timeout: 60_000 }, async () => {
    const store = makeStore(engine(), 'elsewhere');
    await store.backup();
    const [file = ''] = await keptBy(store, 1);
    rmSync(file);
    await lookOnce(engine(), 'another-host');
    expect(filesOf(store)).toEqual([]);
    await lookOnce(engine(), TEST_HOST);
    expect(filesOf(store)).toEqual([file]);
  });
});

interface Relay {
  readonly address: string;
  /** From now on nothing passes, and nothing is refused. */
  readonly hang: () => void;
  readonly close: () => void;
}

async function startRelay(engineAddress: string): Promise<Relay> {
  const [host = '', port = ''] = engineAddress.split(':');
  const sockets: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => socket.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    hang: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function usedBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** A run under the store's name that is none of holdfast, as anybody on loopback can start one; terminated. */
async function startForeign(engine: TestEngine, store: TestStore, type: string, ...input: string[]): Promise<void> {
  const id = `foreign-${randomUUID()}`;
  const attribute = `HoldfastStore="${store.name}"`;
  const named = ['--workflow-id', id, '--type', type, '--task-queue', 'nobody', '--search-attribute', attribute];
  await engine.temporal('workflow', 'start', ...named, ...input);
  await engine.temporal('workflow', 'terminate', '--workflow-id', id, '--reason', 'test');
}

describe('a run that is none of holdfast', () => {
  const engine = useEngine();

  test('is not kept, names no file, and keeps no other from being kept', { timeout: 120_000 }, async () => {
    const store = makeStore(engine(), 'foreign');
    const victim = join(engine().directory, 'victim');
    mkdirSync(victim);
    const first = await store.backup();
    await keptBy(store, 1);
    const order = { store: store.name, host: TEST_HOST, operation: randomUUID() };
    const elsewhere = `x/../${relative(join(store.controlDirectory, 'histories'), victim)}/file`;
    await startForeign(engine(), store, elsewhere, '--input', JSON.stringify(order));
    await startForeign(engine(), store, 'Foo', '--input', JSON.stringify(order));
    await startForeign(engine(), store, 'backup', '--input', JSON.stringify({ ...order, operation: 'anything' }));
    await startForeign(engine(), store, 'backup', '--input', JSON.stringify({ ...order, store: 'another' }));
    await startForeign(engine(), store, 'backup', '--input-meta', 'encoding=binary/encrypted', '--input', 'abc');
    await startForeign(engine(), store, 'backup');
    const second = await store.backup();
    await keptBy(store, 2);
    await lookOnce(engine(), TEST_HOST);
    expect(readdirSync(victim)).toEqual([]);
    const lines = (await readAudit(store.controlDirectory)).filter(({ event }) => event === 'history kept');
    expect(lines.map(({ operation }) => operation)).toEqual([first.operation, second.operation]);
  });
});

describe('a keeper', () => {
  const engine = useEngine();

  test('keeps what closes today, although it has kept what closed tomorrow', { timeout: 60_000 }, async () => {
    const store = makeStore(engine(), 'tomorrow');
    await store.backup();
    const [file = ''] = await keptBy(store, 1);
    const tomorrow = new Date(Date.now() + 24 * 3600 * 1000).toISOString().slice(0, 10).replaceAll('-', '');
    writeFileSync(file.replace(/\d{8}(?=T)/, tomorrow).replace(/[0-9a-f]{12}(?=\.json)/, '0'.repeat(12)), '');
    await store.backup();
    await keptBy(store, 3);
  });

  test('goes on from what it has seen, from what it could not keep, and never from the future', () => {
    const hour = 3_600_000;
    const seen = { newestMillis: 10 * hour, oldestFailedMillis: Infinity };
    expect(lowerBoundMillis(seen, 20 * hour)).toBe(9 * hour);
    expect(lowerBoundMillis(seen, 5 * hour)).toBe(4 * hour);
    expect(lowerBoundMillis({ ...seen, oldestFailedMillis: 3 * hour }, 20 * hour)).toBe(2 * hour);
    expect(lowerBoundMillis({ ...seen, newestMillis: -Infinity }, 20 * hour)).toBe(-Infinity);
  });

  test('gives one that was killed its name, although the engine has forgotten the run', async () => {
    const store = makeStore(engine(), 'forgotten');
    await store.backup();
    const [file = ''] = await keptBy(store, 1);
    const hidden = join(dirname(file), `.${basename(file)}`);
    renameSync(file, hidden);
    const keeper = keeperOf(engine(), { host: 'another-host' });
    keeper.end();
    await keeper.run();
    expect(filesOf(store)).toEqual([file]);
  });

  test('ends in time, whatever the engine does not answer to', { timeout: 60_000 }, async () => {
    await makeStore(engine(), 'hanging').backup();
    const relay = await startRelay(engine().session.address);
    const connection = await NativeConnection.connect({ address: relay.address });
    const keeper = keeperOf(engine(), { client: new Client({ connection }) });
    relay.hang();
    const running = keeper.run();
    await delay(500);
    const begun = performance.now();
    keeper.end();
    await running;
    expect(performance.now() - begun).toBeLessThan(7_000);
    relay.close();
    await connection.close();
  });

  test('needs no more memory the longer it looks', { timeout: 60_000 }, async () => {
    const definitionsDirectory = mkdtempSync(join(engine().directory, 'none-'));
    const keeper = keeperOf(engine(), { definitionsDirectory, intervalMillis: 1 });
    const running = keeper.run();
    await delay(1_000);
    const before = usedBytes();
    await delay(8_000);
    const grown = usedBytes() - before;
    keeper.end();
    await running;
    expect(grown).toBeLessThan(200_000);
  });
});
