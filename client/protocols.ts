// The typed API of the protocols: what the command line, and any other program, starts and follows them with.
// Every operation has an id of its own, made here; the engine's workflow ids are domain/names.ts.
import { randomUUID } from 'node:crypto';
import {
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TemporalFailure, TerminatedFailure } from '@temporalio/common';
import { LIMITS } from '../domain/limits.js';
import { WORKFLOW_QUEUE, executionId, requestId } from '../domain/names.js';
import { checkOrder, isStoreName, settledMessage, settlementDetails } from '../domain/protocol.js';
import type {
  BackupOrder,
  BackupReport,
  ConfirmedBy,
  Order,
  PlanOrder,
  PlanReport,
  Progress,
  RequestOrder,
  RestoreReport,
  RestoreSource,
  VerifyOrder,
  VerifyReport,
} from '../domain/protocol.js';
import { Stop, isStopCode } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import type { EngineSession } from './connection.js';
import { settlementOf } from './settlement.js';

export interface OperationOptions {
  /** Host of the store; the session's own by default. */
  readonly host?: string;
  readonly requestedBy: string;
  /** Made here when it is not given. */
  readonly operation?: string;
  /** See Order. */
  readonly heartbeatTimeoutMillis?: number;
}

export interface BackupOptions extends OperationOptions, Pick<BackupOrder, 'rehash'> {}

/** A protocol under way: where it can be looked at, and its end. */
export interface Operation<Report> {
  readonly operation: string;
  readonly workflowId: string;
  readonly runId: string;
  /** Page of the run in the Temporal UI. */
  readonly url: string | undefined;
  /** @throws Stop; an ordinary Error for a defect */
  result(): Promise<Report>;
  /** Asks the run to undo and end; its result then is Stop cancelled. */
  cancel(): Promise<void>;
}

/** How far a run is, from the heartbeats of its running step. */
export interface RunProgress {
  readonly workflowId: string;
  readonly runId: string;
  readonly status: string;
  readonly progress: Progress | null;
  /** Why a compensation is being tried again; null while nothing is. */
  readonly lastFailure: { readonly attempt: number; readonly message: string } | null;
}

export interface Holdfast {
  backup(store: string, options: BackupOptions): Promise<Operation<BackupReport>>;
  plan(store: string, source: RestoreSource, options: OperationOptions): Promise<Operation<PlanReport>>;
  /** Plans, then restores or rolls back if the plan's digest is `confirm`. */
  restore(
    store: string,
    source: RestoreSource,
    confirm: string,
    options: OperationOptions & { readonly confirmedBy?: ConfirmedBy },
  ): Promise<Operation<RestoreReport>>;
  verify(
    store: string,
    backup: string,
    options: OperationOptions & Pick<VerifyOrder, 'depth' | 'seed'>,
  ): Promise<Operation<VerifyReport>>;
  /** Asks the execution of a store to undo and end. @throws Stop artefact_missing when none is running */
  cancel(store: string): Promise<{ readonly workflowId: string }>;
  /** The runs of a store that are open, executions and requests. */
  running(store: string): Promise<readonly RunProgress[]>;
  progress(workflowId: string, runId?: string): Promise<RunProgress>;
}

export function createHoldfast(session: EngineSession): Holdfast {
  const { client } = session;
  const orderOf = (store: string, options: OperationOptions): Order => ({
    operation: options.operation ?? randomUUID(),
    store,
    host: options.host ?? session.host,
    requestedBy: options.requestedBy,
    ...(options.heartbeatTimeoutMillis === undefined ? {} : { heartbeatTimeoutMillis: options.heartbeatTimeoutMillis }),
  });
  const start = async <Report>(type: string, workflowId: string, order: Order): Promise<Operation<Report>> => {
    checkOrder(order);
    try {
      const handle = await client.workflow.start<(order: Order) => Promise<Report>>(type, {
        taskQueue: WORKFLOW_QUEUE,
        workflowId,
        args: [order],
        // The server lets one execution of a store run, and names it
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: `${type} of ${order.store} for ${order.requestedBy}`.slice(0, 200),
      });
      return operationOf(session, order.operation, handle, handle.firstExecutionRunId);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw asRefusal(error);
      throw new Stop('store_locked', `another operation of store ${order.store} is running`, { workflowId });
    }
  };
  const progress = async (workflowId: string, runId?: string): Promise<RunProgress> => {
    const description = await client.workflow.getHandle(workflowId, runId).describe();
    return {
      workflowId,
      runId: description.runId,
      status: description.status.name,
      ...newestProgress(description.raw.pendingActivities ?? []),
    };
  };
  return {
    async backup(store, options) {
      const order: BackupOrder = {
        ...orderOf(store, options),
        ...(options.rehash !== undefined && { rehash: options.rehash }),
      };
      return start<BackupReport>('backup', executionId(store), order);
    },
    async plan(store, source, options) {
      const order: PlanOrder = { ...orderOf(store, options), source };
      return start<PlanReport>('plan', requestId(store, order.operation), order);
    },
    async restore(store, source, confirm, options) {
      const order: RequestOrder = {
        ...orderOf(store, options),
        source,
        confirm,
        deadlineMillis: LIMITS.approvalDeadlineMillis,
        ...(options.confirmedBy !== undefined && { confirmedBy: options.confirmedBy }),
      };
      return start<RestoreReport>('request', requestId(store, order.operation), order);
    },
    async verify(store, backup, options) {
      const { depth, seed } = options;
      const order: VerifyOrder = {
        ...orderOf(store, options),
        backup,
        ...(depth !== undefined && { depth }),
        ...(seed !== undefined && { seed }),
      };
      return start<VerifyReport>('verify', requestId(store, order.operation), order);
    },
    async cancel(store) {
      const [first] = await runsOf(store);
      if (first === undefined) throw new Stop('operation_missing', `nothing is running for store ${store}`, { store });
      await client.workflow.getHandle(first.workflowId, first.runId).cancel();
      return { workflowId: first.workflowId };
    },
    running: async (store) => Promise.all((await runsOf(store)).map((run) => progress(run.workflowId, run.runId))),
    progress,
  };

  async function openRun(
    workflowId: string,
  ): Promise<{ readonly workflowId: string; readonly runId: string } | undefined> {
    try {
      const { status, runId } = await client.workflow.getHandle(workflowId).describe();
      return status.name === 'RUNNING' ? { workflowId, runId } : undefined;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }

  /** Executions first, and asked for by their id: what is listed lags behind what was just started. */
  async function runsOf(store: string): Promise<readonly { readonly workflowId: string; readonly runId: string }[]> {
    if (!isStoreName(store)) throw new Stop('usage', `${JSON.stringify(store)} is not a store id`, { store });
    const found: { workflowId: string; runId: string }[] = [];
    const execution = await openRun(executionId(store));
    if (execution !== undefined) found.push(execution);
    for await (const run of client.workflow.list({
      query: `HoldfastStore = '${store}' AND ExecutionStatus = 'Running'`,
    })) {
      if (run.workflowId !== executionId(store)) found.push({ workflowId: run.workflowId, runId: run.runId });
    }
    return found.sort((left, right) => left.workflowId.length - right.workflowId.length);
  }
}

function operationOf<Report>(
  session: EngineSession,
  operation: string,
  handle: WorkflowHandle,
  runId: string,
): Operation<Report> {
  return {
    operation,
    workflowId: handle.workflowId,
    runId,
    url: session.workflowUrl(handle.workflowId, runId),
    async result() {
      try {
        return (await handle.result()) as Report;
      } catch (error) {
        const refusal = asRefusal(error);
        if (!(refusal instanceof Stop) || refusal.code !== 'cancelled') throw refusal;
        throw await withSettlement(session, refusal, handle.workflowId, runId);
      }
    },
    cancel: async () => void (await handle.cancel()),
  };
}

/** Where the engine can't be asked any more, that the run was cancelled is known all the same. */
async function withSettlement(session: EngineSession, stop: Stop, workflowId: string, runId: string): Promise<Stop> {
  try {
    const settlement = await settlementOf(session.client, workflowId, runId);
    return new Stop(stop.code, settledMessage(stop.message, settlement), settlementDetails(settlement));
  } catch (error) {
    if (error instanceof ServiceError) return stop;
    throw error;
  }
}

/** The STOP that ended a run, or the defect. */
export function asRefusal(error: unknown): unknown {
  if (error instanceof ServiceError) {
    return new Stop('engine_lost', 'the engine stopped answering', { reason: error.message }, { cause: error });
  }
  if (!(error instanceof WorkflowFailedError)) return error;
  for (let cause: unknown = error.cause; cause instanceof TemporalFailure; cause = cause.cause) {
    if (cause instanceof TerminatedFailure)
      return new Stop('terminated', 'the run was terminated, by a person or a tool that speaks to the engine');
    if (cause instanceof CancelledFailure) return new Stop('cancelled', 'the operation was cancelled', {});
    if (cause instanceof ApplicationFailure && isStopCode(cause.type)) {
      const model = cause.details?.[0] as { readonly details?: StopDetails } | undefined;
      return new Stop(cause.type, cause.message, model?.details ?? {});
    }
  }
  return error.cause ?? error;
}

interface PendingActivity {
  readonly heartbeatDetails?: { readonly payloads?: readonly { readonly data?: Uint8Array | null }[] | null } | null;
  readonly attempt?: number | null;
  readonly lastFailure?: { readonly message?: string | null } | null;
}

function newestProgress(pending: readonly PendingActivity[]): Pick<RunProgress, 'progress' | 'lastFailure'> {
  for (const activity of pending) {
    const data = activity.heartbeatDetails?.payloads?.[0]?.data;
    const message = activity.lastFailure?.message;
    const lastFailure = typeof message === 'string' ? { attempt: activity.attempt ?? 1, message } : null;
    if (data !== undefined && data !== null)
      return { progress: JSON.parse(new TextDecoder().decode(data)) as Progress, lastFailure };
    if (lastFailure !== null) return { progress: null, lastFailure };
  }
  return { progress: null, lastFailure: null };
}
