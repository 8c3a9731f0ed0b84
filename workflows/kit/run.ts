// One run of a protocol: what hides behind `run.step(…)`. Each step is one activity on the host's own queue, with its
// id and title as summary in the Temporal UI; `exclusive` holds the lock around steps and settles whatever happens.
import {
  CancellationScope,
  condition,
  defineQuery,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey } from '@temporalio/common';
import type { Activities } from '../../activities/index.js';
import { LIMITS } from '../../domain/limits.js';
import { executionId, hostQueue } from '../../domain/names.js';
import type { Outcome } from '../../domain/names.js';
import { checkOrder } from '../../domain/protocol.js';
import type { LockGrant, Order, Settlement, StepTime } from '../../domain/protocol.js';
import { STEPS, stepTitle } from '../../domain/steps.js';
import type { Protocol, StepId } from '../../domain/steps.js';
import { Stop, assert, isStopCode } from '../../domain/stop.js';
import { COMPENSATION, IF_SERVED, STEP } from './options.js';
import { asStop, isRefusal, isUnserved, withSettlement } from './stop.js';

const STORE = defineSearchAttributeKey('HoldfastStore', 'KEYWORD');
const PROTOCOL = defineSearchAttributeKey('HoldfastProtocol', 'KEYWORD');
const BACKUP_ID = defineSearchAttributeKey('HoldfastBackupId', 'KEYWORD');
const OUTCOME = defineSearchAttributeKey('HoldfastOutcome', 'KEYWORD');
const STOP_CODE = defineSearchAttributeKey('HoldfastStopCode', 'KEYWORD');

export interface RunStatus {
  readonly protocol: Protocol;
  readonly store: string;
  readonly operation: string;
  readonly outcome: Outcome;
  readonly running: string | null;
  readonly done: readonly StepTime[];
  readonly planDigest: string | null;
}

export const statusQuery = defineQuery<RunStatus>('status');

type ActivityName = keyof Activities;
type InputOf<Name extends ActivityName> = Omit<Parameters<Activities[Name]>[0], 'step' | 'operation' | 'store'>;
type OutputOf<Name extends ActivityName> = Awaited<ReturnType<Activities[Name]>>;

export interface Run {
  /** One step, once; its refusal ends the protocol. */
  step<Name extends ActivityName>(id: StepId, name: Name, input: InputOf<Name>): Promise<OutputOf<Name>>;
  /** A step that no cancellation interrupts once it has begun. */
  critical<Name extends ActivityName>(id: StepId, name: Name, input: InputOf<Name>): Promise<OutputOf<Name>>;
  /** A step that must come about (resume, attach, release): tried again until it has, whatever is cancelled. */
  always<Name extends ActivityName>(id: StepId, name: Name, input: InputOf<Name>): Promise<OutputOf<Name>>;
  /** Holds the lock of the store around `body`; on any failure everything is settled before the run ends. */
  exclusive<T>(body: (grant: LockGrant) => Promise<T>): Promise<T>;
  /** Ends the run with its outcome recorded; the STOP of a failure unwrapped. */
  conclude<T>(body: () => Promise<T>): Promise<T>;
  /** Says that a step has begun which is no activity: it waits, or is another run's. */
  enter(id: StepId): void;
  waiting(): void;
  /** The run ends well without having done what it was started for. */
  skipped(): void;
  planned(digest: string): void;
  /** The backup that the run is about, for whoever searches. */
  concerns(backupId: string): void;
  times(): readonly StepTime[];
}

/** Begins a protocol: checks the order, registers the status query, makes the run findable. */
export function beginProtocol(protocol: Protocol, order: Order): Run {
  const done: StepTime[] = [];
  let running: string | null = null;
  let outcome: Outcome = 'running';
  let planDigest: string | null = null;
  // Before the order is checked: it may be missing altogether
  const { store, operation, host }: Partial<Order> = (order as Order | undefined | null) ?? {};
  setHandler(statusQuery, () => ({
    protocol,
    store: String(store),
    operation: String(operation),
    outcome,
    running,
    done,
    planDigest,
  }));

  const show = (): void => {
    const lines = STEPS[protocol].map((entry) => {
      const time = done.find((step) => step.step === entry.id);
      const mark = time !== undefined ? `done in ${time.millis} ms` : entry.id === running ? '**running**' : 'to come';
      return `- \`${entry.id}\` ${entry.title}: ${mark}`;
    });
    setCurrentDetails([`**${protocol}** of store \`${String(store)}\`: ${outcome}`, '', ...lines].join('\n'));
  };
  const become = (next: Outcome): void => {
    if (outcome === next) return;
    outcome = next;
    upsertSearchAttributes([{ key: OUTCOME, value: next }]);
    show();
  };
  const call = async <Name extends ActivityName>(
    id: string,
    name: Name,
    input: object,
    options: typeof STEP | typeof COMPENSATION | typeof IF_SERVED,
  ): Promise<OutputOf<Name>> => {
    const begin = Date.now();
    running = id;
    show();
    const settings = {
      ...options,
      heartbeatTimeout: order.heartbeatTimeoutMillis ?? LIMITS.heartbeatTimeoutMillis,
      taskQueue: hostQueue(order.host),
    };
    const proxies = proxyActivities<Activities>(settings);
    const activity = proxies[name] as unknown as {
      executeWithOptions(o: object, parameters: readonly unknown[]): Promise<OutputOf<Name>>;
    };
    const summary = id === 'settle' ? 'settle: pay what the operation owes' : `${id}: ${stepTitle(id as StepId)}`;
    const result = await activity.executeWithOptions({ ...settings, summary }, [
      { ...input, step: id, operation: order.operation, store: order.store },
    ]);
    done.push({ step: id, millis: Date.now() - begin });
    running = null;
    return result;
  };
  const insist = <Name extends ActivityName>(
    id: string,
    name: Name,
    input: object,
    options: typeof COMPENSATION | typeof IF_SERVED = COMPENSATION,
  ): Promise<OutputOf<Name>> =>
    CancellationScope.nonCancellable(() => withAlarm(order, id, call(id, name, input, options)));

  /**
   * Where it is not known whether the lock was taken, and no worker of the host is there to say, the run ends: a lock
   * that it left is that of a closed run, which the next protocol takes over, with what a former owner still owed.
   * @returns null: nobody knows
   */
  const settle = async (grant: LockGrant | null, outcome: string): Promise<Settlement | null> => {
    if (grant !== null) return insist('settle', 'settle', { grant, outcome });
    try {
      return await insist('settle', 'settle', { grant, outcome }, IF_SERVED);
    } catch (failure) {
      if (isUnserved(failure)) return null;
      throw failure;
    }
  };

  const run: Run = {
    step: (id, name, input) => call(id, name, input, STEP),
    critical: (id, name, input) => CancellationScope.nonCancellable(() => call(id, name, input, STEP)),
    always: (id, name, input) => insist(id, name, input),
    async exclusive(body) {
      assertExecutionId(order);
      assert(
        protocol !== 'request' && protocol !== 'verify' && protocol !== 'scheduled',
        'only protocols that change something take the lock',
      );
      let held: LockGrant | null = null;
      try {
        const grant = await call(`${protocol}.lock`, 'lock', { protocol }, STEP);
        held = grant;
        const result = await body(grant);
        await insist(`${protocol}.release`, 'release', { grant });
        return result;
      } catch (error) {
        if (held !== null || !isRefusal(error)) {
          become('compensating');
          const outcome = isCancellation(error) ? 'cancelled' : 'stopped';
          throw withSettlement(error, await settle(held, outcome), order.host);
        }
        throw error;
      }
    },
    async conclude(body) {
      try {
        checkOrder(order);
        upsertSearchAttributes([
          { key: STORE, value: order.store },
          { key: PROTOCOL, value: protocol },
          { key: OUTCOME, value: outcome },
        ]);
        const result = await body();
        if (outcome !== 'skipped') become('done');
        return result;
      } catch (error) {
        const failure = asStop(error, String(host));
        const type =
          failure instanceof Error && 'type' in failure && typeof failure.type === 'string' ? failure.type : null;
        const code = isCancellation(error) ? 'cancelled' : isStopCode(type) ? type : null;
        if (code !== null) upsertSearchAttributes([{ key: STOP_CODE, value: code }]);
        become(code !== null ? 'stopped' : 'failed');
        throw failure;
      }
    },
    enter(id) {
      running = id;
      become('running');
      show();
    },
    waiting: () => become('waiting'),
    skipped: () => become('skipped'),
    planned(digest) {
      planDigest = digest;
    },
    concerns: (backupId) => upsertSearchAttributes([{ key: BACKUP_ID, value: backupId }]),
    times: () => [...done],
  };
  return run;
}

/** The id is the exclusion that the server sees: an execution under any other would run beside it. */
function assertExecutionId(order: Order): void {
  const { workflowId } = workflowInfo();
  if (workflowId !== executionId(order.store)) {
    throw new Stop('usage', `the workflow id of an execution is ${executionId(order.store)}`, {
      workflowId,
      expected: executionId(order.store),
    });
  }
}

/** Says so, again and again, while a compensation does not come about; never gives up. */
async function withAlarm<T>(order: Order, step: string, work: Promise<T>): Promise<T> {
  let settled = false;
  const ended = work.finally(() => (settled = true));
  const watch = async (): Promise<void> => {
    while (!settled) {
      if (await condition(() => settled, LIMITS.compensationAlarmMillis)) return;
      log.error('compensation has not come about', { store: order.store, operation: order.operation, step });
    }
  };
  const [result] = await Promise.all([ended, watch()]);
  return result;
}
