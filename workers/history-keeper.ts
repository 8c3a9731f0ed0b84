// Writes the history of each run of this host's stores beside the store's audit log once the run has closed (DESIGN
// "Workflows"). No step of a protocol: a history is whole only after the last of them, and a run that was terminated
// has no last step. What can't be kept now is tried again with the next look; the engine keeps it meanwhile.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { loadDefinitionsAlone } from '../control/definitions.js';
import { keepHistory, keptHistories } from '../control/histories.js';
import { roomOf } from '../control/store-room.js';
import { Stop } from '../domain/stop.js';
import type { Log } from './log.js';

/** Between two looks for closed runs. */
const INTERVAL_MILLIS = 5_000;
/** The last look, when the worker ends, takes no longer. */
const LAST_LOOK_MILLIS = 5_000;
/** Runs become visible in the engine's index out of turn: those that closed so long before the last kept one count. */
const INDEX_DELAY_MILLIS = 3_600_000;

export interface KeeperOptions {
  readonly client: Client;
  readonly host: string;
  readonly definitionsDirectory: string;
  readonly log: Log;
}

export interface HistoryKeeper {
  /** Looks until it is ended. */
  readonly run: () => Promise<void>;
  /** Ends after a last look. */
  readonly end: () => void;
}

export function createHistoryKeeper(options: KeeperOptions): HistoryKeeper {
  const ending = new AbortController();
  const ended = new Promise<void>((resolve) => ending.signal.addEventListener('abort', () => resolve()));
  const elsewhere = new Set<string>();
  const said = new Map<string, string>();
  /** Whatever fails is tried again by the next look, and said once as long as it stays the same. */
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      said.delete(what);
    } catch (error) {
      if (said.get(what) === String(error)) return;
      said.set(what, String(error));
      options.log.error({ err: error, what }, 'histories are not kept yet');
    }
  };
  const look = (): Promise<void> =>
    attempt('all stores', async () => {
      for (const { store, definition } of await loadDefinitionsAlone(options.definitionsDirectory)) {
        if (definition instanceof Stop) continue;
        await attempt(store, async () => {
          await keepClosed(options, store, (await roomOf(definition)).controlDirectory, elsewhere);
        });
      }
    });
  const run = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      // A look at an engine that is gone must not outlast the worker
      await options.client.withAbortSignal(ending.signal, look);
      await Promise.race([delay(INTERVAL_MILLIS, undefined, { ref: false }), ended]);
    }
    await options.client.withAbortSignal(AbortSignal.timeout(LAST_LOOK_MILLIS), look);
  };
  return { run, end: () => ending.abort() };
}

/** In the order in which they closed: what is kept last tells the next look where to go on. */
async function keepClosed(
  { client, host }: KeeperOptions,
  store: string,
  controlDirectory: string,
  elsewhere: Set<string>,
): Promise<void> {
  // Nothing was ever done here to the store: a run of another machine that goes by our name (workers/pollers.ts)
  if (!existsSync(join(controlDirectory, 'lock.db'))) return;
  const { runIds, newestClosedAt } = await keptHistories(controlDirectory);
  const closed: { info: WorkflowExecutionInfo; closedAt: Date }[] = [];
  for await (const info of client.workflow.list({ query: queryOf(store, newestClosedAt) })) {
    const { runId, closeTime } = info;
    if (closeTime === undefined || runIds.has(runId) || elsewhere.has(runId)) continue;
    closed.push({ info, closedAt: closeTime });
  }
  closed.sort((left, right) => left.closedAt.getTime() - right.closedAt.getTime());
  for (const { info, closedAt } of closed) {
    const { workflowId, runId, type } = info;
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    const order = orderOf(history);
    if (order.host !== host) {
      elsewhere.add(runId);
      continue;
    }
    const run = { operation: String(order.operation), protocol: type, workflowId, runId, closedAt };
    await keepHistory(controlDirectory, run, historyToJSON(history));
  }
}

function queryOf(store: string, newestClosedAt: Date | null): string {
  const ofStore = `HoldfastStore = '${store}' AND ExecutionStatus != 'Running'`;
  if (newestClosedAt === null) return ofStore;
  return `${ofStore} AND CloseTime > '${new Date(newestClosedAt.getTime() - INDEX_DELAY_MILLIS).toISOString()}'`;
}

type History = Parameters<typeof historyToJSON>[0];

/** The run's input: domain/protocol.ts `Order`, whatever else somebody has started under the store's name. */
function orderOf(history: History): { readonly host?: unknown; readonly operation?: unknown } {
  const [payload] = history.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
  if (payload === undefined) return {};
  return defaultPayloadConverter.fromPayload<{ host?: unknown; operation?: unknown } | null>(payload) ?? {};
}
