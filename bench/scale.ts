// What size costs: many files, many databases, one large database. Whether memory stays flat, the history bounded, and
// what is said of progress true, from the shapes at a tenth of their size to the whole.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import Database from 'better-sqlite3';
import { executionId } from '../domain/names.js';
import type { BackupReport, PlanReport, RestoreReport } from '../domain/protocol.js';
import type { StoreDefinitionInput } from '../domain/schema/definition.js';
import { Installation } from './installation.js';
import type { ProgressLine } from './installation.js';
import { RandomStream } from './random.js';
import { markdownTable, round } from './statistics.js';

const MIB = 1024 * 1024;
const SHAPES = ['files', 'databases', 'large'] as const;
type Shape = (typeof SHAPES)[number];

export interface ScaleSettings {
  readonly directory: string;
  /** 1: 100,000 files; 600 databases; a database of 4 GiB. */
  readonly scale: number;
  readonly seed: number;
}

/** What a protocol said of its progress while it ran. */
interface Honesty {
  readonly lines: number;
  /** Longest time between two of them, or between the begin or the end and one, seconds. */
  readonly silenceSeconds: number;
  /** How often less was done than had been said before, in one step, or more than there is to do. */
  readonly contradictions: number;
}

export interface ScaleRow {
  readonly shape: Shape;
  readonly scale: number;
  readonly protocol: 'backup' | 'restore';
  readonly files: number;
  readonly sizeMib: number;
  readonly seconds: number;
  readonly events: number;
  readonly historyKib: number;
  readonly peakMib: Readonly<Record<string, number>>;
  readonly progress: Honesty;
}

/** An installation for each shape and size: what a process has once needed, it keeps. */
export async function measureScale(
  { directory, scale, seed }: ScaleSettings,
  say: (line: string) => void,
): Promise<readonly ScaleRow[]> {
  const rows: ScaleRow[] = [];
  for (const shape of SHAPES) {
    for (const part of [scale / 10, scale]) {
      const home = join(directory, `scale-${shape}`);
      mkdirSync(home, { recursive: true });
      try {
        rows.push(...(await measureShape(home, shape, part, seed, say)));
      } finally {
        rmSync(home, { recursive: true, force: true, maxRetries: 3 });
      }
    }
  }
  return rows;
}

async function measureShape(
  home: string,
  shape: Shape,
  scale: number,
  seed: number,
  say: (line: string) => void,
): Promise<ScaleRow[]> {
  const root = join(home, 'data');
  mkdirSync(root);
  MAKERS[shape](root, scale, seed);
  const rows: ScaleRow[] = [];
  for (const protocol of ['backup', 'restore'] as const) {
    const installation = new Installation(join(home, protocol));
    installation.define(definitionOf(shape, root, join(home, 'backups')));
    try {
      await installation.up();
      const row = await installation.watched(() => measureProtocol(installation, shape, protocol));
      const peakMib = Object.fromEntries([...installation.peaks].map(([name, mib]) => [name, Math.round(mib)]));
      rows.push({ ...row, scale, peakMib });
      say(`${shape}, ${scale}: ${protocol} in ${row.seconds} s, worker ${peakMib['worker']} MiB`);
    } finally {
      await installation.down();
    }
  }
  return rows;
}

async function measureProtocol(
  installation: Installation,
  shape: Shape,
  protocol: 'backup' | 'restore',
): Promise<Omit<ScaleRow, 'scale' | 'peakMib'>> {
  const answer =
    protocol === 'backup'
      ? await installation.command<BackupReport>('backup', shape)
      : await installation.command<RestoreReport>(
          'restore',
          shape,
          'latest',
          '--confirm',
          await digestOf(installation, shape),
        );
  const { report, seconds, progress } = answer;
  return {
    shape,
    protocol,
    files: report.files,
    sizeMib: Math.round(report.sizeBytes / MIB),
    seconds: round(seconds),
    ...(await historyOf(installation, executionId(shape))),
    progress: honestyOf(progress, seconds),
  };
}

async function digestOf(installation: Installation, shape: Shape): Promise<string> {
  return (await installation.command<PlanReport>('plan', shape, 'latest')).report.digest;
}

function definitionOf(shape: Shape, root: string, destination: string): StoreDefinitionInput {
  const hook = { argv: ['/bin/true'] };
  return {
    holdfast: 1,
    store: shape,
    roots: { data: { path: root, databases: shape === 'files' ? [] : [{ path: '**/*.db' }], trees: [{}] } },
    hooks: { detach: hook, attach: hook },
    backup: { destination, pinSecondsMax: 3600 },
  };
}

const MAKERS: Readonly<Record<Shape, (root: string, scale: number, seed: number) => void>> = {
  files: (root, scale, seed) => {
    const random = new RandomStream(seed, 'scale');
    const files = Math.ceil(100_000 * scale);
    for (let index = 0; index < files; index += 1) {
      const directory = join(root, String(Math.floor(index / 100)));
      if (index % 100 === 0) mkdirSync(directory);
      writeFileSync(join(directory, `${index}.bin`), random.bytes(random.between(100, 8192)));
    }
  },
  databases: (root, scale, seed) => {
    const random = new RandomStream(seed, 'scale');
    for (let index = 0; index < Math.ceil(600 * scale); index += 1) fill(join(root, `${index}.db`), MIB / 4, random);
  },
  large: (root, scale, seed) => fill(join(root, 'large.db'), 4096 * MIB * scale, new RandomStream(seed, 'scale')),
};

function fill(path: string, sizeBytes: number, random: RandomStream): void {
  const database = new Database(path);
  database.pragma('journal_mode = wal');
  database.pragma('synchronous = off');
  database.exec('CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB)');
  const insert = database.prepare('INSERT INTO entry (body) VALUES (?)');
  const row = 64 * 1024;
  const rows = Math.max(1, Math.floor(sizeBytes / row));
  for (let done = 0; done < rows; done += 1000)
    database.transaction(() => {
      for (let index = done; index < Math.min(rows, done + 1000); index += 1) insert.run(random.bytes(row));
    })();
  database.pragma('wal_checkpoint(TRUNCATE)');
  database.close();
}

async function historyOf(
  { ready: { address, namespace } }: Installation,
  workflowId: string,
): Promise<Pick<ScaleRow, 'events' | 'historyKib'>> {
  const connection = await Connection.connect({ address });
  try {
    const description = await new Client({ connection, namespace }).workflow.getHandle(workflowId).describe();
    return {
      events: description.historyLength,
      historyKib: Math.round(Number(description.raw.workflowExecutionInfo?.historySizeBytes ?? 0) / 1024),
    };
  } finally {
    await connection.close();
  }
}

function honestyOf(lines: readonly ProgressLine[], seconds: number): Honesty {
  let contradictions = 0;
  for (const [index, { step, phase, bytesDone, bytesTotal }] of lines.entries()) {
    const before = lines[index - 1];
    const isLess = before?.step === step && before.phase === phase && bytesDone < before.bytesDone;
    // A store that is written to may grow under the hands of whoever counts; these are not
    if (isLess || (bytesTotal !== null && bytesDone > bytesTotal)) contradictions += 1;
  }
  const moments = [0, ...lines.map(({ atSeconds }) => atSeconds), seconds];
  const silences = moments.slice(1).map((moment, index) => moment - (moments[index] ?? 0));
  return { lines: lines.length, silenceSeconds: round(Math.max(...silences)), contradictions };
}

export function scaleTables(rows: readonly ScaleRow[]): string {
  return markdownTable(
    [
      'shape',
      'files',
      'MiB',
      'protocol',
      'seconds',
      'events',
      'history, KiB',
      'peak MiB',
      'progress: lines, longest silence, contradictions',
    ],
    rows.map(({ shape, files, sizeMib, protocol, seconds, events, historyKib, peakMib, progress }) => [
      shape,
      files,
      sizeMib,
      protocol,
      seconds,
      events,
      historyKib,
      Object.entries(peakMib)
        .map(([name, mib]) => `${name} ${mib}`)
        .join(', '),
      `${progress.lines}, ${progress.silenceSeconds} s, ${progress.contradictions}`,
    ]),
  );
}
