// How activities are called: the inverse of Temporal's defaults, written out (docs/decisions/0001). A step runs once.
// Only compensation is tried again, without end, because leaving a store in between is worse than waiting.
import type { ActivityOptions } from '@temporalio/workflow';
import { LIMITS } from '../../domain/limits.js';

export const STEP = {
  startToCloseTimeout: LIMITS.stepTimeoutMillis,
  heartbeatTimeout: LIMITS.heartbeatTimeoutMillis,
  scheduleToStartTimeout: LIMITS.scheduleToStartMillis,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { maximumAttempts: 1 },
} as const satisfies ActivityOptions;

export const COMPENSATION = {
  startToCloseTimeout: LIMITS.compensationTimeoutMillis,
  heartbeatTimeout: LIMITS.heartbeatTimeoutMillis,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { initialInterval: 1000, backoffCoefficient: 2, maximumInterval: 60_000 },
} as const satisfies ActivityOptions;

/** Compensation that may have nothing to pay: no worker of the host is waited for without end. */
export const IF_SERVED = {
  ...COMPENSATION,
  scheduleToStartTimeout: LIMITS.scheduleToStartMillis,
} as const satisfies ActivityOptions;
