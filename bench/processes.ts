// Runs commands and watches processes from outside, by /proc: wall time, CPU, peak of resident memory.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { endsWithUs, throwIfInterrupted } from './interrupt.js';

const POLL_MILLIS = 100;
const TICKS_PER_SECOND = 100;
/** A command that takes longer is stuck, and a benchmark has no figure for that. */
const RUN_MILLIS_MAX = 20 * 60_000;

export interface Finished {
  readonly seconds: number;
  readonly stdout: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Runs a command to its end. @throws Error with its stderr when it fails; Interrupted */
export async function run(
  argv: readonly string[],
  options: {
    readonly environment?: Environment;
    readonly directory?: string;
    /** Is given each line of stdout as it comes. */
    readonly onLine?: (line: string) => void;
  } = {},
): Promise<Finished> {
  const [program, ...rest] = argv;
  if (program === undefined) throw new Error('a command has a program');
  throwIfInterrupted();
  const begin = performance.now();
  const child = spawn(program, rest, {
    env: { ...(options.environment ?? process.env) },
    cwd: options.directory,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: RUN_MILLIS_MAX,
  });
  endsWithUs(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  if (options.onLine !== undefined) createInterface({ input: child.stdout }).on('line', options.onLine);
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  if (status !== 0)
    throw new Error(`${argv.join(' ')} ended with ${status}: ${stderr.slice(-2000)}${stdout.slice(-2000)}`);
  return { seconds: (performance.now() - begin) / 1000, stdout };
}

/** Runs a command like run(), and tells the CPU time of it and of everything that it has started. */
export async function runWithCpu(argv: readonly string[]): Promise<Finished & { readonly cpu: CpuSeconds }> {
  const script = 'TIMEFORMAT="%U %S"; { time "$@" 2>&3; } 3>&2 2>&1';
  const { seconds, stdout } = await run(['bash', '-c', script, 'timed', ...argv]);
  const [user = Number.NaN, system = Number.NaN] = (stdout.trim().split('\n').at(-1) ?? '').split(' ').map(Number);
  return { seconds, stdout, cpu: { user, system } };
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Fields of /proc/<pid>/stat after the name, which may hold spaces: [0] is field 3, the state. */
function statOf(pid: number): readonly string[] | undefined {
  const stat = readProc(`${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

export interface CpuSeconds {
  readonly user: number;
  readonly system: number;
}

/** CPU time of a process, and of its children that have ended. */
export function cpuOf(pid: number): CpuSeconds {
  const stat = statOf(pid) ?? [];
  const seconds = (index: number): number => Number(stat[index] ?? 0) / TICKS_PER_SECOND;
  return { user: seconds(11) + seconds(13), system: seconds(12) + seconds(14) };
}

const QUIET_CORES = 0.25;
const QUIET_SAMPLE_MILLIS = 500;
const QUIET_WAIT_MILLIS_MAX = 20_000;

/** Waits a while for the machine to be quiet. @returns how many cores were busy right before going on */
export async function untilQuiet(): Promise<number> {
  const deadline = performance.now() + QUIET_WAIT_MILLIS_MAX;
  for (;;) {
    throwIfInterrupted();
    const before = busySeconds();
    const begin = performance.now();
    await sleep(QUIET_SAMPLE_MILLIS);
    const cores = (busySeconds() - before) / ((performance.now() - begin) / 1000);
    if (cores < QUIET_CORES || performance.now() > deadline) return cores;
  }
}

/** user, nice, system, irq and softirq of all cores. */
function busySeconds(): number {
  const fields = (readProc('stat') ?? '').split('\n')[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  return [0, 1, 2, 5, 6].reduce((sum, index) => sum + (fields[index] ?? 0), 0) / TICKS_PER_SECOND;
}

/** Peaks of resident memory by what a process is. */
export type Peaks = Map<string, number>;

export type Naming = (argv: readonly string[]) => string | undefined;

/** Looks at a process and everything below it, again and again, until `stop` is called. Short processes need that. */
export function watchPeaks(top: number, naming: Naming, peaks: Peaks): { stop(): void } {
  const look = (): void => {
    for (const pid of withDescendants(top)) {
      const argv = (readProc(`${pid}/cmdline`) ?? '').split('\0');
      const name = naming(argv);
      const peakKib = Number(/^VmHWM:\s+(\d+) kB/m.exec(readProc(`${pid}/status`) ?? '')?.[1] ?? 0);
      if (name !== undefined && peakKib > 0) peaks.set(name, Math.max(peaks.get(name) ?? 0, peakKib / 1024));
    }
  };
  const timer = setInterval(look, POLL_MILLIS);
  return {
    stop: () => {
      clearInterval(timer);
      look();
    },
  };
}

function withDescendants(top: number): readonly number[] {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statOf(Number(name))?.[1] ?? 0);
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const found = new Set<number>();
  const pending = [top];
  for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
    if (found.has(pid)) continue;
    found.add(pid);
    pending.push(...(parents.get(pid) ?? []));
  }
  return [...found];
}
