// How a vault's work grows with the store: the tree of generate.ts at 1, 4 and 16 GiB, once each, the page cache dropped
// before each command. Time should grow by the size at most, and memory not at all.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chartOf } from './chart.js';
import { generateTree, sizeOfTree } from './generate.js';
import { run, untilQuiet, watchPeaks } from './processes.js';
import { markdownTable, round } from './statistics.js';
import { VaultStore } from './vault-store.js';
import type { Work } from './vault-store.js';

const GIB = 1024 ** 3;
/** Of generate.ts at scale 1, nearly. */
const TREE_GIB = 1.89;
const MEASURES = ['full', 'nothing changed', 'verify', 'restore'] as const;
type Measure = (typeof MEASURES)[number];

export interface GrowthSettings {
  readonly directory: string;
  readonly seed: number;
  readonly gib: readonly number[];
}

export interface GrowthRow {
  readonly gib: number;
  readonly files: number;
  readonly measure: Measure;
  /** Without integrity_check. */
  readonly seconds: number;
  readonly integritySeconds: number;
  /** Highest resident memory of the worker so far. */
  readonly peakMib: number;
}

/** An installation for each size: what a process has once needed, it keeps. */
export async function measureGrowth(
  { directory, seed, gib }: GrowthSettings,
  say: (line: string) => void,
): Promise<readonly GrowthRow[]> {
  const rows: GrowthRow[] = [];
  for (const wanted of gib) {
    const home = join(directory, 'growth');
    const tree = join(home, 'store', 'tree');
    mkdirSync(home, { recursive: true });
    say(`generating ${wanted} GiB`);
    generateTree(tree, { scale: wanted / TREE_GIB, seed });
    const { files, sizeBytes } = sizeOfTree(tree);
    const store = await VaultStore.begin(home, tree);
    try {
      const work = { full: () => store.backup(), 'nothing changed': () => store.backup() };
      const all = { ...work, verify: () => store.verify(), restore: () => store.restore() };
      for (const measure of MEASURES) {
        const row = { gib: round(sizeBytes / GIB), files, measure, ...(await timed(home, all[measure])) };
        rows.push(row);
        say(`${row.gib} GiB, ${measure}: ${round(row.seconds)} s, ${row.peakMib} MiB`);
      }
    } finally {
      await store.end();
      rmSync(home, { recursive: true, force: true });
    }
  }
  return rows;
}

async function timed(
  home: string,
  work: () => Promise<Work>,
): Promise<Pick<GrowthRow, 'seconds' | 'integritySeconds' | 'peakMib'>> {
  await run(['sync', '-f', home]);
  if (process.getuid?.() === 0) writeFileSync('/proc/sys/vm/drop_caches', '3');
  await untilQuiet();
  const peaks = new Map<string, number>();
  const isWorker = (argv: readonly string[]): string | undefined =>
    argv.join(' ').includes('/workers/main.js') ? 'worker' : undefined;
  const watch = watchPeaks(process.pid, isWorker, peaks);
  try {
    const { seconds, integritySeconds = 0 } = await work();
    watch.stop();
    return {
      seconds: seconds - integritySeconds,
      integritySeconds,
      peakMib: Math.round(Math.max(0, ...peaks.values())),
    };
  } finally {
    watch.stop();
  }
}

export function growthTables(rows: readonly GrowthRow[]): string {
  return markdownTable(
    ['GiB', 'files', 'work', 'seconds', 'MiB/s', 'integrity_check apart, s', 'peak MiB'],
    rows.map(({ gib, files, measure, seconds, integritySeconds, peakMib }) => [
      gib,
      files,
      measure,
      round(seconds),
      Math.round((gib * 1024) / seconds),
      round(integritySeconds),
      peakMib,
    ]),
  );
}

/** Time and memory over the size, as SVG. */
export function growthChart(rows: readonly GrowthRow[]): string {
  const lines = (of: (row: GrowthRow) => number) =>
    MEASURES.map((measure) => ({
      name: measure,
      points: rows.filter((row) => row.measure === measure).map((row) => [row.gib, of(row)] as const),
    }));
  return chartOf([
    { title: 'Time, seconds', across: 'size of the store, GiB', lines: lines(({ seconds }) => seconds) },
    { title: 'Peak memory, MiB', across: 'size of the store, GiB', lines: lines(({ peakMib }) => peakMib) },
  ]);
}
