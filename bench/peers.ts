// What a vault costs beside the programs that people would take instead, taking turns in one run: full, nothing changed, 1% of
// rows changed (two ways), verify, restore. `holdfast up` runs; a command is timed from its start to its exit, the engine,
// the cut, Online Backup and sealing included. integrity_check of databases, which no peer does, is shown apart.
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { StepTime } from '../domain/protocol.js';
import { generateTree } from './generate.js';
import { mutateTree } from './mutate.js';
import { run, untilQuiet, watchPeaks } from './processes.js';
import { markdownTable, median, range, round } from './statistics.js';
import { VaultStore } from './vault-store.js';
import type { Work } from './vault-store.js';

const MIB = 1024 * 1024;

export interface PeersSettings {
  readonly directory: string;
  /** 1: 1.9 GiB. */
  readonly scale: number;
  readonly seed: number;
  readonly repeats: number;
}

export const MEASURES = ['full', 'nothing changed', 'uniform', 'hot', 'verify', 'restore'] as const;
export type Measure = (typeof MEASURES)[number];

interface Measured {
  readonly tool: string;
  readonly measure: Measure;
  readonly repeat: number;
  /** Without integrity_check. */
  readonly seconds: number;
  /** `sync` afterwards: what was left unwritten. */
  readonly flushSeconds: number;
  readonly integritySeconds: number;
  /** Of the repository, and how much of it was new. */
  readonly sizeBytes: number;
  readonly addedBytes: number;
  readonly peakMib: number;
  readonly otherCores: number;
  /** Of holdfast. */
  readonly steps: readonly StepTime[];
}

/** One line of --json: what the issue's table asks for. */
export interface PeersRow {
  readonly measure: string;
  readonly holdfastSeconds: number;
  readonly fastestPeer: string;
  readonly fastestPeerSeconds: number;
  readonly ratio: number;
}

export interface PeersResult {
  readonly absent: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly floorMib: Readonly<Record<string, number>>;
  readonly measured: readonly Measured[];
  readonly rows: readonly PeersRow[];
}

interface Places {
  readonly home: string;
  readonly tree: string;
}

/** A contestant: each starts with an empty repository. */
interface Tool {
  readonly name: string;
  readonly repository: string;
  init(): Promise<void>;
  backup(): Promise<Work>;
  verify(): Promise<Work>;
  restore(target: string): Promise<Work>;
}

export async function measurePeers(settings: PeersSettings, say: (line: string) => void): Promise<PeersResult> {
  const home = join(settings.directory, 'peers');
  const places: Places = { home, tree: join(home, 'store', 'tree') };
  const measured: Measured[] = [];
  const floors: Record<string, number[]> = { uniform: [], hot: [] };
  const peers = PEERS.filter(({ program }) => onPath(program));
  const absent = PEERS.filter(({ program }) => !onPath(program)).map(({ name }) => name);
  for (let repeat = 1; repeat <= settings.repeats; repeat += 1) {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    say(`repeat ${repeat}: generating the tree at scale ${settings.scale}`);
    generateTree(places.tree, settings);
    const holdfast = await VaultStore.begin(places.home, places.tree);
    const tools: readonly Tool[] = [holdfast, ...peers.map((peer) => peerTool(peer, places))];
    const turns = repeat % 2 === 1 ? tools : tools.toReversed();
    const take = async (tool: Tool, measure: Measure, work: () => Promise<Work>): Promise<void> => {
      const one = await timed(places, tool, measure, repeat, work);
      measured.push(one);
      const added = measure === 'verify' || measure === 'restore' ? '' : `, ${round(one.addedBytes / MIB)} MiB added`;
      say(`${tool.name}, ${measure}, ${repeat}: ${round(one.seconds)} s (+ ${round(one.flushSeconds)} s)${added}`);
    };
    try {
      for (const tool of turns) {
        await tool.init();
        await take(tool, 'full', () => tool.backup());
        await take(tool, 'nothing changed', () => tool.backup());
      }
      for (const locality of ['uniform', 'hot'] as const) {
        const { floorBytes } = mutateTree(places.tree, settings.seed + repeat, locality);
        floors[locality]?.push(floorBytes / MIB);
        for (const tool of turns) await take(tool, locality, () => tool.backup());
      }
      for (const tool of turns) {
        await take(tool, 'verify', () => tool.verify());
        const target = join(home, 'restored');
        rmSync(target, { recursive: true, force: true });
        await take(tool, 'restore', () => tool.restore(target));
        rmSync(target, { recursive: true, force: true });
      }
    } finally {
      await holdfast.end();
    }
  }
  rmSync(home, { recursive: true, force: true });
  return {
    absent,
    versions: Object.fromEntries(peers.map(({ name, program }) => [name, versionOf(program)])),
    floorMib: Object.fromEntries(Object.entries(floors).map(([name, all]) => [name, round(median(all))])),
    measured,
    rows: rowsOf(measured),
  };
}

async function timed(
  { home }: Places,
  tool: Tool,
  measure: Measure,
  repeat: number,
  work: () => Promise<Work>,
): Promise<Measured> {
  await run(['sync', '-f', home]);
  if (process.getuid?.() === 0) writeFileSync('/proc/sys/vm/drop_caches', '3');
  const otherCores = round(await untilQuiet());
  const before = sizeOf(tool.repository);
  const peaks = new Map<string, number>();
  const watch = watchPeaks(process.pid, nameOfProcess(tool), peaks);
  let done: Work;
  try {
    done = await work();
  } finally {
    watch.stop();
  }
  const flush = await run(['sync', '-f', home]);
  const sizeBytes = sizeOf(tool.repository);
  return {
    tool: tool.name,
    measure,
    repeat,
    seconds: done.seconds - (done.integritySeconds ?? 0),
    flushSeconds: flush.seconds,
    integritySeconds: done.integritySeconds ?? 0,
    sizeBytes,
    addedBytes: sizeBytes - before,
    peakMib: Math.round(Math.max(0, ...peaks.values())),
    otherCores,
    steps: done.steps ?? [],
  };
}

const nameOfProcess =
  ({ name }: Tool) =>
  (argv: readonly string[]): string | undefined => {
    const line = argv.join(' ');
    if (name !== 'holdfast') return line.includes(`${name.split(' ')[0]}`) ? name : undefined;
    return line.includes('/workers/main.js') ? 'worker' : undefined;
  };

function sizeOf(directory: string): number {
  if (!existsSync(directory)) return 0;
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + lstatSync(join(entry.parentPath, entry.name)).size, 0);
}

const onPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => existsSync(join(directory, program)));

function versionOf(program: string): string {
  const argv = program === 'restic' ? ['version'] : ['--version'];
  return execFileSync(program, argv, { encoding: 'utf8' }).trim().split('\n')[0] ?? '';
}

interface Peer {
  readonly name: string;
  readonly program: string;
  environment(repository: string, cache: string): Readonly<Record<string, string>>;
  init(repository: string): readonly (readonly string[])[];
  backup(tree: string): readonly string[];
  verify: readonly string[];
  /** Prints its snapshots as JSON, where a restore wants the id of one: it is asked for before it is timed. */
  readonly latest?: readonly string[];
  restore(tree: string, target: string, latest: string): readonly string[];
}

const RESTIC: Omit<Peer, 'name' | 'init' | 'backup'> = {
  program: 'restic',
  environment: (repository, cache) => ({
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD: 'x',
    RESTIC_CACHE_DIR: cache,
    TMPDIR: cache,
  }),
  verify: ['restic', 'check', '--read-data'],
  restore: (tree, target) => ['restic', 'restore', `latest:${tree}`, '--target', target],
};
const RUSTIC: Omit<Peer, 'name' | 'init'> = {
  program: 'rustic',
  environment: (repository, cache) => ({
    RUSTIC_REPOSITORY: repository,
    RUSTIC_PASSWORD: 'x',
    RUSTIC_CACHE_DIR: cache,
    RUSTIC_NO_PROGRESS: 'true',
  }),
  backup: (tree) => ['rustic', 'backup', tree],
  verify: ['rustic', 'check', '--read-data'],
  restore: (tree, target) => ['rustic', 'restore', `latest:${tree}`, target],
};
const KOPIA: Omit<Peer, 'name' | 'init'> = {
  program: 'kopia',
  environment: (repository, cache) => ({
    KOPIA_CONFIG_PATH: `${cache}/repository.config`,
    KOPIA_CACHE_DIRECTORY: `${cache}/cache`,
    KOPIA_LOG_DIR: `${cache}/log`,
    KOPIA_PASSWORD: 'x',
    KOPIA_CHECK_FOR_UPDATES: 'false',
    HOLDFAST_BENCH_REPOSITORY: repository,
  }),
  backup: (tree) => ['kopia', 'snapshot', 'create', '--no-progress', tree],
  verify: ['kopia', 'snapshot', 'verify', '--verify-files-percent=100', '--no-progress'],
  latest: ['kopia', 'snapshot', 'list', '--json'],
  restore: (_tree, target, latest) => ['kopia', 'restore', '--no-progress', latest, target],
};
const kopiaInit = (repository: string): readonly string[] => [
  'kopia',
  'repository',
  'create',
  'filesystem',
  `--path=${repository}`,
];

const PEERS: readonly Peer[] = [
  { name: 'restic', ...RESTIC, init: () => [['restic', 'init']], backup: (tree) => ['restic', 'backup', tree] },
  {
    name: 'restic without compression',
    ...RESTIC,
    init: () => [['restic', 'init']],
    backup: (tree) => ['restic', 'backup', '--compression', 'off', tree],
  },
  { name: 'rustic', ...RUSTIC, init: () => [['rustic', 'init']] },
  { name: 'rustic without compression', ...RUSTIC, init: () => [['rustic', 'init', '--set-compression', '0']] },
  { name: 'kopia', ...KOPIA, init: (repository) => [kopiaInit(repository)] },
  {
    name: 'kopia with zstd',
    ...KOPIA,
    init: (repository) => [kopiaInit(repository), ['kopia', 'policy', 'set', '--global', '--compression=zstd']],
  },
];

function peerTool(peer: Peer, { home, tree }: Places): Tool {
  const slug = peer.name.replaceAll(' ', '-');
  const repository = join(home, 'repositories', slug);
  const cache = join(home, 'caches', slug);
  const environment = { ...process.env, ...peer.environment(repository, cache) };
  const timedRun = async (argv: readonly string[]): Promise<Work> => ({
    seconds: (await run(argv, { environment })).seconds,
  });
  return {
    name: peer.name,
    repository,
    async init() {
      for (const directory of [repository, cache]) mkdirSync(directory, { recursive: true });
      for (const argv of peer.init(repository)) await run(argv, { environment });
    },
    backup: () => timedRun(peer.backup(tree)),
    verify: () => timedRun(peer.verify),
    async restore(target) {
      mkdirSync(target, { recursive: true });
      const listed = peer.latest === undefined ? '[]' : (await run(peer.latest, { environment })).stdout;
      const latest = (JSON.parse(listed) as readonly { readonly id: string }[]).at(-1)?.id ?? '';
      return timedRun(peer.restore(tree, target, latest));
    },
  };
}

function rowsOf(measured: readonly Measured[]): readonly PeersRow[] {
  const valueOf = (tool: string, measure: Measure, pick: (one: Measured) => number): number =>
    median(measured.filter((one) => one.tool === tool && one.measure === measure).map(pick));
  const peers = [...new Set(measured.map(({ tool }) => tool))].filter((tool) => tool !== 'holdfast');
  const row = (name: string, measure: Measure, pick: (one: Measured) => number): PeersRow[] => {
    const [best] = peers
      .map((tool) => ({ tool, value: valueOf(tool, measure, pick) }))
      .filter(({ value }) => Number.isFinite(value))
      .toSorted((left, right) => left.value - right.value);
    if (best === undefined) return [];
    const own = valueOf('holdfast', measure, pick);
    return [
      {
        measure: name,
        holdfastSeconds: round(own),
        fastestPeer: best.tool,
        fastestPeerSeconds: round(best.value),
        ratio: round(own / best.value),
      },
    ];
  };
  const durable = ({ seconds, flushSeconds }: Measured): number => seconds + flushSeconds;
  return [
    ...MEASURES.flatMap((measure) => row(measure, measure, measure === 'restore' ? durable : ({ seconds }) => seconds)),
    ...(['uniform', 'hot'] as const).flatMap((measure) =>
      row(`${measure}, MiB added`, measure, (one) => one.addedBytes / MIB),
    ),
    ...row('size of the repository after a full backup, MiB', 'full', ({ sizeBytes }) => sizeBytes / MIB),
  ];
}

/** Where holdfast's time goes: medians of its steps, seconds. */
function profileTable(measured: readonly Measured[]): string {
  const lines = MEASURES.flatMap((measure) => {
    const own = measured.filter((one) => one.measure === measure && one.steps.length > 0);
    const names = [...new Set(own.flatMap(({ steps }) => steps.map(({ step }) => step)))];
    const millisOf = (name: string): number =>
      median(own.flatMap(({ steps }) => steps.filter(({ step }) => step === name).map(({ millis }) => millis)));
    const whole = median(own.map(({ seconds, integritySeconds }) => seconds + integritySeconds));
    const inSteps = names.reduce((sum, name) => sum + millisOf(name), 0) / 1000;
    const parts = names.map((name) => `${name} ${round(millisOf(name) / 1000)}`);
    return own.length === 0 ? [] : [[measure, round(whole), parts.join(', '), round(whole - inSteps)]];
  });
  return markdownTable(['holdfast', 'seconds', 'steps, seconds', 'beside the steps'], lines);
}

export function peersTables({ absent, versions, floorMib, measured, rows }: PeersResult): string {
  const tools = [...new Set(measured.map(({ tool }) => tool))];
  const groups = MEASURES.flatMap((measure) => tools.map((tool) => ({ measure, tool })));
  const lines = groups.map(({ measure, tool }) => {
    const of = measured.filter((one) => one.tool === tool && one.measure === measure);
    const mid = (pick: (one: Measured) => number): number => round(median(of.map(pick)));
    return [
      measure,
      tool,
      range(of.map(({ seconds }) => seconds)),
      mid(({ flushSeconds }) => flushSeconds),
      mid(({ integritySeconds }) => integritySeconds),
      mid(({ addedBytes }) => addedBytes / MIB),
      mid(({ sizeBytes }) => sizeBytes / MIB),
      Math.max(...of.map(({ peakMib }) => peakMib)),
      Math.max(...of.map(({ otherCores }) => otherCores)),
    ];
  });
  const head = ['measure', 'by', 'seconds: min / **median** / max', 'sync after, s', 'integrity_check apart, s'];
  return [
    `Peers: ${Object.entries(versions)
      .map(([name, version]) => `${name}: ${version}`)
      .join('; ')}. Not here: ${absent.length === 0 ? 'none' : absent.join(', ')}.`,
    `Changed pages and new files: ${floorMib['uniform']} MiB uniform, ${floorMib['hot']} MiB hot.`,
    markdownTable([...head, 'added, MiB', 'repository, MiB', 'peak MiB', 'others busy before, cores: max'], lines),
    markdownTable(
      ['measure', 'holdfast', 'best peer', 'its value', 'ratio'],
      rows.map(({ measure, holdfastSeconds, fastestPeer, fastestPeerSeconds, ratio }) => [
        measure,
        holdfastSeconds,
        fastestPeer,
        fastestPeerSeconds,
        ratio,
      ]),
    ),
    profileTable(measured),
  ].join('\n\n');
}
