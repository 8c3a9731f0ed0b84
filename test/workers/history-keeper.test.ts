// Histories of closed runs beside the audit log: kept whole, once, bound to the log, and good for a replay.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Worker } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';
import { readAudit } from '../../control/audit.js';
import { executionId } from '../../domain/names.js';
import { BUNDLE_PATH } from '../../workers/bundle.js';
import { createHistoryKeeper } from '../../workers/history-keeper.js';
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

/** Another worker's keeper: looks once and ends. */
async function lookOnce(engine: TestEngine, host: string): Promise<void> {
  const keeper = createHistoryKeeper({
    client: engine.session.client,
    host,
    definitionsDirectory: engine.definitionsDirectory,
    log: createLog('test'),
  });
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
