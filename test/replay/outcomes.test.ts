// Replay: every protocol is brought to each of its ends on a real engine, and its history replays with the workflows of
// now; so do the histories that earlier versions left in histories/. A run that waits for days for an approval goes on
// after an upgrade only then. HOLDFAST_RECORD_HISTORIES=1 writes the histories of this version down, once, at a release.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { WorkflowExecutionInfo, WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { beforeAll, describe, expect, test } from 'vitest';
import { asRefusal } from '../../client/protocols.js';
import { WORKFLOW_QUEUE, scheduleId } from '../../domain/names.js';
import { HOLDFAST_VERSION } from '../../domain/version.js';
import { BUNDLE_PATH } from '../../workers/bundle.js';
import { damagedCopy } from '../support/artefact.js';
import { TEST_HOST, eventually, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, LATEST_POINT, TestStore } from '../support/store.js';
import type { StoreOptions } from '../support/store.js';

/** In the sources: what is recorded stays, whatever is built. */
const RECORDED = 'test/replay/histories';
const ASKED = { requestedBy: 'test' };
/** Of a restore that backs up what it replaces. */
const KEEPING = ' keeping';

/** What ends how: `<workflow type> <outcome> <STOP code>`. A defect has no place here: none is known. */
const ENDS = [
  'backup done',
  'backup stopped cancelled',
  'backup stopped hook_failed',
  'backup stopped member_missing',
  'plan done',
  'plan stopped artefact_missing',
  'request done',
  'request stopped approval_mismatch',
  'request stopped cancelled',
  'request stopped hook_failed',
  'restore done',
  'restore done keeping',
  'restore stopped cancelled',
  'restore stopped hook_failed',
  'rollback done',
  'rollback stopped cancelled',
  'rollback stopped hook_failed',
  'scheduled done',
  'scheduled skipped',
  'scheduled stopped cancelled',
  'scheduled stopped hook_failed',
  'verify done',
  'verify stopped checksum_mismatch',
] as const;

interface Recorded {
  readonly end: string;
  readonly workflowId: string;
  readonly json: string;
}

async function replays({ workflowId, json }: Pick<Recorded, 'workflowId' | 'json'>): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: { codePath: BUNDLE_PATH } }, JSON.parse(json), workflowId);
}

describe.skipIf(requires('temporal'))('a history', () => {
  const engine = useEngine();
  const ended = new Map<string, Recorded>();

  beforeAll(() => void Runtime.install({ logger: new DefaultLogger('ERROR') }));

  beforeAll(async () => {
    const hooks: StoreOptions = { hooks: ['quiesce', 'resume', 'detach', 'attach', 'caches'] };
    const store = new TestStore(engine(), 'replayed', hooks);
    const { holdfast } = engine();
    const { artefact } = await store.backup();
    await (await holdfast.verify(store.name, 'latest', ASKED)).result();
    const damaged = damagedCopy(artefact, store.directory, (copy) =>
      writeFileSync(join(copy, 'data/data/files/one'), 'x'),
    );
    await stopOf((await holdfast.verify(store.name, damaged, ASKED)).result());
    await stopOf(store.plan({ kind: 'backup', backup: 'nothing' }));
    await stopOf((await holdfast.restore(store.name, LATEST, 'f'.repeat(64), ASKED)).result());
    await store.restore();
    await store.restore(LATEST_POINT);
    await startScheduled(store).then(async (run) => run.result());
    for (const [hook, work] of [
      ['caches', () => store.restore()],
      ['detach', () => store.restore(LATEST_POINT)],
      ['quiesce', () => store.backup()],
      ['quiesce', async () => (await startScheduled(store)).result().catch(refusal)],
    ] as const) {
      store.failHook(hook);
      await stopOf(work());
      store.mendHook(hook);
    }
    for (const [hook, start] of [
      ['quiesce', () => holdfast.backup(store.name, ASKED)],
      ['caches', () => store.startRestore()],
      ['detach', () => store.startRestore(LATEST_POINT)],
    ] as const) {
      const held = store.holdHook(hook);
      const run = await start();
      await held.held();
      // Another one is at work
      await (await startScheduled(store)).result();
      await run.cancel();
      await stopOf(run.result());
      held.letGo();
    }
    const held = store.holdHook('quiesce');
    const scheduled = await startScheduled(store);
    await held.held();
    await scheduled.cancel();
    await stopOf(scheduled.result().catch(refusal));
    held.letGo();
    store.define({ databases: [{ path: 'absent.db' }] });
    await stopOf(store.backup());
    await collect(
      store,
      ENDS.filter((end) => !end.endsWith(KEEPING)),
    );
    const keeping = new TestStore(engine(), 'replayed-keeping', {
      rollback: { destination: join(engine().directory, 'kept') },
    });
    await keeping.backup();
    await keeping.restore();
    await collect(keeping, [`restore done${KEEPING}`], KEEPING);
  }, 240_000);

  /** As a schedule does. */
  const startScheduled = (store: TestStore): Promise<WorkflowHandle> =>
    engine().session.client.workflow.start('scheduled', {
      taskQueue: WORKFLOW_QUEUE,
      workflowId: `${scheduleId(store.name, 'backup')}-${randomUUID()}`,
      args: [{ store: store.name, host: TEST_HOST, requestedBy: 'schedule', start: 'backup' }],
    });

  function refusal(error: unknown): never {
    throw asRefusal(error);
  }

  async function collect(store: TestStore, ends: readonly string[], suffix = ''): Promise<void> {
    const { client } = engine().session;
    const query = `HoldfastStore = '${store.name}' AND ExecutionStatus != 'Running'`;
    const runs = await eventually('every run that has ended is listed', async () => {
      const found: WorkflowExecutionInfo[] = [];
      for await (const info of client.workflow.list({ query })) found.push(info);
      const reached = new Set(found.map((info) => endOf(info) + suffix));
      return ends.every((end) => reached.has(end)) ? found : found.length > 60 && found;
    });
    for (const info of runs) {
      const history = await client.workflow.getHandle(info.workflowId, info.runId).fetchHistory();
      const end = endOf(info) + suffix;
      ended.set(end, { end, workflowId: info.workflowId, json: historyToJSON(history) });
    }
    if (process.env['HOLDFAST_RECORD_HISTORIES'] === '1') record([...ended.values()]);
  }

  function endOf({ type, typedSearchAttributes }: WorkflowExecutionInfo): string {
    const found = Object.fromEntries(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]));
    return [type, found['HoldfastOutcome'], found['HoldfastStopCode']].filter((part) => part !== undefined).join(' ');
  }

  test.each(ENDS)('of a run that ended as `%s` replays', async (end) => {
    const recorded = ended.get(end);
    if (recorded === undefined) expect.fail(`only ${[...ended.keys()].sort().join(', ')}`);
    await replays(recorded);
  });

  test('of another order of steps does not replay: what passes here could fail', async () => {
    const { workflowId, json } = ended.get('backup done') ?? expect.fail('no backup');
    await expect(replays({ workflowId, json: json.replaceAll('"planBackup"', '"plan"') })).rejects.toThrow(
      /[Nn]ondeterminism|TMPRL1100/,
    );
  });
});

describe('a history that an earlier version has left', () => {
  const files = readdirSync(RECORDED, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.json.gz'),
  );

  test('is there for each end of each protocol, of every version that was released', () => {
    for (const version of readdirSync(RECORDED))
      expect(
        files
          .flatMap((name) =>
            name.startsWith(`${version}/`) ? [name.slice(version.length + 1, -'.json.gz'.length)] : [],
          )
          .sort(),
      ).toEqual(ENDS.map(nameOf).sort());
  });

  test.each(files)('replays: %s', async (name) => {
    const { workflowId, json } = JSON.parse(
      gunzipSync(readFileSync(join(RECORDED, name))).toString('utf8'),
    ) as Recorded;
    await replays({ workflowId, json });
  });
});

const nameOf = (end: string): string => end.replaceAll(' ', '-');

/** Stack traces name the checkout, and clients their machine: nobody's business. */
const anonymous = (json: string): string =>
  json.replaceAll(process.cwd(), '/opt/holdfast').replaceAll(`@${hostname()}`, '@host');

function record(all: readonly Recorded[]): void {
  const directory = join(RECORDED, HOLDFAST_VERSION);
  mkdirSync(directory, { recursive: true });
  for (const { end, workflowId, json } of all) {
    const known = ENDS.find((candidate) => candidate === end);
    if (known !== undefined)
      writeFileSync(
        join(directory, `${nameOf(known)}.json.gz`),
        gzipSync(JSON.stringify({ workflowId, json: anonymous(json) })),
      );
  }
}
