// The worker process: two workers on one connection, one for workflows (any host's) and one for the activities of
// this host. Started by the supervisor, or alone beside a cluster. DESIGN "Workflows", "Engine"; TEMPORAL.md 10.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createActivities } from '../activities/index.js';
import { clusterTarget } from '../client/connection.js';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { definitionsDirectory, hostName } from '../client/host-settings.js';
import { stateDirectory } from '../client/state-directory.js';
import { LIMITS } from '../domain/limits.js';
import { hostQueue, WORKFLOW_QUEUE } from '../domain/names.js';
import { EXIT_DEFECT, Stop, STOPS } from '../domain/stop.js';
import { BUNDLE_PATH } from './bundle.js';
import { ensureSearchAttributes } from './engine-settings.js';
import { createHistoryKeeper } from './history-keeper.js';
import { createLog } from './log.js';
import { ACTIVITY_TASKS, assertAlone, pollersOf, thisMachine, workerIdentity, WORKFLOW_TASKS } from './pollers.js';
import { installRuntime } from './runtime.js';
import type { WorkerRefusal } from './worker-process.js';

const WORKFLOWS_CACHED_MAX = 100;
/** How long a run is left to the worker that has it cached; by default 10 s, which compensation would wait after a kill. */
const STICKY_MILLIS = 2_000;
/** More slots than stores on a host: a full worker looks like an absent one. */
const ACTIVITIES_MAX = 100;

interface Target {
  readonly address: string;
  readonly namespace: string;
  /** Machines that share a name can only meet in a cluster: an embedded engine listens on loopback. */
  readonly isCluster: boolean;
  readonly connect: () => Promise<NativeConnection>;
}

/** --address and --namespace for the embedded engine; else TEMPORAL_ADDRESS and what belongs to it. */
function targetOf(argv: string[]): Target {
  const { values } = parseArgs({ args: argv, options: { address: { type: 'string' }, namespace: { type: 'string' } } });
  const { address } = values;
  if (address !== undefined) {
    const namespace = values.namespace ?? 'default';
    return { address, namespace, isCluster: false, connect: () => NativeConnection.connect({ address }) };
  }
  const cluster = clusterTarget(process.env);
  if (cluster === undefined) throw new Stop('usage', 'a worker needs --address or TEMPORAL_ADDRESS');
  const { tls, apiKey, metadata } = cluster.options;
  const options = {
    address: cluster.options.address,
    ...(tls === undefined ? {} : { tls }),
    ...(typeof apiKey === 'string' ? { apiKey } : {}),
    ...(metadata === undefined ? {} : { metadata }),
  };
  return {
    address: cluster.options.address,
    namespace: cluster.namespace,
    isCluster: true,
    connect: () => NativeConnection.connect(options),
  };
}

async function connectOrStop(target: Target): Promise<NativeConnection> {
  try {
    return await target.connect();
  } catch (error) {
    throw new Stop(
      'engine_unreachable',
      `temporal at ${target.address} does not answer`,
      { address: target.address, reason: String(error) },
      { cause: error },
    );
  }
}

async function createWorkers(connection: NativeConnection, client: Client, identity: string): Promise<Worker[]> {
  const host = hostName();
  const { namespace } = client.options;
  const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace });
  const namespaceId = namespaceInfo?.id;
  if (typeof namespaceId !== 'string' || namespaceId === '') throw new Error('the namespace has no id');
  const activities = createActivities({
    host,
    namespaceId,
    client,
    definitionsDirectory: definitionsDirectory(),
    stateDirectory: stateDirectory(),
  });
  const common = { connection, namespace, identity, shutdownGraceTime: ENGINE_LIMITS.workerGraceMillis };
  const forWorkflows = await Worker.create({
    ...common,
    taskQueue: WORKFLOW_QUEUE,
    workflowBundle: { codePath: BUNDLE_PATH },
    maxCachedWorkflows: WORKFLOWS_CACHED_MAX,
    stickyQueueScheduleToStartTimeout: STICKY_MILLIS,
  });
  const forHost = await Worker.create({
    ...common,
    taskQueue: hostQueue(host),
    activities,
    maxConcurrentActivityTaskExecutions: ACTIVITIES_MAX,
    // The SDK's own throttle is 80 % of the heartbeat timeout: progress would be that old, and a cancellation, which a
    // step hears of by the answer to its heartbeat, that late
    maxHeartbeatThrottleInterval: LIMITS.heartbeatIntervalMillis,
  });
  return [forWorkflows, forHost];
}

/** Returns once the engine names us among the pollers of both queues: then nothing that is started waits for us. */
async function untilPolling(
  connection: NativeConnection,
  namespace: string,
  identity: string,
  isEnding: () => boolean,
): Promise<void> {
  const queues = [
    [WORKFLOW_QUEUE, WORKFLOW_TASKS],
    [hostQueue(hostName()), ACTIVITY_TASKS],
  ] as const;
  const deadline = performance.now() + ENGINE_LIMITS.readyMillis;
  for (const [name, taskQueueType] of queues) {
    while (!isEnding()) {
      const pollers = await pollersOf(connection, namespace, name, taskQueueType);
      if (pollers.some((poller) => poller.identity === identity)) break;
      if (performance.now() > deadline)
        throw new Stop('engine_unavailable', 'the worker does not poll in time', { queue: name });
      await delay(30);
    }
  }
}

async function main(): Promise<void> {
  const log = createLog('holdfast-worker');
  installRuntime(log);
  let isEnding = false;
  let workers: Worker[] = [];
  const end = (why: string): void => {
    if (isEnding) return;
    isEnding = true;
    log.info({ why }, 'the worker ends');
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => end(name));
  // The supervisor died: whoever succeeds it starts a worker of its own
  process.on('disconnect', () => end('the supervisor is gone'));
  const target = targetOf(process.argv.slice(2));
  const machine = thisMachine();
  const identity = workerIdentity(hostName(), process.pid, machine);
  const connection = await connectOrStop(target);
  const alone = async (self?: string): Promise<void> => {
    if (target.isCluster) await assertAlone(connection, target.namespace, hostName(), machine, self);
  };
  try {
    await alone();
    await ensureSearchAttributes(connection, target.namespace);
    const client = new Client({ connection, namespace: target.namespace });
    workers = await createWorkers(connection, client, identity);
    // Nothing polls yet, and only a worker that ran lets go of the connection: the process just ends
    if (isEnding) process.exit(0);
    const polling = untilPolling(connection, target.namespace, identity, () => isEnding)
      // Two that looked at the same moment did not see one another
      .then(() => alone(identity))
      .then(() => process.send?.('ready'));
    // One that ends, or fails, takes the others along: half a worker looks like a whole one
    const parts = [...workers.map((worker) => worker.run()), polling];
    for (const part of workers.map((_, index) => parts[index]))
      part?.then(
        () => end('a worker ended'),
        () => end('a worker failed'),
      );
    polling.catch(() => end('the queues are not polled'));
    const keeper = createHistoryKeeper({
      client,
      host: hostName(),
      definitionsDirectory: definitionsDirectory(),
      log,
    });
    const keeping = keeper.run();
    // Only when the workers have ended is everything closed that will close
    void Promise.allSettled(parts).then(() => keeper.end());
    const failed = (await Promise.allSettled([...parts, keeping])).find((part) => part.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  } finally {
    await connection.close();
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    createLog('holdfast-worker').fatal({ err: error }, 'the worker failed');
    const exit = (): never => process.exit(error instanceof Stop ? STOPS[error.code].exit : EXIT_DEFECT);
    if (!(error instanceof Stop) || process.send === undefined) return exit();
    // Whoever started us tells it as what it is
    const { code, message, details } = error;
    process.send({ stop: { code, message, details } } satisfies WorkerRefusal, undefined, undefined, exit);
  },
);
