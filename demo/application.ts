// The application of the demo: three writer processes of its own session, which outlive the hook that started them and
// end with the demo, whatever becomes of it. Found again by an entry of their environment, stopped by their ids.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTimeOf } from '../control/clock.js';
import { argumentsOf, endProcess, processesWith } from '../workers/processes.js';
import type { ProcessName } from '../workers/processes.js';
import { DATABASES } from './house.js';
import type { House } from './house.js';

/** `entries` writes a.db, `copies` copies it row by row into b.db, `files` writes files and then their rows in c.db. */
export const ROLES = ['entries', 'copies', 'files'] as const;
export type Role = (typeof ROLES)[number];

export interface RunningWriter extends ProcessName {
  readonly role: Role;
}

const STOP_GRACE_MILLIS = 10_000;
const SQLITE_MAGIC = 'SQLite format 3\0';

const ownerFile = (house: House): string => join(house.application, 'owner.json');
const logFile = (house: House): string => join(house.application, 'writers.log');
const marker = (house: House): string => `HOLDFAST_DEMO_WRITER=${house.directory}`;

/** Makes this process the one that the writers must not outlive. */
export function ownApplication(house: House): void {
  writeFileSync(ownerFile(house), JSON.stringify({ pid: process.pid, startTime: startTimeOf(process.pid) }));
}

export function ownerIsAlive(house: House): boolean {
  const owner = JSON.parse(readFileSync(ownerFile(house), 'utf8')) as ProcessName;
  return startTimeOf(owner.pid) === owner.startTime;
}

export function runningWriters(house: House): readonly RunningWriter[] {
  return processesWith(marker(house)).flatMap((name) => {
    const role = ROLES.find((candidate) => argumentsOf(name.pid).includes(candidate));
    return role === undefined ? [] : [{ ...name, role }];
  });
}

/** A destroyed database would be no reason for an application to make a new one. */
export function isDamaged(house: House): boolean {
  return DATABASES.some((name) => {
    const file = openSync(join(house.root, name), 'r');
    try {
      const head = Buffer.alloc(SQLITE_MAGIC.length);
      readSync(file, head, 0, head.length, 0);
      return head.toString('latin1') !== SQLITE_MAGIC;
    } finally {
      closeSync(file);
    }
  });
}

/**
 * Starts the writers that don't run, and waits until each has written.
 * @throws Error when one of them ends instead; the others are stopped
 */
export async function startWriters(house: House): Promise<void> {
  const running = new Set(runningWriters(house).map(({ role }) => role));
  const log = openSync(logFile(house), 'a', 0o600);
  try {
    await Promise.all(ROLES.filter((role) => !running.has(role)).map((role) => startWriter(house, role, log)));
  } catch (error) {
    await stopWriters(house);
    throw error;
  } finally {
    closeSync(log);
  }
}

async function startWriter(house: House, role: Role, log: number): Promise<void> {
  const child = fork(new URL('./writer.js', import.meta.url), [role, house.directory], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    cwd: house.application,
    env: { HOLDFAST_DEMO_WRITER: house.directory },
    execArgv: [],
  });
  await firstWord(child, role, house);
  child.disconnect();
  child.unref();
}

function firstWord(child: ChildProcess, role: Role, house: House): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('error', reject);
    child.once('exit', () =>
      reject(new Error(`writer ${role} ended: ${readFileSync(logFile(house), 'utf8').slice(-500)}`)),
    );
  });
}

/** Asks every writer to end and waits until all have; returns how many there were. */
export async function stopWriters(house: House): Promise<number> {
  const writers = runningWriters(house);
  await Promise.all(writers.map((writer) => endProcess(writer, STOP_GRACE_MILLIS)));
  return writers.length;
}
