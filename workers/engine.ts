// The embedded engine: one `temporal server start-dev` on the state directory's database file. Who calls this holds
// the supervisor's lock, so there is never a second one on the same file. DESIGN "Engine".
import { spawn } from 'node:child_process';
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import { connectEngine } from '../client/connection.js';
import type { EngineConnection } from '../client/connection.js';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { userName } from '../client/host-settings.js';
import { asEnvironmentStop } from '../client/state-directory.js';
import type { Environment, SupervisorPaths } from '../client/state-directory.js';
import { Stop } from '../domain/stop.js';
import { ensureRetention, ensureSearchAttributes } from './engine-settings.js';
import { startTimeOf } from '../control/clock.js';
import { hasMagic } from '../files/magic.js';
import { argumentsOf, endOf, endProcess, processesWith } from './processes.js';
import type { ProcessEnd, ProcessName } from './processes.js';

const NAMESPACE = 'default';
const HOST = '127.0.0.1';
/** Marks the process as ours in its environment, from its first instant: a record of its pid would come too late. */
const MARKER = 'HOLDFAST_ENGINE_OF';

/**
 * One partition a queue: the engine names only the pollers of the first one, and a worker that asks at another counts
 * as not there until it asks again, a minute later.
 */
const DYNAMIC_CONFIGURATION = [
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
] as const;

export interface RunningEngine {
  readonly address: string;
  readonly uiAddress?: string;
  readonly namespace: string;
  readonly namespaceId: string;
  readonly connection: Connection;
  /** Ends the calls of the connection; the engine goes on. */
  readonly close: () => Promise<void>;
  /** Absent for a cluster. */
  readonly pid?: number;
  /** Settles when the process has ended; never for a cluster. */
  readonly ended: Promise<ProcessEnd>;
  readonly stop: () => Promise<void>;
}

export interface StartEngineOptions {
  readonly paths: SupervisorPaths;
  /** Path of the temporal binary. */
  readonly binary: string;
  readonly environment?: Environment;
  readonly signal?: AbortSignal;
}

interface Ports {
  readonly port: number;
  readonly uiPort: number;
}

/**
 * Starts the engine and returns once it answers, keeps closed runs for 90 days and knows our search attributes. A
 * process left over by a killed supervisor is ended first. STOPs: engine_unavailable, no_space, permission_denied.
 */
export async function startEngine(options: StartEngineOptions): Promise<RunningEngine> {
  const { paths, binary } = options;
  await endLeftovers(paths);
  assertDatabase(paths.database);
  const ports = await choosePorts(paths);
  if (userName() === null)
    throw new Stop(
      'engine_unavailable',
      `temporal does not start for a user without an entry in passwd: give uid ${process.getuid?.()} a name there`,
    );
  const argv = ['server', 'start-dev', '--db-filename', paths.database, '--ip', HOST, '--port', String(ports.port)];
  argv.push('--ui-port', String(ports.uiPort), '--headless=false', '--log-level', 'error', '--log-format', 'json');
  for (const value of DYNAMIC_CONFIGURATION) argv.push('--dynamic-config-value', value);
  // A session of its own, so that a Ctrl-C at the terminal reaches the supervisor alone, which stops the worker first
  const env = engineEnvironment(options.environment ?? process.env, paths);
  const child = spawn(binary, argv, {
    detached: true,
    stdio: ['ignore', 'ignore', process.stderr],
    cwd: paths.directory,
    env,
  });
  const ended = endOf(child);
  const name: ProcessName | undefined =
    child.pid === undefined ? undefined : { pid: child.pid, startTime: startTimeOf(child.pid) ?? '' };
  if (name === undefined)
    throw new Stop('engine_unavailable', 'the temporal binary does not start', {
      binary,
      reason: await reasonOf(ended),
    });
  let connection: EngineConnection | undefined;
  try {
    connection = await Promise.race([answering(ports, options.signal), failWhenEnded(ended, paths)]);
    const { namespaceId, close } = connection;
    await ensureRetention(connection.connection, NAMESPACE);
    await ensureSearchAttributes(connection.connection, NAMESPACE);
    const address = `${HOST}:${ports.port}`;
    const uiAddress = `http://${HOST}:${ports.uiPort}`;
    writeRecord(paths.ports, ports);
    writeRecord(paths.engineRecord, { ...name, address, uiAddress, namespace: NAMESPACE });
    const stop = async (): Promise<void> => {
      await close();
      await endProcess(name, ENGINE_LIMITS.engineStopMillis);
      // Reaped, not only dead: whoever looks for it afterwards finds nothing
      await ended;
      rmSync(paths.engineRecord, { force: true });
    };
    return {
      address,
      uiAddress,
      namespace: NAMESPACE,
      namespaceId,
      connection: connection.connection,
      close,
      pid: name.pid,
      ended,
      stop,
    };
  } catch (error) {
    await connection?.close();
    await endProcess(name, ENGINE_LIMITS.engineStopMillis);
    throw error;
  }
}

/** The server tries for minutes to open a file that is no database; that is known at once. */
function assertDatabase(path: string): void {
  try {
    const facts = statSync(path, { throwIfNoEntry: false });
    if (facts === undefined || facts.size === 0 || hasMagic(path)) return;
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
  throw new Stop('engine_unavailable', "the engine's database file is not a database", { path });
}

/** Ends every engine of ours on this database, whoever started it: its supervisor is dead, since we hold the lock. */
async function endLeftovers(paths: SupervisorPaths): Promise<void> {
  for (const name of processesWith(`${MARKER}=${paths.directory}`)) {
    const argv = argumentsOf(name.pid);
    if (argv[argv.indexOf('--db-filename') + 1] === paths.database)
      await endProcess(name, ENGINE_LIMITS.engineStopMillis);
  }
  rmSync(paths.engineRecord, { force: true });
}

/** TEMPORAL_* configures clients of clusters; the embedded server shall not read any of it. */
function engineEnvironment(environment: Environment, paths: SupervisorPaths): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return { ...Object.fromEntries(kept), [MARKER]: paths.directory };
}

async function reasonOf(ended: Promise<ProcessEnd>): Promise<string> {
  try {
    const { status, signal } = await ended;
    return signal ?? `status ${status}`;
  } catch (error) {
    return String(error);
  }
}

async function failWhenEnded(ended: Promise<ProcessEnd>, paths: SupervisorPaths): Promise<never> {
  throw new Stop('engine_unavailable', 'temporal ended while it started', {
    reason: await reasonOf(ended),
    log: paths.log,
  });
}

/** Connects once the server listens and has made its namespace. */
async function answering({ port }: Ports, signal: AbortSignal | undefined): ReturnType<typeof connectEngine> {
  const deadline = performance.now() + ENGINE_LIMITS.readyMillis;
  for (;;) {
    signal?.throwIfAborted();
    try {
      if (await accepts(port))
        return await connectEngine({ options: { address: `${HOST}:${port}` }, namespace: NAMESPACE });
    } catch (error) {
      // It listens before the namespace is there
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline)
      throw new Stop('engine_unavailable', 'temporal does not listen in time', { port });
    await delay(50);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Binds `port` (0: any) for a moment. Undefined when it is taken. */
function bindOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}

/** The ports of last time where they are free, so that clients in mid-call and open UI pages find the engine again. */
async function choosePorts(paths: SupervisorPaths): Promise<Ports> {
  const last = readPorts(paths);
  const port = (last && (await bindOnce(last.port))) ?? (await bindOnce(0));
  let uiPort = (last && (await bindOnce(last.uiPort))) ?? (await bindOnce(0));
  if (uiPort === port) uiPort = await bindOnce(0);
  if (port === undefined || uiPort === undefined || port === uiPort)
    throw new Stop('engine_unavailable', 'no free port on loopback', {});
  return { port, uiPort };
}

function readPorts(paths: SupervisorPaths): Ports | undefined {
  try {
    const read: unknown = JSON.parse(readFileSync(paths.ports, 'utf8'));
    if (typeof read !== 'object' || read === null || !('port' in read) || !('uiPort' in read)) return undefined;
    const isPort = (port: unknown): port is number =>
      Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
    return isPort(read.port) && isPort(read.uiPort) ? { port: read.port, uiPort: read.uiPort } : undefined;
  } catch (error) {
    // A preference, not a fact: without it, or when it is cut short, any free port will do
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT'))
      return undefined;
    throw asEnvironmentStop(error, paths.ports);
  }
}

function writeRecord(path: string, record: object): void {
  try {
    writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
}
