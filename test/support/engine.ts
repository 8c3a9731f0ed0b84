// One engine for a test file: a real embedded Temporal and a real worker, in directories of their own, gone with the
// file's last test. Stores are made by store.ts; several share an engine, because starting one takes 1.5 s.
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect } from 'vitest';
import { openEngine } from '../../client/connection.js';
import type { EngineSession } from '../../client/connection.js';
import { createHoldfast } from '../../client/protocols.js';
import type { Holdfast } from '../../client/protocols.js';
import type { Environment } from '../../client/state-directory.js';
import { Stop } from '../../domain/stop.js';
import { findTemporalBinary } from '../../workers/engine-binary.js';
import { endProcess, processesWith } from '../../workers/processes.js';

export const TEST_HOST = 'test-host';

export interface TestEngine {
  /** Temporary: state, definitions and all stores of the file. */
  readonly directory: string;
  readonly definitionsDirectory: string;
  readonly environment: Environment;
  readonly session: EngineSession;
  readonly holdfast: Holdfast;
  /** Runs Temporal's own command line against this engine. */
  temporal(...argv: string[]): Promise<string>;
}

/** Starts an engine before the tests of the describing block and stops it after them. */
export function useEngine(extra: Environment = {}): () => TestEngine {
  let engine: TestEngine | undefined;
  beforeAll(async () => {
    engine = await startEngine(extra);
  });
  afterAll(async () => {
    if (engine !== undefined) await stopEngine(engine);
  });
  return () => {
    if (engine === undefined) throw new Error('the engine did not start');
    return engine;
  };
}

export async function startEngine(extra: Environment = {}): Promise<TestEngine> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  // Others may pass through: a part of the tests runs as another user
  chmodSync(directory, 0o755);
  const definitionsDirectory = join(directory, 'definitions');
  mkdirSync(definitionsDirectory, { mode: 0o755 });
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(TEMPORAL|HOLDFAST)_(?!TEMPORAL_BINARY)/.test(name),
  );
  const environment: Environment = {
    ...Object.fromEntries(inherited),
    HOLDFAST_STATE_DIRECTORY: join(directory, 'state'),
    HOLDFAST_DEFINITIONS_DIRECTORY: definitionsDirectory,
    HOLDFAST_HOST: TEST_HOST,
    ...extra,
  };
  const session = await openEngine({ environment });
  const { path: binary } = await findTemporalBinary({ environment, onProgress: () => undefined });
  const temporal = async (...argv: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(binary, [...argv, '--address', session.address], { timeout: 60_000 });
    return stdout;
  };
  return { directory, definitionsDirectory, environment, session, holdfast: createHoldfast(session), temporal };
}

export async function stopEngine(engine: TestEngine): Promise<void> {
  await engine.session.close();
  const marker = `HOLDFAST_STATE_DIRECTORY=${join(engine.directory, 'state')}`;
  const owned = () => processesWith(marker).filter(({ pid }) => pid !== process.pid);
  for (let waited = 0; owned().length > 0 && waited < 10_000; waited += 100) await delay(100);
  for (const name of owned()) await endProcess(name, 0);
  rmSync(engine.directory, { recursive: true, force: true });
}

/** The STOP that `work` ends in; fails when it ends in anything else, or well. */
export async function stopOf(work: Promise<unknown>): Promise<Stop> {
  try {
    const result = await work;
    expect.fail(`it did not stop, but ended with ${JSON.stringify(result)}`);
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
}

/** Waits for `holds` to return something truthy; fails with `what` when it takes too long. */
export async function eventually<T>(
  what: string,
  holds: () => T | Promise<T>,
  millis = 20_000,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + millis;
  for (;;) {
    const value = await holds();
    if (value !== undefined && value !== null && value !== false) return value as Exclude<T, false | null | undefined>;
    if (performance.now() > deadline) throw new Error(`not within ${millis} ms: ${what}`);
    await delay(20);
  }
}

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
export type HistoryEvent = NonNullable<NonNullable<History['events']>[number]>;

export async function historyOf(
  engine: TestEngine,
  workflowId: string,
  runId?: string,
): Promise<readonly HistoryEvent[]> {
  const history = await engine.session.client.workflow.getHandle(workflowId, runId).fetchHistory();
  return history.events ?? [];
}
