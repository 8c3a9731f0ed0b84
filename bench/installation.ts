// An installation of its own for a benchmark: state, definitions and backups in one directory, `holdfast up` beside it,
// and every command run as people run it, as a process.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StoreDefinitionInput } from '../domain/schema/definition.js';
import type { Progress } from '../domain/protocol.js';
import { supervisorPaths } from '../client/state-directory.js';
import type { EngineReady } from '../client/supervisor-link.js';
import { endProcess, processesWith } from '../workers/processes.js';
import { endsWithUs, throwIfInterrupted } from './interrupt.js';
import { run, watchPeaks } from './processes.js';
import type { Environment, Naming, Peaks } from './processes.js';

/** A supervisor that nobody uses any more ends long before. */
const LINGER_MILLIS_MAX = 20_000;
const END_MILLIS_MAX = 5_000;
const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));

/** A line of progress, with when it came. */
export interface ProgressLine extends Progress {
  /** Since the command began. */
  readonly atSeconds: number;
}

export interface Answer<Report> {
  /** From the command's start to its exit. */
  readonly seconds: number;
  readonly report: Report;
  readonly workflowId: string;
  readonly runId: string;
  readonly progress: readonly ProgressLine[];
}

export class Installation {
  readonly environment: Environment;
  readonly peaks: Peaks = new Map();
  readonly #definitions: string;
  readonly #state: string;
  #up: { readonly child: ChildProcess; readonly ready: EngineReady; readonly ended: Promise<unknown> } | undefined;

  constructor(directory: string) {
    this.#definitions = join(directory, 'definitions');
    this.#state = join(directory, 'state');
    mkdirSync(this.#definitions, { recursive: true, mode: 0o700 });
    const inherited = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('TEMPORAL_') && !name.startsWith('HOLDFAST_'),
    );
    this.environment = {
      ...Object.fromEntries(inherited),
      HOLDFAST_STATE_DIRECTORY: this.#state,
      HOLDFAST_DEFINITIONS_DIRECTORY: this.#definitions,
      HOLDFAST_HOST: 'bench',
    };
  }

  /** JSON is YAML. */
  define(definition: StoreDefinitionInput): void {
    writeFileSync(join(this.#definitions, `${definition.store}.yaml`), JSON.stringify(definition), { mode: 0o600 });
  }

  /** Starts `holdfast up`. @returns seconds until engine and worker were ready */
  async up(): Promise<number> {
    throwIfInterrupted();
    const begin = performance.now();
    const child = spawn(process.execPath, [CLI, 'up', '--json'], {
      env: { ...this.environment },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    endsWithUs(child);
    const ended = new Promise((resolve) => child.once('close', resolve));
    const onExit = (): void => void child.kill('SIGTERM');
    process.once('exit', onExit);
    child.once('close', () => process.off('exit', onExit));
    const ready = await new Promise<EngineReady>((resolve, reject) => {
      child.once('close', (status) => reject(new Error(`holdfast up ended with ${String(status)}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const message = JSON.parse(line) as { readonly type: string } & EngineReady;
        if (message.type === 'ready') resolve(message);
      });
    });
    this.#up = { child, ready, ended };
    return (performance.now() - begin) / 1000;
  }

  /** Whether a supervisor, ours or one that a command has started, holds the state directory. */
  hasSupervisor(): boolean {
    const { engineRecord, socket } = supervisorPaths(this.#state, 'embedded');
    return existsSync(engineRecord) || existsSync(socket);
  }

  get ready(): EngineReady {
    if (this.#up === undefined) throw new Error('holdfast is not up');
    return this.#up.ready;
  }

  /** Ends `holdfast up`, and then whatever else works on the state directory, such as a supervisor that lingers. */
  async down(): Promise<void> {
    this.#up?.child.kill('SIGTERM');
    await this.#up?.ended;
    this.#up = undefined;
    const deadline = performance.now() + LINGER_MILLIS_MAX;
    while (this.hasSupervisor() && performance.now() < deadline) await sleep(100);
    for (const name of processesWith(`HOLDFAST_STATE_DIRECTORY=${this.#state}`)) await endProcess(name, END_MILLIS_MAX);
  }

  /** Runs a command of the CLI that carries out a protocol. */
  async command<Report>(...argv: readonly string[]): Promise<Answer<Report>> {
    const begin = performance.now();
    const lines: Record<string, unknown>[] = [];
    const { seconds } = await run([process.execPath, CLI, ...argv, '--json'], {
      environment: this.environment,
      onLine: (line) => {
        const atSeconds = (performance.now() - begin) / 1000;
        lines.push({ ...(JSON.parse(line) as object), atSeconds });
      },
    });
    const started = lines.find(({ type }) => type === 'started');
    return {
      seconds,
      report: lines.at(-1) as Report,
      workflowId: String(started?.workflowId),
      runId: String(started?.runId),
      progress: lines.filter(({ type }) => type === 'progress') as unknown as ProgressLine[],
    };
  }

  /** Notes the peak of resident memory of every process of the installation while `work` goes on. */
  async watched<T>(work: () => Promise<T>): Promise<T> {
    const watch = watchPeaks(process.pid, nameOf, this.peaks);
    try {
      return await work();
    } finally {
      watch.stop();
    }
  }
}

/** What each process is, by its command line. */
const nameOf: Naming = (argv) => {
  const line = argv.join(' ');
  if (line.includes('start-dev')) return 'temporal server';
  if (line.includes('workers/main.js')) return 'worker';
  if (line.includes('cut-process.js')) return 'cut process';
  if (line.includes('live-process.js')) return 'process that reads live databases';
  if (line.includes('supervisor-process.js') || line.includes('main.js up ')) return 'supervisor';
  if (line.includes('cli/main.js')) return 'command';
  return undefined;
};
