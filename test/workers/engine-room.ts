// A state directory of its own for each test, and the certainty that nothing that was started in it is left over.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { startTimeOf } from '../../control/clock.js';
import { endProcess, processesWith } from '../../workers/processes.js';

export interface EngineRoom {
  readonly directory: string;
  readonly environment: Environment;
  /** Pids of supervisor, worker and engine that belong to the directory. */
  readonly pids: () => number[];
}

export function makeRoom(extra: Environment = {}): EngineRoom {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-engine-'));
  const definitions = join(directory, 'stores');
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  const environment = {
    ...Object.fromEntries(inherited),
    HOLDFAST_STATE_DIRECTORY: directory,
    HOLDFAST_DEFINITIONS_DIRECTORY: definitions,
    HOLDFAST_HOST: 'test-host',
    ...extra,
  };
  const owned = () => processesWith(`HOLDFAST_STATE_DIRECTORY=${directory}`).filter(({ pid }) => pid !== process.pid);
  onTestFinished(async () => {
    for (const name of owned()) await endProcess(name, 0);
    rmSync(directory, { recursive: true, force: true });
  });
  return { directory, environment, pids: () => owned().map(({ pid }) => pid) };
}

/** Waits until `holds` returns something truthy; fails the test with `what` when it takes too long. */
export async function eventually<T>(
  what: string,
  holds: () => T | Promise<T>,
  millis = 30_000,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = Date.now() + millis;
  for (;;) {
    const value = await holds();
    if (value !== undefined && value !== null && value !== false) return value as Exclude<T, false | null | undefined>;
    if (Date.now() > deadline)
      throw new Error(`not within ${millis} ms: ${what}\n${execFileSync('ps', ['-ef']).toString()}`);
    await delay(50);
  }
}

export function isAlive(pid: number): boolean {
  return startTimeOf(pid) !== undefined;
}
