// Processes by pid and start time, since a pid alone may by now be somebody else's. Linux only (/proc).
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { startTimeOf } from '../control/clock.js';

/** Text of a file of /proc, or undefined once the process is gone or another user's. */
function readProcess(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}

export interface ProcessName {
  readonly pid: number;
  readonly startTime: string;
}

/** Our processes that were started with this environment entry ("NAME=value"). */
export function processesWith(entry: string): ProcessName[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  return pids.flatMap((pid) => {
    if (readProcess(pid, 'environ')?.split('\0').includes(entry) !== true) return [];
    const startTime = startTimeOf(pid);
    return startTime === undefined ? [] : [{ pid, startTime }];
  });
}

export function argumentsOf(pid: number): string[] {
  return readProcess(pid, 'cmdline')?.split('\0').slice(0, -1) ?? [];
}

function signal(name: ProcessName, what: 'SIGTERM' | 'SIGKILL'): void {
  if (startTimeOf(name.pid) !== name.startTime) return;
  try {
    process.kill(name.pid, what);
  } catch (error) {
    // It ended in between, which is what was wanted
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function isGoneWithin(name: ProcessName, millis: number): Promise<boolean> {
  const deadline = performance.now() + millis;
  while (startTimeOf(name.pid) === name.startTime) {
    if (performance.now() > deadline) return false;
    await delay(20);
  }
  return true;
}

/** Asks a process to end, and kills it after `graceMillis`. Returns once it is gone; throws if even that fails. */
export async function endProcess(name: ProcessName, graceMillis: number): Promise<void> {
  signal(name, 'SIGTERM');
  if (await isGoneWithin(name, graceMillis)) return;
  signal(name, 'SIGKILL');
  if (!(await isGoneWithin(name, 10_000))) throw new Error(`process ${name.pid} does not die`);
}

export interface ProcessEnd {
  readonly status: number | null;
  readonly signal: string | null;
}

/** Settles when a child has ended, or could not be started at all. */
export function endOf(child: ChildProcess): Promise<ProcessEnd> {
  return new Promise((resolve, reject) => {
    child.once('exit', (status, signalName) => resolve({ status, signal: signalName }));
    child.once('error', reject);
  });
}
