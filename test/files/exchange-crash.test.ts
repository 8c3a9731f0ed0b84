// Killed at any instruction, the store is the old one or the new one once recovery has run (SM-9). A child process
// kills itself before, within and after every step; another finishes or undoes what it left.
import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { ExchangePlan } from '../../domain/exchange.js';
import { performExchange, planExchange, undoExchange } from '../../files/exchange.js';
import { treeDigest } from '../support/tree-digest.js';
import { fill, temporaryDirectory } from './temporary.js';

const CHILD = fileURLToPath(new URL('./exchange-child.js', import.meta.url));
const PLACES = ['before', 'renamed', 'synced', 'after'] as const;
/** After a step is before the next one; the end of the last step is the end of the exchange. */
const TRIED = { perform: ['before', 'renamed', 'synced'], undo: ['renamed'] } as const;

interface Case {
  readonly mode: 'root' | 'entries';
  readonly direction: 'perform' | 'undo';
  readonly step: number;
  readonly place: (typeof PLACES)[number];
}

/** Two roots, so that a crash between roots is among the cases; six entry steps of every kind and with sidecars. */
async function prepare(mode: 'root' | 'entries'): Promise<{ plan: ExchangePlan; live: string[]; staged: string[] }> {
  const directory = temporaryDirectory();
  const live = [join(directory, 'one'), join(directory, 'two')];
  const staged = [join(directory, '.holdfast/one/new'), join(directory, '.holdfast/two/new')];
  for (const path of [...live, ...staged]) mkdirSync(path, { recursive: true });
  fill(join(directory, 'one'), {
    'state.db': 'old',
    'state.db-wal': 'old wal',
    'state.db-shm': 'old shm',
    'docs/a': 'old',
    only: 'old',
  });
  fill(join(directory, '.holdfast/one/new'), { 'state.db': 'new', 'docs/b': 'new', added: 'new' });
  fill(join(directory, 'two'), { b: 'old two' });
  fill(join(directory, '.holdfast/two/new'), { b: 'new two' });
  const plan = await planExchange(
    [0, 1].map((index) => ({
      root: `root${index}`,
      mode,
      livePath: live[index] ?? '',
      stagedPath: staged[index] ?? '',
      untouched: [],
    })),
  );
  return { plan, live, staged };
}

async function digests(paths: readonly string[]): Promise<string> {
  // The times of the directories that entries move between are all that an exchange may alter.
  const each = await Promise.all(paths.map(async (path) => (await treeDigest(path, { times: 'below' })).sha256));
  return each.join(' ');
}

function run(plan: ExchangePlan, direction: string, step: number, place: string): NodeJS.Signals | null {
  const result = spawnSync(process.execPath, [CHILD, JSON.stringify(plan), direction, String(step), place], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  if (result.signal === null && result.status !== 0) throw new Error(result.stderr);
  return result.signal;
}

const STEPS = { root: 2, entries: 7 } as const;
const cases: Case[] = [];
for (const mode of ['root', 'entries'] as const) {
  cases.push({ mode, direction: 'perform', step: STEPS[mode] - 1, place: 'after' });
  for (const direction of ['perform', 'undo'] as const) {
    for (let step = 0; step < STEPS[mode]; step += 1) {
      for (const place of TRIED[direction]) cases.push({ mode, direction, step, place });
    }
  }
}

describe('killed in an exchange', () => {
  test.each(cases)(
    '$mode: $direction killed at step $step ($place) is undone to the old state and finished to the new one',
    async ({ mode, direction, step, place }) => {
      const { plan, live, staged } = await prepare(mode);
      expect(plan.roots.flatMap((root) => root.steps)).toHaveLength(STEPS[mode]);
      const [oldLive, oldStaged] = [await digests(live), await digests(staged)];
      if (direction === 'undo') await performExchange(plan);
      expect(run(plan, direction, step, place)).toBe('SIGKILL');
      await undoExchange(plan);
      expect([await digests(live), await digests(staged)]).toEqual([oldLive, oldStaged]);
      await performExchange(plan);
      expect([await digests(live), await digests(staged)]).toEqual([oldStaged, oldLive]);
    },
  );

  test('a killed exchange can also be gone on with', async () => {
    const { plan, live, staged } = await prepare('entries');
    const [oldLive, oldStaged] = [await digests(live), await digests(staged)];
    expect(run(plan, 'perform', 3, 'renamed')).toBe('SIGKILL');
    expect([oldLive, oldStaged]).not.toContain(await digests(live));
    await performExchange(plan);
    expect([await digests(live), await digests(staged)]).toEqual([oldStaged, oldLive]);
  });

  test('planned again after it, the exchange is the way back', async () => {
    const { plan, live, staged } = await prepare('entries');
    const before = [await digests(live), await digests(staged)];
    await performExchange(plan);
    const back = await planExchange(plan.roots.map((root) => ({ ...root, untouched: [] })));
    await performExchange(back);
    expect([await digests(live), await digests(staged)]).toEqual(before);
  });

  test('the root that was destroyed is moved in, and undone to nothing', async () => {
    const { plan, live } = await prepare('root');
    const [root] = plan.roots;
    if (root === undefined) throw new Error('no root');
    renameSync(root.livePath, `${root.livePath}-gone`);
    const again = await planExchange([{ ...root, untouched: [] }]);
    expect(again.roots[0]?.steps).toMatchObject([{ name: '.', kind: 'move-in', liveInode: null }]);
    await performExchange(again);
    await expect(digests(live)).resolves.toBeTruthy();
    await undoExchange(again);
    await expect(digests(live)).rejects.toMatchObject({ code: 'io_error' });
  });
});
