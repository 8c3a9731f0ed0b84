// One supervisor a state directory: runs the embedded engine and this host's worker for as long as somebody is
// connected or a workflow is open, and replaces whichever dies. DESIGN "Engine". Its lock is the kernel's, so that
// a killed supervisor is replaced at once and there are never two engines on one database file.
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from '@temporalio/client';
import { assertSameHost, clusterTarget, connectEngine } from '../client/connection.js';
import type { EngineTarget } from '../client/connection.js';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { definitionsDirectory, hostName } from '../client/host-settings.js';
import { engineKey, ensurePrivateDirectory, stateDirectory, supervisorPaths } from '../client/state-directory.js';
import type { Environment, SupervisorPaths } from '../client/state-directory.js';
import { attachSupervisor } from '../client/supervisor-link.js';
import type { EngineFailure, EngineReady } from '../client/supervisor-link.js';
import { WORKFLOW_QUEUE } from '../domain/names.js';
import { Stop } from '../domain/stop.js';
import { startEngine } from './engine.js';
import type { RunningEngine } from './engine.js';
import { findTemporalBinary } from './engine-binary.js';
import { assertSameFile, fileIdentity, watchDatabase } from './engine-database.js';
import type { FileIdentity } from './engine-database.js';
import { tryExclusiveLock } from './exclusive-lock.js';
import { keepRunning } from './keep-running.js';
import type { Log } from './log.js';
import { listenSupervisor } from './supervisor-socket.js';
import type { SupervisorSocket } from './supervisor-socket.js';
import { startWorker } from './worker-process.js';
import type { RunningWorker } from './worker-process.js';

export interface SupervisorOptions {
  /** `holdfast up`: runs until the signal. Else it ends once nobody is connected and no workflow is open. */
  readonly foreground: boolean;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly environment?: Environment;
  readonly onProgress?: (line: string) => void;
  /** Engine and worker are up, for the first time or again. */
  readonly onReady?: (ready: EngineReady) => void;
}

/**
 * Runs the supervisor, or, where one runs already, does what is wanted with that: in the foreground it is kept up and
 * succeeded when it ends; in the background there is nothing left to do. STOPs: those of findTemporalBinary and
 * startEngine, engine_database_lost, engine_unreachable for a cluster, ambiguous_intent, permission_denied, io_error.
 */
export async function runSupervisor(options: SupervisorOptions): Promise<void> {
  const environment = options.environment ?? process.env;
  const paths = supervisorPaths(stateDirectory(environment), engineKey(environment));
  ensurePrivateDirectory(paths.directory);
  // Longer than any clean end of a supervisor takes
  const deadline =
    performance.now() +
    2 * (ENGINE_LIMITS.workerGraceMillis + ENGINE_LIMITS.workerStopMarginMillis + ENGINE_LIMITS.engineStopMillis);
  while (!options.signal.aborted) {
    const release = tryExclusiveLock(paths.lock);
    if (release !== undefined) return await supervise(paths, environment, options).finally(release);
    const link = await attachSupervisor(paths.socket, (line) => options.onProgress?.(line));
    if (link !== 'absent') {
      try {
        if (options.foreground) {
          // It would say that it is ready, serve nobody, and take over as another host when the first one dies
          assertSameHost(link.ready(), environment);
          options.onReady?.(link.ready());
          const how = await Promise.race([link.ended, aborted(options.signal)]);
          if (how instanceof Error) throw how;
        }
      } finally {
        link.close();
      }
      if (!options.foreground) return;
    } else if (!options.foreground && performance.now() > deadline) {
      throw new Stop('engine_unavailable', 'another supervisor holds the lock and does not answer', {
        lock: paths.lock,
      });
    }
    await delay(ENGINE_LIMITS.retryMillis);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** What runs now, as the two keepers see it. */
interface Supervision {
  readonly paths: SupervisorPaths;
  readonly environment: Environment;
  readonly cluster: EngineTarget | undefined;
  readonly progress: (line: string) => void;
  /** Tells everybody once both are up. */
  readonly announce: () => void;
  /** The file of the embedded engine, from when it was up for the first time. */
  database?: FileIdentity | undefined;
  engine?: RunningEngine | undefined;
  worker?: RunningWorker | undefined;
}

async function supervise(paths: SupervisorPaths, environment: Environment, options: SupervisorOptions): Promise<void> {
  const { log, signal } = options;
  const socket = await listenSupervisor(paths.socket);
  const supervision: Supervision = {
    paths,
    environment,
    cluster: clusterTarget(environment),
    progress: (line) => {
      log.info(line);
      socket.announce({ progress: line });
      options.onProgress?.(line);
    },
    announce: () => {
      const ready = readyOf(supervision);
      if (ready === undefined) return;
      log.info(ready, 'engine and worker are up');
      socket.announce(ready);
      options.onReady?.(ready);
    },
  };
  const [workerEnding, engineEnding] = [new AbortController(), new AbortController()];
  const worker = keepWorker(supervision, workerEnding.signal);
  const engine = keepEngine(supervision, engineEnding.signal);
  try {
    await Promise.race([
      worker,
      engine,
      aborted(signal),
      watchDatabase(paths.database, () => supervision.database, engineEnding.signal),
      ...(options.foreground ? [] : [idle(supervision, socket, log)]),
    ]);
  } catch (error) {
    log.error({ err: error }, 'the supervisor gives up');
    socket.announce({ error: failureOf(error) });
    // The client that started us may be between two tries to connect, and shall learn why as well
    if (!options.foreground) await Promise.race([delay(ENGINE_LIMITS.lingerMillis), aborted(signal)]);
    throw error;
  } finally {
    // Whoever comes from here on starts a successor, which waits for our lock
    await socket.close();
    log.info('stopping');
    workerEnding.abort();
    try {
      await worker;
    } finally {
      // Only now: the worker's last reports need the engine
      engineEnding.abort();
      await engine;
    }
  }
}

function failureOf(error: unknown): EngineFailure['error'] {
  if (error instanceof Stop) return { code: error.code, message: error.message, details: error.details };
  return { code: 'defect', message: String(error), details: {} };
}

function readyOf({ engine, worker, environment }: Supervision): EngineReady | undefined {
  if (engine === undefined || worker === undefined) return undefined;
  const { address, namespace, namespaceId, uiAddress, pid } = engine;
  return {
    address,
    namespace,
    namespaceId,
    ...(uiAddress === undefined ? {} : { uiAddress }),
    supervisorPid: process.pid,
    workerPid: worker.pid,
    ...(pid === undefined ? {} : { enginePid: pid }),
    host: hostName(environment),
    definitionsDirectory: definitionsDirectory(environment),
  };
}

async function keepEngine(supervision: Supervision, signal: AbortSignal): Promise<void> {
  const start = await engineStarter(supervision, signal);
  let workerAddress: string | undefined;
  if (start === undefined) return;
  await keepRunning<RunningEngine>({
    what: 'temporal',
    start,
    onUp: (engine) => {
      supervision.engine = engine;
      // A worker of the address before can't follow: its keeper starts another
      if (workerAddress !== undefined && workerAddress !== engine.address) void supervision.worker?.stop();
      workerAddress = engine.address;
      supervision.announce();
    },
    onDown: (reason) => {
      void supervision.engine?.close();
      supervision.engine = undefined;
      supervision.progress(`temporal is down and is started again: ${reason}`);
    },
    signal,
  });
}

/** How the engine is started, or undefined when the signal came first. */
async function engineStarter(
  supervision: Supervision,
  signal: AbortSignal,
): Promise<(() => Promise<RunningEngine>) | undefined> {
  const { paths, environment, cluster, progress } = supervision;
  if (cluster !== undefined) {
    return async () => {
      const { connection, close, namespace, namespaceId } = await connectEngine(cluster);
      const { address } = cluster.options;
      return {
        address,
        namespace,
        namespaceId,
        connection,
        close,
        ended: new Promise(() => undefined),
        stop: close,
      };
    };
  }
  try {
    // Looked for once, not at each restart: a build that fails is not tried again and again
    const { path, version, source } = await findTemporalBinary({ onProgress: progress, environment, signal });
    progress(`starting temporal ${version} (${source}: ${path})`);
    return async () => {
      // A new file would make another engine of it, which knows of nothing that this one has begun
      if (supervision.database !== undefined) assertSameFile(paths.database, supervision.database);
      const engine = await startEngine({ paths, binary: path, environment, signal });
      supervision.database ??= fileIdentity(paths.database);
      return engine;
    };
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

async function keepWorker(supervision: Supervision, signal: AbortSignal): Promise<void> {
  const { paths, environment, cluster, progress } = supervision;
  await keepRunning<RunningWorker>({
    what: 'the worker',
    start: async () => {
      const { address, namespace } = await engineOf(supervision, signal);
      progress('starting the worker');
      return await startWorker({
        directory: paths.directory,
        environment,
        signal,
        ...(cluster === undefined ? { embedded: { address, namespace } } : {}),
      });
    },
    onUp: (worker) => {
      supervision.worker = worker;
      supervision.announce();
    },
    onDown: (reason) => {
      supervision.worker = undefined;
      progress(`the worker is down and is started again: ${reason}`);
    },
    signal,
  });
}

/** The engine, once it is up. Its keeper bounds the wait: it gives up, and the signal comes. */
async function engineOf(supervision: Supervision, signal: AbortSignal): Promise<RunningEngine> {
  for (;;) {
    signal.throwIfAborted();
    if (supervision.engine !== undefined) return supervision.engine;
    await delay(ENGINE_LIMITS.retryMillis);
  }
}

/** Resolves once nobody has been connected for a moment and no workflow but waiting requests is open. */
async function idle(supervision: Supervision, socket: SupervisorSocket, log: Log): Promise<void> {
  let aloneSince = performance.now();
  for (;;) {
    await delay(ENGINE_LIMITS.lingerMillis / 4, undefined, { ref: false });
    if (socket.connections() > 0) aloneSince = performance.now();
    if (performance.now() - aloneSince < ENGINE_LIMITS.lingerMillis) continue;
    const open = await openWorkflows(supervision, log);
    if (open === 0 && socket.connections() === 0) return;
    await delay(ENGINE_LIMITS.idleCheckMillis, undefined, { ref: false });
  }
}

/** Requests wait for people for days, and go on when an engine is up again. */
const OPEN = `ExecutionStatus = "Running" AND TaskQueue = "${WORKFLOW_QUEUE}" AND (HoldfastProtocol IS NULL OR HoldfastProtocol != "request")`;

/** How many, or undefined while the engine can't say: then it is asked again. */
async function openWorkflows({ engine }: Supervision, log: Log): Promise<number | undefined> {
  if (engine === undefined) return undefined;
  const { connection, namespace } = engine;
  try {
    return (await new Client({ connection, namespace }).workflow.count(OPEN)).count;
  } catch (error) {
    log.warn({ err: error }, 'it can not be told yet whether workflows are open');
    return undefined;
  }
}
