// The request of a restore or rollback: plans, waits for the approval of exactly this plan, then starts the execution.
// It runs outside any exclusion, for days if need be (docs/decisions/0002). Clauses F-29, F-30.
import { ParentClosePolicy, allHandlersFinished, condition, executeChild, setHandler, setWorkflowOptions } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { WORKFLOW_QUEUE, executionId } from '../domain/names.js';
import { checkRequest } from '../domain/protocol.js';
import type { RequestOrder, RestoreOrder, RestoreReport } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { confirmUpdate } from './kit/messages.js';
import { beginProtocol } from './kit/run.js';
import { failureOf } from './kit/stop.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, request);
export async function request(order: RequestOrder): Promise<RestoreReport> {
  const run = beginProtocol('request', order);
  let digest: string | null = null;
  let confirmed = false;
  setHandler(confirmUpdate, ({ planDigest }) => {
    if (planDigest !== digest) throw failureOf(mismatch(planDigest, digest));
    confirmed = true;
  }, {
    validator: (_confirmation: { readonly planDigest: string; readonly by: string }) => {
      if (digest === null || confirmed) throw failureOf(new Stop('approval_mismatch', 'no approval is awaited', { digest }));
    },
  });
  return run.conclude(async () => {
    checkRequest(order);
    const { confirm, deadlineMillis, ...asked } = order;
    const planned = await run.step('request.plan', 'plan', { order, confirm });
    digest = planned.digest;
    run.planned(digest);
    // Exactly this plan, by its digest
    run.enter('request.approve');
    if (confirm !== null) {
      if (confirm !== digest) throw mismatch(confirm, digest);
    } else {
      run.waiting();
      const approved = await condition(() => confirmed, deadlineMillis);
      await condition(allHandlersFinished);
      if (!approved) throw new Stop('approval_expired', 'nobody confirmed the plan in time', { digest, deadlineMillis });
    }
    const execution: RestoreOrder = { ...asked, approved: planned };
    run.enter('request.execute');
    try {
      return await executeChild<(given: RestoreOrder) => Promise<RestoreReport>>(planned.plan.protocol, {
        args: [execution],
        workflowId: executionId(order.store),
        taskQueue: WORKFLOW_QUEUE,
        // The default would terminate the execution with its request, and termination compensates nothing
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: `${planned.plan.protocol} of ${order.store}, plan ${digest.slice(0, 12)}`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      throw new Stop('store_locked', `another operation of store ${order.store} is running`, { workflowId: executionId(order.store) });
    }
  });
}

function mismatch(given: string, digest: string | null): Stop {
  return new Stop('approval_mismatch', `the digest ${given} is not that of the plan`, { given, digest });
}
