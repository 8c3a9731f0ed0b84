// The request of a restore or rollback: plans, waits for the approval of exactly this plan, then starts the execution.
// It runs outside any exclusion, for days if need be (docs/decisions/0002). Clauses F-29, F-30.
import { ParentClosePolicy, executeChild, setWorkflowOptions } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { WORKFLOW_QUEUE, executionId } from '../domain/names.js';
import { assertConfirmed, checkRequest } from '../domain/protocol.js';
import type { RequestOrder, RestoreOrder, RestoreReport } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { createApproval } from './kit/approval.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, request);
export async function request(order: RequestOrder): Promise<RestoreReport> {
  const run = beginProtocol('request', order);
  const approval = createApproval(run);
  return run.conclude(async () => {
    checkRequest(order);
    const { confirm, deadlineMillis, confirmedBy: _, ...asked } = order;
    const { confirmation, ...planned } = await run.step('request.plan', 'plan', { order, confirm });
    assertConfirmed(confirmation, order);
    run.planned(planned.digest);
    run.enter('request.approve');
    await approval.awaited(planned.digest, confirm, deadlineMillis);
    run.enter('request.execute');
    return execute({ ...asked, approved: planned });
  });
}

/** The execution holds the store alone, under the id that the server knows it by; it plans again under the lock. */
async function execute(order: RestoreOrder): Promise<RestoreReport> {
  const { protocol } = order.approved.plan;
  const workflowId = executionId(order.store);
  try {
    return await executeChild<(given: RestoreOrder) => Promise<RestoreReport>>(protocol, {
      args: [order],
      workflowId,
      taskQueue: WORKFLOW_QUEUE,
      // The default would terminate the execution with its request, and termination compensates nothing
      parentClosePolicy: ParentClosePolicy.ABANDON,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      staticSummary: `${protocol} of ${order.store}, plan ${order.approved.digest.slice(0, 12)}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new Stop('store_locked', `another operation of store ${order.store} is running`, { workflowId });
  }
}
