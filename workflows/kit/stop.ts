// Failures as a workflow ends with them: a STOP travels unwrapped, so that the run's own failure is the refusal.
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  TemporalFailure,
  TerminatedFailure,
  TimeoutFailure,
  isCancellation,
} from '@temporalio/workflow';
import { settledMessage, settlementDetails } from '../../domain/protocol.js';
import type { Settlement } from '../../domain/protocol.js';
import { Stop, stopModel } from '../../domain/stop.js';
import type { StopCode, StopModel } from '../../domain/stop.js';

/** A Stop of the pure domain, as the failure that ends a run. */
export function failureOf(stop: Stop): ApplicationFailure {
  return ApplicationFailure.nonRetryable(stop.message, stop.code, stopModel(stop.code, stop.message, stop.details));
}

/** Takes the STOP out of whatever wraps it; cancellation stays what it is; anything else is a defect and stays itself. */
export function asStop(error: unknown, host: string): unknown {
  if (isCancellation(error)) return error;
  if (error instanceof Stop) return failureOf(error);
  for (let cause: unknown = error; cause instanceof TemporalFailure; cause = cause.cause) {
    if (cause instanceof ApplicationFailure)
      return ApplicationFailure.nonRetryable(cause.message, cause.type ?? undefined, ...(cause.details ?? []));
    if (cause instanceof TerminatedFailure) return failureOf(new Stop('terminated', 'the execution was terminated'));
    if (cause instanceof TimeoutFailure) return failureOf(timeoutStop(cause, stepOf(error), host));
  }
  return error;
}

function timeoutStop(timeout: TimeoutFailure, step: string, host: string): Stop {
  const codes: Readonly<Record<string, StopCode>> = {
    HEARTBEAT: 'worker_lost',
    SCHEDULE_TO_START: 'host_absent',
    START_TO_CLOSE: 'step_timeout',
    SCHEDULE_TO_CLOSE: 'step_timeout',
  };
  const code = codes[timeout.timeoutType ?? ''] ?? 'step_timeout';
  const message =
    code === 'host_absent'
      ? `no worker of host ${host} took step ${step}`
      : `step ${step} ended by its ${timeout.timeoutType} timeout`;
  return new Stop(code, message, { step, host, timeout: timeout.timeoutType });
}

function stepOf(error: unknown): string {
  if (error instanceof ActivityFailure) return error.activityType;
  if (error instanceof ChildWorkflowFailure) return error.workflowType ?? 'child';
  return 'unknown';
}

/** True when a step said no, or never began because no worker of the host was there: then it has left nothing behind. */
export function isRefusal(error: unknown): boolean {
  if (error instanceof Stop) return true;
  return isUnserved(error) || (error instanceof ActivityFailure && error.cause instanceof ApplicationFailure);
}

/** True when a step never began, because no worker of the host took it. */
export function isUnserved(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === 'SCHEDULE_TO_START'
  );
}

/**
 * Adds to a STOP how the run was settled. A cancellation has no details: client/settlement.ts reads its history.
 * @param settlement null: nobody knows
 */
export function withSettlement(error: unknown, settlement: Settlement | null, host: string): unknown {
  const failure = asStop(error, host);
  if (isCancellation(error) || !(failure instanceof ApplicationFailure)) return error;
  const model = failure.details?.[0] as StopModel | undefined;
  const message = settledMessage(failure.message, settlement);
  return ApplicationFailure.nonRetryable(message, failure.type ?? undefined, {
    ...model,
    message,
    details: { ...model?.details, ...settlementDetails(settlement) },
  });
}
