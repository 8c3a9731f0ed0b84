// How long writers wait for a cut, and what a backup does to their commits: stores of few and of many databases under
// writers that never rest, which is the hardest case; checkpointed by SQLite itself, and by the application.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { LIMITS } from '../domain/limits.js';
import type { BackupReport } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { takeCut } from '../sqlite/cut.js';
import { Installation } from './installation.js';
import { throwIfInterrupted } from './interrupt.js';
import { markdownTable, round, spreadOf, spreadText } from './statistics.js';
import type { Spread } from './statistics.js';
import type { WriterSettings } from './writer-process.js';

type Checkpoint = WriterSettings['checkpoint'];

export interface PauseSettings {
  readonly directory: string;
  readonly databases: readonly number[];
  /** Cuts taken directly, and backups by the whole protocol. */
  readonly cuts: number;
  readonly backups: number;
  readonly quietSeconds: number;
}

interface PauseCase {
  readonly databases: number;
  readonly checkpoint: Checkpoint;
  /** How long all write locks were held together, milliseconds. */
  readonly heldMillis: Spread;
  readonly heldInBackups: readonly number[];
  readonly lockTries: Spread;
  /** From the first try to the last lock had. */
  readonly waitedMillis: Spread;
  /** From the call to the instant: the process, opening every database, and the locks. */
  readonly toInstantMillis: Spread;
  readonly refusals: readonly string[];
  readonly commitsAlone: Spread;
  readonly commitsDuringCuts: Spread;
  readonly commitsDuringBackups: Spread;
  readonly checkpointsAlone: Spread;
  readonly checkpointsDuring: Spread;
}

export interface PauseResult {
  readonly writers: number;
  readonly cases: readonly PauseCase[];
}

const WRITERS = 3;
const TOTAL_BYTES = 150 * 1024 * 1024;
const ROWS = 256;
const WRITER = fileURLToPath(new URL('./writer-process.js', import.meta.url));

interface Window {
  readonly begin: number;
  readonly end: number;
}

export async function measurePause(settings: PauseSettings, say: (line: string) => void): Promise<PauseResult> {
  const home = join(settings.directory, 'pause');
  const installation = new Installation(home);
  const cases: PauseCase[] = [];
  await installation.up();
  try {
    for (const databases of settings.databases) {
      for (const checkpoint of ['automatic', 'truncate'] as const) {
        const one = await measureCase(settings, home, installation, databases, checkpoint);
        say(`${databases} databases, ${checkpoint}: held ${spreadText(one.heldMillis)} ms`);
        cases.push(one);
      }
    }
  } finally {
    await installation.down();
    rmSync(home, { recursive: true, force: true });
  }
  return { writers: WRITERS, cases };
}

/** The same bytes in all, so that the copies of few and of many take about as long. */
function makeDatabases(directory: string, count: number): readonly string[] {
  mkdirSync(directory, { recursive: true });
  const bodyBytes = Math.floor(TOTAL_BYTES / count / ROWS);
  return Array.from({ length: count }, (_, index) => {
    const path = join(directory, `d${String(index).padStart(4, '0')}.db`);
    const database = new Database(path);
    database.pragma('journal_mode = WAL');
    database.exec(
      'CREATE TABLE entries(id INTEGER PRIMARY KEY, number INTEGER NOT NULL, body TEXT); CREATE TABLE ballast(id INTEGER PRIMARY KEY, body BLOB)',
    );
    const fill = database.transaction(() => {
      const entry = database.prepare('INSERT INTO entries VALUES (?, 0, ?)');
      const ballast = database.prepare('INSERT INTO ballast VALUES (?, zeroblob(?))');
      for (let row = 0; row < ROWS; row += 1) {
        entry.run(row, 'first');
        ballast.run(row, bodyBytes);
      }
    });
    fill();
    database.close();
    return path;
  });
}

interface Writer {
  readonly child: ChildProcess;
  readonly settings: WriterSettings;
  readonly ended: Promise<unknown>;
}

async function startWriters(
  home: string,
  paths: readonly string[],
  checkpoint: Checkpoint,
): Promise<readonly Writer[]> {
  const writers = Array.from({ length: WRITERS }, (_, index): Writer => {
    const child = fork(WRITER, { execArgv: [], serialization: 'advanced' });
    const settings: WriterSettings = {
      databases: paths.filter((_path, place) => place % WRITERS === index),
      checkpoint,
      commits: join(home, `commits-${index}`),
      checkpoints: join(home, `checkpoints-${index}`),
    };
    return { child, settings, ended: new Promise((resolve) => child.once('close', resolve)) };
  });
  for (const { child, settings } of writers) {
    const writing = new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('close', () => reject(new Error('a writer ended')));
    });
    child.send(settings);
    await writing;
  }
  return writers;
}

async function measureCase(
  settings: PauseSettings,
  home: string,
  installation: Installation,
  count: number,
  checkpoint: Checkpoint,
): Promise<PauseCase> {
  const store = `pause-${count}-${checkpoint}`;
  const root = join(home, store, 'data');
  const backups = join(home, store, 'backups');
  const paths = makeDatabases(root, count);
  installation.define({
    holdfast: 1,
    store,
    roots: { data: { path: root, databases: [{ path: '*.db' }] } },
    backup: { destination: backups },
  });
  const writers = await startWriters(home, paths, checkpoint);
  try {
    await sleep(1000);
    const alone = await windowOf(() => sleep(settings.quietSeconds * 1000));
    const cuts: Cut[] = [];
    for (let index = 0; index < settings.cuts; index += 1) {
      throwIfInterrupted();
      cuts.push(await cutOnce(paths, join(home, store, `cut-${index}`)));
      await sleep(100);
    }
    const backupWindows: Window[] = [];
    const heldInBackups: number[] = [];
    for (let index = 0; index < settings.backups; index += 1) {
      backupWindows.push(
        await windowOf(async () => {
          const { report } = await installation.command<BackupReport>('backup', store);
          heldInBackups.push(round(report.cut.pauseMillis));
        }),
      );
    }
    await stopWriters(writers);
    const taken = cuts.filter((cut) => 'heldMillis' in cut);
    const cutWindows = cuts.map(({ window }) => window);
    const commits = writers.map((writer) => readSamples(writer.settings.commits));
    const checkpoints = writers.map((writer) => readSamples(writer.settings.checkpoints));
    return {
      databases: count,
      checkpoint,
      heldMillis: spreadOf(taken.map(({ heldMillis }) => heldMillis)),
      heldInBackups,
      lockTries: spreadOf(taken.map(({ lockTries }) => lockTries)),
      waitedMillis: spreadOf(taken.map(({ waitedMillis }) => waitedMillis)),
      toInstantMillis: spreadOf(taken.map(({ toInstantMillis }) => toInstantMillis)),
      refusals: cuts.flatMap((cut) => ('refusal' in cut ? [cut.refusal] : [])),
      commitsAlone: spreadOf(within(commits, [alone])),
      commitsDuringCuts: spreadOf(within(commits, cutWindows)),
      commitsDuringBackups: spreadOf(within(commits, backupWindows)),
      checkpointsAlone: spreadOf(within(checkpoints, [alone])),
      checkpointsDuring: spreadOf(within(checkpoints, [...cutWindows, ...backupWindows])),
    };
  } finally {
    await stopWriters(writers);
    rmSync(join(home, store), { recursive: true, force: true });
  }
}

type Cut =
  | {
      readonly window: Window;
      readonly heldMillis: number;
      readonly lockTries: number;
      readonly waitedMillis: number;
      readonly toInstantMillis: number;
    }
  | { readonly window: Window; readonly refusal: string };

async function cutOnce(paths: readonly string[], target: string): Promise<Cut> {
  mkdirSync(target);
  const begin = now();
  let instantAt = begin;
  try {
    const cut = await takeCut(
      {
        databases: paths.map((source, index) => ({
          source,
          target: join(target, `${index}.db`),
          locking: 'sqlite' as const,
        })),
        lockWrites: true,
        statAtCut: [],
        quiesceTimeoutMillis: LIMITS.quiesceTimeoutMillis,
        pinSecondsMax: LIMITS.pinSecondsMax,
        walGrowthBytesMax: LIMITS.walGrowthBytesMax,
      },
      { onInstant: () => void (instantAt = now()), onCopied: () => undefined, onProgress: () => undefined },
    );
    const { pauseMillis: heldMillis, lockTries, waitedMillis } = cut;
    return { window: { begin, end: now() }, heldMillis, lockTries, waitedMillis, toInstantMillis: instantAt - begin };
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { window: { begin, end: now() }, refusal: error.code };
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

async function stopWriters(writers: readonly Writer[]): Promise<void> {
  for (const { child } of writers) if (child.connected) child.send('stop');
  await Promise.all(writers.map(({ ended }) => ended));
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function windowOf(work: () => Promise<unknown>): Promise<Window> {
  const begin = now();
  await work();
  return { begin, end: now() };
}

function readSamples(path: string): Float64Array {
  const bytes = readFileSync(path);
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Lengths of the acts that were under way at some time of a window. */
function within(samples: readonly Float64Array[], windows: readonly Window[]): Float64Array {
  const lengths: number[] = [];
  for (const pairs of samples) {
    for (let index = 0; index < pairs.length; index += 2) {
      const begin = pairs[index] ?? 0;
      const length = pairs[index + 1] ?? 0;
      if (windows.some((window) => begin < window.end && begin + length > window.begin)) lengths.push(length);
    }
  }
  return Float64Array.from(lengths);
}

export function pauseTables({ cases, writers }: PauseResult): string {
  const nameOf = ({ databases, checkpoint }: PauseCase): string => `${databases}, ${checkpoint}`;
  return [
    `${writers} writers that never rest; milliseconds as p50 / p99 / max`,
    markdownTable(
      [
        'databases, checkpoints',
        'held at the cut',
        'held in whole backups',
        'tries',
        'waiting for the locks',
        'call to instant',
        'cuts',
        'refused',
      ],
      cases.map((one) => [
        nameOf(one),
        spreadText(one.heldMillis),
        one.heldInBackups.join(', '),
        spreadText(one.lockTries),
        spreadText(one.waitedMillis),
        spreadText(one.toInstantMillis),
        one.heldMillis.count,
        one.refusals.join(', ') || 0,
      ]),
    ),
    markdownTable(
      [
        'databases, checkpoints',
        'commits alone',
        'commits during cuts and their copies',
        'commits during whole backups',
        'TRUNCATE alone',
        'TRUNCATE during',
      ],
      cases.map((one) => [
        nameOf(one),
        spreadText(one.commitsAlone),
        spreadText(one.commitsDuringCuts),
        spreadText(one.commitsDuringBackups),
        one.checkpoint === 'truncate' ? spreadText(one.checkpointsAlone) : '',
        one.checkpoint === 'truncate' ? spreadText(one.checkpointsDuring) : '',
      ]),
    ),
  ].join('\n\n');
}
