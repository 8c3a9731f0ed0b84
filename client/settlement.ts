// How a cancelled run was settled. A run that ends as cancelled carries no details, as one that is refused does; its
// history has what the step `settle` has answered, its own or that of the execution that a request has started.
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Settlement } from '../domain/protocol.js';

const NOTHING_TO_SETTLE: Settlement = { undone: false, finished: false, hooks: [], stagingDropped: 0 };

/**
 * Of a run that has ended. Errors: those of the client.
 * @returns null: a step that may have taken the lock had begun, and no worker of the host was there to settle it
 */
export async function settlementOf(client: Client, workflowId: string, runId: string): Promise<Settlement | null> {
  const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  let settling: string | undefined;
  let hasBegun = false;
  for (const event of events ?? []) {
    const execution = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
    if (typeof execution?.workflowId === 'string' && typeof execution.runId === 'string')
      return settlementOf(client, execution.workflowId, execution.runId);
    if (event.activityTaskScheduledEventAttributes?.activityType?.name === 'settle') settling = String(event.eventId);
    // Of a step that was cancelled before a worker took it the history has no start
    if (event.activityTaskStartedEventAttributes) hasBegun = true;
    const completed = event.activityTaskCompletedEventAttributes;
    const answer = completed?.result?.payloads?.[0];
    if (settling !== undefined && answer !== undefined && String(completed?.scheduledEventId) === settling)
      return defaultPayloadConverter.fromPayload<Settlement>(answer);
  }
  if (settling !== undefined && hasBegun) return null;
  // Neither the lock nor anything else had been taken
  return NOTHING_TO_SETTLE;
}
