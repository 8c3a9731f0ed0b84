// What every step has in common: it runs once, says where it is by heartbeats, hears of cancellation, and translates
// refusals. The body of a step is thin: it calls a room below and returns something small.
import { setMaxListeners } from 'node:events';
import { activityInfo, CancelledFailure, Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Client } from '@temporalio/client';
import type { RestorePlan } from '../domain/plan.js';
import type { LockGrant, Progress } from '../domain/protocol.js';
import type { StepId } from '../domain/steps.js';
import { LIMITS } from '../domain/limits.js';
import { Stop, assert, stopModel } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { elapsedSince } from '../control/clock.js';
import { assertGivenHere, critical } from '../control/lock.js';
import { definitionDigest } from '../control/plans.js';
import { openStoreRoom, openStoreRoomAlone } from '../control/store-room.js';
import type { StoreRoom } from '../control/store-room.js';

export interface ActivityDependencies {
  readonly host: string;
  readonly namespaceId: string;
  readonly client: Client;
  readonly definitionsDirectory: string;
  readonly stateDirectory: string;
}

/** What every step is given; `step` is its id in domain/steps.ts. */
export interface StepInput {
  readonly step: StepId | 'settle';
  readonly operation: string;
  readonly store: string;
}

export interface GrantedInput extends StepInput {
  readonly grant: LockGrant;
}

export interface StepContext {
  readonly dependencies: ActivityDependencies;
  readonly room: StoreRoom;
  readonly signal: AbortSignal;
  /** Says how far the step is; the newest is sent with each heartbeat. */
  readonly report: (progress: Partial<Omit<Progress, 'step' | 'elapsedMillis'>>) => void;
}

type Body<Input, Output> = (input: Input, context: StepContext) => Promise<Output>;

/**
 * A step of a protocol: at most one attempt, every refusal final.
 * @param alone whatever the definitions of other stores say: of a step that changes nothing of any store
 */
export function step<Input extends StepInput, Output>(
  dependencies: ActivityDependencies,
  body: Body<Input, Output>,
  { alone = false }: { readonly alone?: boolean } = {},
): (input: Input) => Promise<Output> {
  return (input) => run(dependencies, input, body, { retryable: false, alone });
}

/** What must come about (compensation, resume, attach, release): idempotent, its refusals are tried again. */
export function compensation<Input extends StepInput, Output>(
  dependencies: ActivityDependencies,
  body: Body<Input, Output>,
): (input: Input) => Promise<Output> {
  return (input) => run(dependencies, input, body, { retryable: true, alone: true });
}

async function run<Input extends StepInput, Output>(
  dependencies: ActivityDependencies,
  input: Input,
  body: Body<Input, Output>,
  { retryable, alone }: { readonly retryable: boolean; readonly alone: boolean },
): Promise<Output> {
  const info = activityInfo();
  if (!retryable) assert(info.attempt === 1, `step ${input.step} is in attempt ${info.attempt}`);
  const begin = process.hrtime.bigint();
  let progress: Omit<Progress, 'elapsedMillis'> = {
    step: input.step,
    phase: 'begins',
    bytesDone: 0,
    bytesTotal: null,
    filesDone: 0,
    filesTotal: null,
  };
  const signal = Context.current().cancellationSignal;
  // One for every database that is being checked is no leak
  setMaxListeners(0, signal);
  const beat = (): void =>
    Context.current().heartbeat({ ...progress, elapsedMillis: Math.round(elapsedSince(begin)) } satisfies Progress);
  beat();
  const timer = setInterval(beat, LIMITS.heartbeatIntervalMillis);
  try {
    const room = await (alone ? openStoreRoomAlone : openStoreRoom)(dependencies.definitionsDirectory, input.store);
    // Before anything: a run that was reset into its middle, or whose lock was taken over, must not even run a hook.
    // What must come about, comes about on the machine that has the lock: another one says no, and it is tried again
    if (isGranted(input)) {
      if (retryable) await assertGivenHere(room, input.grant);
      else {
        assertOwnRun(input, info.workflowExecution?.runId);
        await critical(room, input.grant, () => undefined);
      }
    }
    if (isPlanned(input)) assertDefinitionOf(input.plan, room);
    return await body(input, {
      dependencies,
      room,
      signal,
      report: (news) => {
        progress = { ...progress, ...news };
      },
    });
  } catch (error) {
    throw failureOf(error, input, signal, retryable);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Refusals that trying again can't mend: a lock that was taken over does not come back, and a former state that can't
 * be put back is for a person to look at, with the fence up and both trees kept.
 */
const FINAL: ReadonlySet<string> = new Set<StopCode>(['lock_lost', 'undo_failed']);

/** What one machine refuses is for another, at once: waiting longer and longer would only make its turn rarer. */
const OTHER_MACHINE_MILLIS = 1000;

function isGranted(input: StepInput): input is GrantedInput {
  return 'grant' in input && input.grant !== null;
}

/**
 * A reset gives a new run the lock that its history holds, and would carry out again what the first run has done: an
 * exchange that is made twice brings the old state back under the name of the new one.
 * @throws Stop lock_lost
 */
function assertOwnRun({ operation, grant }: GrantedInput, runId: string | undefined): void {
  if (grant.runId === runId) return;
  throw new Stop(
    'lock_lost',
    `the lock of operation ${operation} is that of run ${grant.runId}, and this run was reset from it`,
    { operation, runId: grant.runId },
  );
}

/** A step that carries out an approved plan. */
function isPlanned(input: StepInput): input is StepInput & { readonly plan: RestorePlan } {
  return 'plan' in input;
}

/**
 * Each step reads the definition anew, and it may have been edited since the approval, which was of this very one.
 * @throws Stop plan_stale
 */
function assertDefinitionOf(plan: RestorePlan, room: StoreRoom): void {
  if (definitionDigest(room.definition) === plan.definitionSha256) return;
  throw new Stop('plan_stale', 'the definition of the store is not the one that was approved', {
    store: room.definition.store,
  });
}

function failureOf(error: unknown, input: StepInput, signal: AbortSignal, retryable: boolean): Error {
  // What a cancelled step was interrupted in (a hook that was killed, a copy that was given up) is no refusal of its own
  if (signal.aborted && !retryable)
    return new CancelledFailure(`step ${input.step} was cancelled`, [], error instanceof Error ? error : undefined);
  const stop = translateErrno(error, { step: input.step });
  if (stop instanceof Stop) {
    const model = stopModel(stop.code, stop.message, { ...stop.details, step: input.step });
    return ApplicationFailure.create({
      message: stop.message,
      type: stop.code,
      nonRetryable: !retryable || FINAL.has(stop.code),
      details: [model],
      cause: stop,
      ...(stop.code === 'host_ambiguous' && { nextRetryDelay: OTHER_MACHINE_MILLIS }),
    });
  }
  // A programming error: never a STOP. Compensation goes on trying, for a worker that was mended may come
  return ApplicationFailure.create({
    message: stop.message,
    type: 'defect',
    nonRetryable: !retryable,
    details: [{ step: input.step }],
    cause: stop,
  });
}
