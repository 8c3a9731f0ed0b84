// How long a backup and a restore of the whole tree take, beside what a person writes by hand, in the same run and
// taking turns. `holdfast up` runs; a command is timed from its start to its exit, validation included.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BackupReport, PlanReport, RestoreReport, StepTime } from '../domain/protocol.js';
import { generateTree, sizeOfTree } from './generate.js';
import type { TreeSize } from './generate.js';
import { Installation } from './installation.js';
import { cpuOf, run, runWithCpu, untilQuiet } from './processes.js';
import type { CpuSeconds } from './processes.js';
import { markdownTable, median, range, round } from './statistics.js';

export interface ThroughputSettings {
  readonly directory: string;
  readonly scale: number;
  readonly seed: number;
  readonly repeats: number;
}

type Cache = 'warm' | 'cold';
type Contestant = 'holdfast' | 'hand';

interface Timed {
  readonly seconds: number;
  /** `sync` afterwards: what was left unwritten. */
  readonly flushSeconds: number;
  /** How many cores others kept busy right before. */
  readonly otherCores: number;
  readonly steps?: readonly StepTime[];
  readonly cpu?: CpuSeconds;
}

type Work = Omit<Timed, 'flushSeconds' | 'otherCores'>;

interface Measured extends Timed {
  readonly work: 'backup' | 'backup again' | 'restore';
  readonly contestant: Contestant;
  readonly cache: Cache;
  readonly repeat: number;
}

export interface ThroughputResult {
  readonly tree: TreeSize;
  readonly scale: number;
  readonly measurements: readonly Measured[];
  /** Median of holdfast over median of the peer. */
  readonly ratios: Readonly<Record<string, number>>;
  readonly peakMib: Readonly<Record<string, number>>;
}

const DELETIONS_FORGOTTEN_SECONDS = 370;
const STORE = 'bench';
const HAND_BACKUP = fileURLToPath(new URL('../../bench/hand-backup.sh', import.meta.url));

interface Places {
  readonly home: string;
  readonly tree: string;
  readonly backups: string;
  readonly handCopy: string;
  readonly handRestore: string;
}

export async function measureThroughput(
  settings: ThroughputSettings,
  say: (line: string) => void,
): Promise<ThroughputResult> {
  const home = join(settings.directory, 'throughput');
  const places: Places = {
    home,
    tree: join(home, 'store', 'tree'),
    backups: join(home, 'backups'),
    handCopy: join(home, 'hand'),
    handRestore: join(home, 'hand-restored'),
  };
  prepareTree(places.tree, settings, say);
  const installation = new Installation(home);
  define(installation, places);
  const measurements: Measured[] = [];
  const upSeconds = await installation.up();
  say(`holdfast is up after ${round(upSeconds)} s`);
  try {
    const caches: readonly Cache[] = process.getuid?.() === 0 ? ['warm', 'cold'] : ['warm'];
    await installation.watched(async () => {
      for (const cache of caches) {
        rmSync(join(home, 'trash'), { recursive: true, force: true });
        await untilDeletionsAreForgotten(home, settings.scale, say);
        for (let repeat = 1; repeat <= settings.repeats; repeat += 1) {
          for (const measured of await oneRepeat(installation, places, cache, repeat)) {
            measurements.push(measured);
            say(
              `${measured.work}, ${measured.contestant}, ${cache}, ${repeat}: ${round(measured.seconds)} s (+ ${round(measured.flushSeconds)} s), others ${measured.otherCores} cores`,
            );
          }
        }
      }
    });
  } finally {
    await installation.down();
    for (const path of [
      join(home, 'trash'),
      join(places.tree, '..', '.holdfast'),
      places.backups,
      places.handCopy,
      places.handRestore,
    ])
      rmSync(path, { recursive: true, force: true });
  }
  const peakMib = Object.fromEntries([...installation.peaks].map(([name, mib]) => [name, round(mib)]));
  return {
    tree: sizeOfTree(places.tree),
    scale: settings.scale,
    measurements,
    ratios: ratiosOf(measurements),
    peakMib,
  };
}

/** A tree that an earlier run has made is used again: it is the same by its seed. */
function prepareTree(tree: string, { scale, seed }: ThroughputSettings, say: (line: string) => void): void {
  const marker = join(tree, '..', 'generated.json');
  if (existsSync(marker)) return;
  rmSync(tree, { recursive: true, force: true });
  say(`generating the tree at scale ${scale}`);
  generateTree(tree, { scale, seed });
  writeFileSync(marker, JSON.stringify({ scale, seed }));
}

/** Hooks that do nothing: nobody uses the tree, but that can't be seen from inside every container. */
function define(installation: Installation, { tree, backups }: Places): void {
  const nothing = { argv: ['/bin/true'] };
  installation.define({
    holdfast: 1,
    store: STORE,
    roots: {
      tree: {
        path: tree,
        databases: [
          {
            path: 'core.db',
            requiredTables: ['events', 'documents'],
            migrations: { table: 'migrations', orderBy: 'version' },
          },
          { path: 'projects/*/project.db', requiredTables: ['features'] },
          { path: 'projects/*/map*.db', requiredTables: ['tiles'] },
        ],
        trees: [{ path: '.' }],
      },
    },
    hooks: { detach: nothing, attach: nothing },
    backup: { destination: backups },
    rollback: { pointsMax: 1 },
  });
}

/** The order changes with each repeat, so that neither always comes after the other. */
async function oneRepeat(
  installation: Installation,
  places: Places,
  cache: Cache,
  repeat: number,
): Promise<Measured[]> {
  const order: readonly Contestant[] = repeat % 2 === 1 ? ['hand', 'holdfast'] : ['holdfast', 'hand'];
  const found: Measured[] = [];
  forget(places);
  for (const contestant of order) {
    const backup = contestant === 'hand' ? () => handBackup(places) : () => holdfastBackup(installation);
    found.push({ work: 'backup', contestant, cache, repeat, ...(await timed(places, cache, backup)) });
  }
  found.push({
    work: 'backup again',
    contestant: 'holdfast',
    cache,
    repeat,
    ...(await timed(places, cache, () => holdfastBackup(installation))),
  });
  const plan = await installation.command<PlanReport>('plan', STORE, 'latest');
  for (const contestant of order) {
    const restore =
      contestant === 'hand' ? () => handRestore(places) : () => holdfastRestore(installation, plan.report.digest);
    found.push({ work: 'restore', contestant, cache, repeat, ...(await timed(places, cache, restore)) });
  }
  return found;
}

/**
 * Without a control directory no database has a verdict yet: every backup checks every database. What was made before
 * is only moved away: ext4 is slow for minutes in making files where many have just been removed.
 */
function forget({ home, tree, backups, handCopy, handRestore }: Places): void {
  const trash = join(home, 'trash', String(process.hrtime.bigint()));
  mkdirSync(trash, { recursive: true });
  // The note that the store was worked on goes too: without it, a store without its control directory is not mounted
  const notes = join(home, 'state', 'stores');
  for (const [index, path] of [join(tree, '..', '.holdfast'), notes, backups, handCopy, handRestore].entries()) {
    if (existsSync(path)) renameSync(path, join(trash, String(index)));
  }
  mkdirSync(backups, { recursive: true, mode: 0o700 });
}

/**
 * ext4 passes over the inodes of files that were deleted less than a minute ago, or six while they are not written back,
 * one by one for each file that is made: many thousands cost whoever makes files more than his own work.
 */
async function untilDeletionsAreForgotten(home: string, scale: number, say: (line: string) => void): Promise<void> {
  if (scale < 1) return;
  say(`waiting ${DELETIONS_FORGOTTEN_SECONDS} s, until ext4 has forgotten what was deleted`);
  await run(['sync', '-f', home]);
  await sleep(DELETIONS_FORGOTTEN_SECONDS * 1000);
}

async function handBackup({ tree, handCopy }: Places): Promise<Work> {
  return await runWithCpu([HAND_BACKUP, tree, handCopy]);
}

/** What a careful person does with such a copy: checks it, copies it back, and has it written. */
async function handRestore({ handCopy, handRestore: target }: Places): Promise<Work> {
  const script = 'set -e; (cd "$1" && sha256sum --quiet -c MANIFEST.sha256); cp -a "$1" "$2"; sync -f "$2"';
  return await runWithCpu(['bash', '-c', script, 'restore', handCopy, target]);
}

async function holdfastBackup(installation: Installation): Promise<Work> {
  return await withCpu(installation, () => installation.command<BackupReport>('backup', STORE));
}

async function holdfastRestore(installation: Installation, digest: string): Promise<Work> {
  return await withCpu(installation, () =>
    installation.command<RestoreReport>('restore', STORE, 'latest', '--confirm', digest),
  );
}

async function withCpu(
  installation: Installation,
  work: () => Promise<{ readonly seconds: number; readonly report: { readonly steps: readonly StepTime[] } }>,
): Promise<Work> {
  const before = cpuOf(installation.ready.workerPid);
  const { seconds, report } = await work();
  const after = cpuOf(installation.ready.workerPid);
  return {
    seconds,
    steps: report.steps,
    cpu: { user: round(after.user - before.user), system: round(after.system - before.system) },
  };
}

async function timed({ home, tree }: Places, cache: Cache, work: () => Promise<Work>): Promise<Timed> {
  if (cache === 'warm') await readTree(tree);
  await run(['sync', '-f', home]);
  if (cache === 'cold') writeFileSync('/proc/sys/vm/drop_caches', '3');
  const otherCores = round(await untilQuiet());
  const { seconds, steps, cpu } = await work();
  const flush = await run(['sync', '-f', home]);
  return {
    seconds,
    flushSeconds: flush.seconds,
    otherCores,
    ...(steps === undefined ? {} : { steps }),
    ...(cpu === undefined ? {} : { cpu }),
  };
}

async function readTree(tree: string): Promise<void> {
  await run(['bash', '-c', 'find "$1" -type f -print0 | xargs -0 cat > /dev/null', 'read', tree]);
}

function ratiosOf(all: readonly Measured[]): Readonly<Record<string, number>> {
  const secondsOf = (work: Measured['work'], contestant: Contestant, cache: Cache): number =>
    median(
      all
        .filter((one) => one.work === work && one.contestant === contestant && one.cache === cache)
        .map(({ seconds }) => seconds),
    );
  const pairs = (['backup', 'restore'] as const).flatMap((work) =>
    (['warm', 'cold'] as const).map((cache) => ({ work, cache })),
  );
  return Object.fromEntries(
    pairs
      .map(
        ({ work, cache }) =>
          [`${work}, ${cache}`, round(secondsOf(work, 'holdfast', cache) / secondsOf(work, 'hand', cache))] as const,
      )
      .filter(([, ratio]) => Number.isFinite(ratio)),
  );
}

export function throughputTables(result: ThroughputResult): string {
  const { measurements, ratios } = result;
  const groups = [
    ...new Set(measurements.map(({ work, contestant, cache }) => `${work}/${contestant}/${cache}`)),
  ].sort();
  const rows = groups.map((group) => {
    const of = measurements.filter(({ work, contestant, cache }) => `${work}/${contestant}/${cache}` === group);
    const [work = '', contestant = '', cache = ''] = group.split('/');
    const cpu = of.flatMap((one) => (one.cpu === undefined ? [] : [one.cpu.user + one.cpu.system]));
    return [
      work,
      contestant,
      cache,
      range(of.map(({ seconds }) => seconds)),
      round(median(of.map(({ flushSeconds }) => flushSeconds))),
      cpu.length === 0 ? '' : round(median(cpu)),
      Math.max(...of.map(({ otherCores }) => otherCores)),
    ];
  });
  const steps = (['backup', 'restore'] as const).map((work) =>
    stepTable(measurements.filter((one) => one.work === work && one.steps !== undefined)),
  );
  const size = `${result.tree.files} files, ${round(result.tree.sizeBytes / 1024 ** 2)} MiB, ${result.tree.databases} databases`;
  return [
    `Tree: ${size}`,
    markdownTable(
      [
        'work',
        'by',
        'cache',
        'seconds: min / **median** / max',
        'sync after, s',
        'CPU, s (holdfast: worker and cut)',
        'others busy before, cores: max',
      ],
      rows,
    ),
    markdownTable(['holdfast / hand', 'ratio of the medians'], Object.entries(ratios)),
    ...steps,
    markdownTable(['process', 'peak resident MiB'], Object.entries(result.peakMib)),
  ].join('\n\n');
}

function stepTable(measured: readonly Measured[]): string {
  const ids = [...new Set(measured.flatMap(({ steps }) => (steps ?? []).map(({ step }) => step)))];
  const caches = [...new Set(measured.map(({ cache }) => cache))];
  const rows = ids.map((id) => [
    id,
    ...caches.map((cache) =>
      round(
        median(
          measured
            .filter((one) => one.cache === cache)
            .flatMap(({ steps }) => (steps ?? []).filter(({ step }) => step === id).map(({ millis }) => millis / 1000)),
        ),
      ),
    ),
  ]);
  return markdownTable(['step', ...caches.map((cache) => `${cache}, s (median)`)], rows);
}
