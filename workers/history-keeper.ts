// Writes the history of each run of this host's stores beside the store's audit log once the run has closed (DESIGN
// "Workflows"). No step of a protocol: a history is whole only after the last of them, and a run that was terminated
// has no last step. What can't be kept now is tried again with the next look; the engine keeps it meanwhile.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { now } from '../control/clock.js';
import { loadDefinitionsAlone } from '../definitions/load.js';
import { isKept, keepHistory, settleHistories } from '../control/histories.js';
import { roomOf } from '../control/store-room.js';
import { WORKFLOW_TYPES } from '../domain/names.js';
import { isOperationId } from '../domain/protocol.js';
import type { Order } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import type { Log } from './log.js';

/** Between two looks for closed runs. */
const INTERVAL_MILLIS = 5_000;
/** So long after its end is asked for the keeper has ended, whatever hangs: the worker's stop has a limit. */
const END_MILLIS = 5_000;
/** Runs become visible in the engine's index out of turn: those that closed so long before the last seen one count. */
const INDEX_DELAY_MILLIS = 3_600_000;

export interface KeeperOptions {
  readonly client: Client;
  readonly host: string;
  readonly definitionsDirectory: string;
  readonly log: Log;
  readonly intervalMillis?: number;
}

export interface HistoryKeeper {
  /** Looks until it is ended. */
  readonly run: () => Promise<void>;
  /** Ends after a last look, as far as that comes within END_MILLIS. */
  readonly end: () => void;
}

/** What a keeper has seen of a store's closed runs. Nothing yet: then it looks at all that the engine remembers. */
interface Seen {
  /** When they closed, by run id: those that are kept, and those that are not ours to keep. */
  readonly settled: Map<string, number>;
  newestMillis: number;
  /** Of those that could not be kept. */
  oldestFailedMillis: number;
}

interface Closed {
  readonly info: WorkflowExecutionInfo;
  readonly closedAt: Date;
}

export function createHistoryKeeper(options: KeeperOptions): HistoryKeeper {
  const ending = new AbortController();
  const over = new AbortController();
  /** By control directory: another one, or a new one, has kept nothing yet. */
  const stores = new Map<string, Seen>();
  const said = new Map<string, string>();
  /** Whatever fails is tried again by the next look, and said once as long as it stays the same. */
  const attempt = async (what: string, work: () => Promise<void>): Promise<boolean> => {
    try {
      await work();
      said.delete(what);
      return true;
    } catch (error) {
      if (said.get(what) !== String(error)) options.log.error({ err: error, what }, 'histories are not kept yet');
      said.set(what, String(error));
      return false;
    }
  };
  const lookAt = async (store: string, controlDirectory: string): Promise<void> => {
    // Nothing was ever done here to the store: a run of another machine that goes by our name (workers/pollers.ts)
    if (!existsSync(join(controlDirectory, 'lock.db'))) return void stores.delete(controlDirectory);
    const known = stores.get(controlDirectory);
    if (known === undefined) await settleHistories(controlDirectory);
    const seen = known ?? { settled: new Map(), newestMillis: -Infinity, oldestFailedMillis: Infinity };
    const fromMillis = lowerBoundMillis(seen, Date.parse(now()));
    const closed = await listClosed(options.client, queryOf(store, fromMillis), seen);
    let oldestFailedMillis = Infinity;
    for (const { info, closedAt } of closed) {
      if (over.signal.aborted) return;
      const isSettled = await attempt(`run ${info.runId} of ${store}`, () =>
        keepRun(options, store, controlDirectory, { info, closedAt }),
      );
      if (isSettled) seen.settled.set(info.runId, closedAt.getTime());
      else oldestFailedMillis = Math.min(oldestFailedMillis, closedAt.getTime());
      seen.newestMillis = Math.max(seen.newestMillis, closedAt.getTime());
    }
    seen.oldestFailedMillis = oldestFailedMillis;
    // The next look does not list them again
    for (const [runId, closedMillis] of seen.settled) if (closedMillis < fromMillis) seen.settled.delete(runId);
    stores.set(controlDirectory, seen);
  };
  const look = (): Promise<boolean> =>
    attempt('all stores', async () => {
      for (const { store, definition } of await loadDefinitionsAlone(options.definitionsDirectory)) {
        if (over.signal.aborted) return;
        if (definition instanceof Stop) continue;
        await attempt(store, async () => lookAt(store, (await roomOf(definition)).controlDirectory));
      }
    });
  const looks = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      await look();
      await pause(options.intervalMillis ?? INTERVAL_MILLIS, ending.signal);
    }
    await look();
    over.abort();
  };
  const tooLong = async (): Promise<void> => {
    await aborted(ending.signal);
    await pause(END_MILLIS, over.signal);
    over.abort();
  };
  // A call of the worker's connection can't be cut short: what hangs is left behind
  const run = (): Promise<void> => Promise.race([looks(), tooLong()]);
  return { run, end: () => ending.abort() };
}

/** Ends early, and well, when `signal` is given: nothing of it is left then, however often a long life pauses. */
async function pause(millis: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(millis, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/**
 * From when on closed runs are asked for. Clocks are set wrong, and set right again: a run that closed in the future is
 * no reason to pass over those that close today.
 */
export function lowerBoundMillis(seen: Pick<Seen, 'newestMillis' | 'oldestFailedMillis'>, nowMillis: number): number {
  return Math.min(seen.newestMillis, seen.oldestFailedMillis, nowMillis) - INDEX_DELAY_MILLIS;
}

function queryOf(store: string, fromMillis: number): string {
  const ofStore = `HoldfastStore = '${store}' AND ExecutionStatus != 'Running'`;
  return fromMillis === -Infinity ? ofStore : `${ofStore} AND CloseTime > '${new Date(fromMillis).toISOString()}'`;
}

/** In the order in which they closed. */
async function listClosed(client: Client, query: string, { settled }: Seen): Promise<readonly Closed[]> {
  const closed: Closed[] = [];
  for await (const info of client.workflow.list({ query })) {
    const { runId, closeTime } = info;
    if (closeTime !== undefined && !settled.has(runId)) closed.push({ info, closedAt: closeTime });
  }
  return closed.sort((left, right) => left.closedAt.getTime() - right.closedAt.getTime());
}

/** Keeps it, unless it is kept or not ours. Anybody can start anything under the store's name in an engine on loopback. */
async function keepRun(
  { client, host, log }: KeeperOptions,
  store: string,
  controlDirectory: string,
  { info, closedAt }: Closed,
): Promise<void> {
  const { workflowId, runId, type: protocol } = info;
  const notOurs = (why: string): void => log.warn({ store, runId, why }, 'a run that is none of holdfast is not kept');
  if (!WORKFLOW_TYPES.includes(protocol)) return notOurs('its type is none of our protocols');
  if (isKept(controlDirectory, { protocol, workflowId, runId, closedAt })) return;
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const order = orderOf(history);
  // A schedule gives each run the same input: the run is its own operation
  const operation = protocol === 'scheduled' ? runId : order?.operation;
  if (order?.store !== store || !isOperationId(operation)) return notOurs('its input is no order for the store');
  if (order.host !== host) return;
  const run = { operation, protocol, workflowId, runId, closedAt };
  await keepHistory(controlDirectory, run, historyToJSON(history));
}

type History = Parameters<typeof historyToJSON>[0];

/** The run's input, whatever it is; null: it can't be read, and so was none of ours. */
function orderOf(history: History): Partial<Record<keyof Order, unknown>> | null {
  const [payload] = history.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
  if (payload === undefined) return null;
  try {
    return defaultPayloadConverter.fromPayload<Partial<Record<keyof Order, unknown>> | null>(payload);
  } catch {
    return null;
  }
}
