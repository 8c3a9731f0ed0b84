// Who polls the queue of a host. A host's name names its queue, so two machines that go by one name would be given the
// steps of one another's runs: a worker beside a cluster looks before it polls, and once more when it does. What gets
// past this is refused where it works, by the identity of the lock (control/lock.ts).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import type { NativeConnection } from '@temporalio/worker';
import { now, thisProcess } from '../control/clock.js';
import { hostQueue } from '../domain/names.js';
import { isErrnoError } from '../domain/errno.js';
import { Stop } from '../domain/stop.js';

/** TASK_QUEUE_TYPE_WORKFLOW and _ACTIVITY of Temporal's API. */
export const [WORKFLOW_TASKS, ACTIVITY_TASKS] = [1, 2];
/** A worker that waits for work asks anew each minute; one that has been silent for longer is gone, though still listed. */
const SILENT_MILLIS_MAX = 90_000;

export interface Machine {
  /** Digest of /etc/machine-id; `none` where there is none to be read, as in a container. */
  readonly id: string;
  /** Digest of the boot: images are cloned with their machine-id. */
  readonly boot: string;
  /** Unix time. */
  readonly bootedMillis: number;
}

/** A poller as the engine lists it. */
export interface Poller {
  readonly identity: string;
  /** When it last asked for work, by the clock of the engine; Unix time. */
  readonly seenMillis: number;
}

export function thisMachine(): Machine {
  return {
    id: machineId(),
    boot: digest(thisProcess().bootId),
    bootedMillis: Date.parse(now()) - uptime() * 1000,
  };
}

/**
 * Not the id itself, which is confidential (machine-id(5)). `none` for anything but an id that can be read: a container
 * may have a directory there, mounted for want of the file.
 */
export function machineId(path = '/etc/machine-id'): string {
  try {
    const id = readFileSync(path, 'utf8').trim();
    return /^[0-9a-f]{32}$/.test(id) ? digest(id) : 'none';
  } catch (error) {
    if (isErrnoError(error)) return 'none';
    throw error;
  }
}

const digest = (text: string): string => createHash('sha256').update(`holdfast ${text}`).digest('hex').slice(0, 12);

/** What a worker goes by, in the Temporal UI as well. */
export function workerIdentity(host: string, pid: number, machine: Machine): string {
  return `holdfast@${host}:${pid}/${machine.id}/${machine.boot}`;
}

/** Those that poll now and are not of this machine; who can't be told counts as another. */
export function otherMachines(pollers: readonly Poller[], machine: Machine, presentMillis: number): readonly Poller[] {
  return pollers.filter(({ identity, seenMillis }) => {
    if (presentMillis - seenMillis > SILENT_MILLIS_MAX) return false;
    const [, id, boot] = /\/([0-9a-f]{12}|none)\/([0-9a-f]{12})$/.exec(identity) ?? [];
    if (boot === machine.boot) return false;
    // Of this machine before it was started again; one that was seen since is a clone
    return !(id === machine.id && id !== 'none' && seenMillis < machine.bootedMillis);
  });
}

export async function pollersOf(
  connection: NativeConnection,
  namespace: string,
  queue: string,
  taskQueueType: number,
): Promise<readonly Poller[]> {
  const { pollers } = await connection.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name: queue },
    taskQueueType,
  });
  return (pollers ?? []).map(({ identity, lastAccessTime }) => ({
    identity: identity ?? '',
    seenMillis: Number(lastAccessTime?.seconds ?? 0) * 1000 + (lastAccessTime?.nanos ?? 0) / 1e6,
  }));
}

/**
 * @param self identity of a worker that polls already: what the engine says of it is the engine's present time
 * @throws Stop host_ambiguous when a worker of another machine polls the queue of `host`
 */
export async function assertAlone(
  connection: NativeConnection,
  namespace: string,
  host: string,
  machine: Machine,
  self?: string,
): Promise<void> {
  const queue = hostQueue(host);
  const pollers = await pollersOf(connection, namespace, queue, ACTIVITY_TASKS);
  const presentMillis = pollers.find(({ identity }) => identity === self)?.seenMillis ?? Date.parse(now());
  const others = otherMachines(pollers, machine, presentMillis);
  const [first] = others;
  if (first === undefined) return;
  const seconds = (millis: number): number => Math.max(0, Math.round(millis / 1000));
  throw new Stop(
    'host_ambiguous',
    `a worker of another machine polls ${queue}, last seen ${seconds(presentMillis - first.seenMillis)} s ago; if it has ended, it counts as gone ${SILENT_MILLIS_MAX / 1000} s after that: start again then`,
    { host, queue, pollers: others.map(({ identity }) => identity) },
  );
}
