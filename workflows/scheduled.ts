// Scheduled: what a Temporal Schedule starts. Its id carries the time, so it starts the protocol as a child, under the id
// that lets one run; where another operation is at work it is a recorded skip. DESIGN.md "Workflows"; clause T-6.
import { ParentClosePolicy, executeChild, setWorkflowOptions, uuid4 } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { WORKFLOW_QUEUE, executionId, requestId } from '../domain/names.js';
import { checkScheduled } from '../domain/protocol.js';
import type { Order, ScheduledOrder, ScheduledReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, scheduled);
export async function scheduled(order: ScheduledOrder): Promise<ScheduledReport> {
  const { start, ...rest } = order ?? {};
  const child: Order = { ...rest, operation: uuid4() };
  const run = beginProtocol('scheduled', child);
  return run.conclude(async () => {
    checkScheduled(order);
    run.enter('scheduled.start');
    const workflowId = start === 'backup' ? executionId(order.store) : requestId(order.store, child.operation);
    const report = { protocol: 'scheduled', store: order.store, started: start, workflowId } as const;
    try {
      await executeChild(start, {
        // Of a verification: the newest backup there is
        args: [start === 'verify' ? { ...child, backup: 'latest' } : child],
        workflowId,
        taskQueue: WORKFLOW_QUEUE,
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: `${start} of ${order.store}, scheduled`,
      });
      return { ...report, skippedBecause: null };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      run.skipped();
      return { ...report, skippedBecause: `another operation of store ${order.store} was running` };
    }
  });
}
