// Restore in place, all or nothing. The steps are DESIGN.md "Restore"; clauses F-21, SM-4 to SM-9, L-3 to L-9.
import { setWorkflowOptions } from '@temporalio/workflow';
import type { RestoreOrder, RestoreReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, restore);
export async function restore(order: RestoreOrder): Promise<RestoreReport> {
  const run = beginProtocol('restore', order);
  return run.conclude(() =>
    run.exclusive(async (grant) => {
      const { plan, digest } = await run.step('restore.plan', 'planUnderLock', { grant, order });
      run.planned(digest);
      run.concerns(plan.source.id);
      // The backup must be readable in full before anything of the live store is touched
      const staged = await run.step('restore.stage', 'stage', { grant, plan });
      await run.step('restore.validate', 'validateStaged', { grant, plan });
      const application = await run.step('restore.gates', 'gates', { grant, plan });
      await run.step('restore.detach', 'detach', { grant, plan });
      await run.step('restore.in-use', 'inUse', { grant });
      // Definitions may ask for a backup of what is about to be replaced
      const kept =
        plan.keep === undefined
          ? {}
          : await run.step('restore.keep', 'keepPresent', { grant, plan, application, requestedBy: order.requestedBy });
      // Nobody writes any more: what is compared now is what will be replaced
      const { seen } = await run.step('restore.compare', 'compare', { grant, plan });
      await run.critical('restore.fence', 'fence', { grant, protocol: 'restore' });
      await run.critical('restore.carry-over', 'carryOver', { grant, plan });
      // Until this line returns, the old store is the store
      const { epoch } = await run.critical('restore.exchange', 'exchange', { grant, plan, seen });
      await run.step('restore.rebuild', 'rebuild', { grant });
      await run.step('restore.verify', 'verifyLive', { grant, plan });
      // The commit point: before it everything is undone, after it everything is finished
      const { rollbackPoint } = await run.critical('restore.commit', 'commit', { grant, plan });
      await run.always('restore.attach', 'attach', { grant });
      return {
        protocol: 'restore',
        operation: order.operation,
        store: order.store,
        planDigest: digest,
        rollbackPoint,
        ...kept,
        ...(plan.source.adopted !== undefined && { adopted: plan.source.adopted }),
        epoch,
        ...staged,
        steps: run.times(),
      };
    }),
  );
}
