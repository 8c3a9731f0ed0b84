// Finds Temporal, or starts it (DESIGN "Engine"): TEMPORAL_ADDRESS with the SDK's own environment configuration; else
// the supervisor that runs for this state directory; else a supervisor started here, detached, which lives as long
// as somebody is connected or a workflow is open.
import { Client, Connection } from '@temporalio/client';
import type { ConnectionOptions } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Stop } from '../domain/stop.js';
import { closableCalls } from './closable-calls.js';
import { ENGINE_LIMITS } from './engine-limits.js';
import { definitionsDirectory, hostName } from './host-settings.js';
import { engineKey, setting, stateDirectory, supervisorPaths } from './state-directory.js';
import type { Environment } from './state-directory.js';
import { keepAttached, supervisedEngine } from './supervised-engine.js';
import type { Attachment } from './supervised-engine.js';
import type { EngineReady } from './supervisor-link.js';

export interface OpenEngineOptions {
  /** What is going on while the engine starts; lower-case facts for stderr. */
  readonly onProgress?: (line: string) => void;
  /**
   * With TEMPORAL_ADDRESS: also have a worker of this host, for as long as the session lasts. Default false: the
   * cluster's hosts run `holdfast up`. The embedded engine always has its worker.
   */
  readonly startWorker?: boolean;
  readonly environment?: Environment;
}

export interface EngineSession {
  readonly client: Client;
  readonly address: string;
  readonly namespace: string;
  /** Names the engine's database: a lock's owner is only decidable in the engine of the same id (TEMPORAL.md 4). */
  readonly namespaceId: string;
  readonly uiAddress?: string;
  /** This host's name, as its worker goes by. */
  readonly host: string;
  /** What the supervisor runs; undefined without one. */
  readonly supervisor: () => EngineReady | undefined;
  /** The run's page in the Temporal UI, or undefined where no UI is known. */
  readonly workflowUrl: (workflowId: string, runId: string) => string | undefined;
  /** Lets go of the engine. Rejects with the STOP that ended the session before, if one did. */
  readonly close: () => Promise<void>;
}

export interface EngineConnection {
  readonly connection: Connection;
  /** Ends every call, also one that waits to be tried again: it rejects as cancelled. */
  readonly close: () => Promise<void>;
  readonly namespace: string;
  readonly namespaceId: string;
}

/** What the SDK's environment configuration says: address, namespace, TLS, API key. */
export interface EngineTarget {
  readonly options: ConnectionOptions & { readonly address: string };
  readonly namespace: string;
}

/** The cluster of TEMPORAL_ADDRESS, or undefined for the embedded engine, which TEMPORAL_* doesn't configure. */
export function clusterTarget(environment: Environment): EngineTarget | undefined {
  const address = setting(environment, 'TEMPORAL_ADDRESS');
  if (address === undefined) return undefined;
  const overrideEnvVars = Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
  const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars });
  const { tls, apiKey, metadata } = connectionOptions;
  return {
    options: {
      address,
      ...(tls === undefined ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata }),
    },
    namespace: namespace ?? 'default',
  };
}

/** Connects within ENGINE_LIMITS.connectMillis. STOP engine_unreachable, also for a namespace that is not there. */
export async function connectEngine(target: EngineTarget): Promise<EngineConnection> {
  const { options, namespace } = target;
  const calls = closableCalls();
  let connection: Connection | undefined;
  const close = async (): Promise<void> => {
    calls.end();
    await connection?.close();
  };
  try {
    const { interceptors } = calls;
    connection = await Connection.connect({ ...options, interceptors, connectTimeout: ENGINE_LIMITS.connectMillis });
    const answering = connection;
    const deadline = Date.now() + ENGINE_LIMITS.connectMillis;
    const described = await answering.withDeadline(deadline, () =>
      answering.workflowService.describeNamespace({ namespace }),
    );
    const namespaceId = described.namespaceInfo?.id;
    if (typeof namespaceId !== 'string' || namespaceId === '') throw new Error('the namespace has no id');
    return { connection, close, namespace, namespaceId };
  } catch (error) {
    await close();
    const details = {
      address: options.address,
      namespace,
      reason: error instanceof Error ? error.message : String(error),
    };
    throw new Stop('engine_unreachable', `temporal at ${options.address} does not answer`, details, { cause: error });
  }
}

/**
 * Opens a session with the engine; see the order at the top of this file. STOPs: engine_unreachable, engine_unavailable
 * (no binary of Temporal to be had, or it does not start), ambiguous_intent (the running worker goes by other
 * definitions than this command), permission_denied, no_space, io_error, usage.
 */
export async function openEngine(options: OpenEngineOptions = {}): Promise<EngineSession> {
  const environment = options.environment ?? process.env;
  const onProgress = options.onProgress ?? (() => undefined);
  const cluster = clusterTarget(environment);
  if (cluster !== undefined && options.startWorker !== true) {
    const engine = await connectEngine(cluster);
    return sessionOf(engine, cluster.options.address, undefined, environment);
  }
  // The cluster is asked first: a supervisor would try for much longer
  if (cluster !== undefined) await (await connectEngine(cluster)).close();
  const paths = supervisorPaths(stateDirectory(environment), engineKey(environment));
  const link = await supervisedEngine(paths, environment, onProgress);
  try {
    assertSameHost(link.ready(), environment);
    const { address, namespace } = link.ready();
    const engine = await connectEngine(cluster ?? { options: { address }, namespace });
    const attachment = keepAttached(link, engine.close, () => supervisedEngine(paths, environment, onProgress));
    return sessionOf(engine, address, attachment, environment);
  } catch (error) {
    link.close();
    throw error;
  }
}

/**
 * A supervisor keeps the settings of whoever started it: a command with others would be carried out by the wrong ones.
 * @throws Stop ambiguous_intent
 */
export function assertSameHost(ready: EngineReady, environment: Environment): void {
  const wanted = { host: hostName(environment), definitionsDirectory: definitionsDirectory(environment) };
  if (ready.host === wanted.host && ready.definitionsDirectory === wanted.definitionsDirectory) return;
  throw new Stop(
    'ambiguous_intent',
    'the running worker has another host name or definitions directory than this command',
    {
      running: {
        host: ready.host,
        definitionsDirectory: ready.definitionsDirectory,
        supervisorPid: ready.supervisorPid,
      },
      wanted,
    },
  );
}

function sessionOf(
  engine: EngineConnection,
  address: string,
  attachment: Attachment | undefined,
  environment: Environment,
): EngineSession {
  const { connection, namespace, namespaceId } = engine;
  const uiAddress = attachment?.ready().uiAddress ?? setting(environment, 'HOLDFAST_UI_ADDRESS');
  const base = uiAddress?.replace(/\/+$/, '');
  return {
    client: new Client({ connection, namespace }),
    address,
    namespace,
    namespaceId,
    ...(uiAddress === undefined ? {} : { uiAddress }),
    host: hostName(environment),
    supervisor: () => attachment?.ready(),
    workflowUrl: (workflowId, runId) => {
      const path = [namespace, 'workflows', workflowId, runId].map((part) => encodeURIComponent(part)).join('/');
      return base === undefined ? undefined : `${base}/namespaces/${path}/history`;
    },
    close: async () => {
      attachment?.close();
      const failure = attachment?.failure();
      if (failure !== undefined) throw failure;
      await engine.close();
    },
  };
}
