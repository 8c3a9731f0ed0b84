// A store of its own for each test of control/: a root with files, a control directory beside it, hooks that write
// down that they ran. Real files, real lock.db, no engine.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import type { Claimant, DescribeRun } from '../../control/lock.js';
import { roomOf } from '../../control/store-room.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { HookName } from '../../domain/definition.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import type { StoreDefinitionInput } from '../../domain/schema/definition.js';
import { Stop } from '../../domain/stop.js';
import type { StopCode } from '../../domain/stop.js';
import type { ChildOrder } from './child.js';

export interface TestRoom {
  readonly directory: string;
  readonly root: string;
  readonly room: StoreRoom;
  /** Names of the hooks that ran to their end, in order. */
  readonly ran: () => readonly string[];
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-control-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Hooks by name, as shell that runs before the hook is written down as done. */
export async function makeTestRoom(
  hooks: Partial<Record<HookName, string>> = {},
  more: Partial<StoreDefinitionInput> = {},
): Promise<TestRoom> {
  const directory = temporaryDirectory();
  const root = join(directory, 'live');
  mkdirSync(join(root, 'files'), { recursive: true });
  writeFileSync(join(root, 'files', 'one'), 'old');
  const log = join(directory, 'hooks.log');
  const definition: StoreDefinitionInput = {
    holdfast: 1,
    store: 'tested',
    roots: { data: { path: root, trees: [{ path: 'files' }] } },
    backup: { destination: join(directory, 'backups') },
    hooks: Object.fromEntries(
      Object.entries(hooks).map(([name, script]) => [
        name,
        { argv: ['/bin/sh', '-c', `${script}\necho ${name} >> '${log}'`], timeoutSeconds: 20 },
      ]),
    ),
    ...more,
  };
  const room = await roomOf(toStoreDefinition(storeDefinitionSchema.parse(definition)));
  const ran = (): readonly string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
  return { directory, root, room, ran };
}

export function claimant(changed: Partial<Claimant> = {}): Claimant {
  const operation = changed.operation ?? randomUUID();
  return {
    operation,
    protocol: 'restore',
    workflowId: 'holdfast/tested',
    runId: `run of ${operation}`,
    namespaceId: 'this engine',
    host: 'here',
    ...changed,
  };
}

export const saysRun =
  (state: 'open' | 'closed' | 'unknown'): DescribeRun =>
  async () =>
    state;

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Its next line on stdout; undefined once it has ended. */
  readonly line: () => Promise<string | undefined>;
  readonly kill: () => Promise<void>;
}

/** Another process that works on the same store; killed when the test ends. */
export function startChild(order: ChildOrder): Child {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./child.js', import.meta.url)), JSON.stringify(order)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'exit');
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const closed = once(child.stdout, 'close').then(() => true);
  let isClosed = false;
  void closed.then(() => (isClosed = true));
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(kill);
  const line = async (): Promise<string | undefined> => {
    for (;;) {
      const end = text.indexOf('\n');
      if (end >= 0) {
        const first = text.slice(0, end);
        text = text.slice(end + 1);
        return first;
      }
      if (isClosed) return undefined;
      await sleep(5);
    }
  };
  return { process: child, pid: child.pid ?? -1, line, kill };
}

/** The code of the STOP that `work` ends in. */
export async function codeOf(work: Promise<unknown>): Promise<StopCode> {
  return (await stopOf(work)).code;
}

export async function stopOf(work: Promise<unknown>): Promise<Stop> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
  return expect.fail('it did not stop');
}

/** Waits until `holds`; fails with `what` when it takes too long. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  millis = 10_000,
): Promise<void> {
  const deadline = performance.now() + millis;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${millis} ms: ${what}`);
    await sleep(10);
  }
}
