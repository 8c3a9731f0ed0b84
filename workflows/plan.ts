// Plan: what a restore or rollback would do and what would be lost at most, changing nothing. Clause F-29.
import { setWorkflowOptions } from '@temporalio/workflow';
import type { PlanOrder, PlanReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, plan);
export async function plan(order: PlanOrder): Promise<PlanReport> {
  const run = beginProtocol('request', order);
  return run.conclude(async () => {
    const { lockId: _, ...planned } = await run.step('request.plan', 'plan', { order, confirm: null });
    return { protocol: 'plan', ...planned };
  });
}
