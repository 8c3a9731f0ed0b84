// Rollback: the state that a restore replaced comes back, whole, in the same way. Clauses H-13, F-34.
import { setWorkflowOptions } from '@temporalio/workflow';
import type { RestoreOrder, RestoreReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, rollback);
export async function rollback(order: RestoreOrder): Promise<RestoreReport> {
  const run = beginProtocol('rollback', order);
  return run.conclude(() =>
    run.exclusive(async (grant) => {
      const { plan, digest } = await run.step('rollback.plan', 'planUnderLock', { grant, order });
      run.planned(digest);
      await run.step('rollback.detach', 'detach', { grant, plan });
      await run.step('rollback.in-use', 'inUse', { grant });
      const { seen } = await run.step('rollback.compare', 'comparePoint', { grant, plan });
      await run.critical('rollback.fence', 'fence', { grant, protocol: 'rollback' });
      // Until this line returns, the restored store is the store
      const { epoch } = await run.critical('rollback.exchange', 'exchange', { grant, plan, seen });
      await run.step('rollback.verify', 'verifyPoint', { grant, plan });
      const { rollbackPoint } = await run.critical('rollback.commit', 'commit', { grant, plan });
      await run.always('rollback.attach', 'attach', { grant });
      return {
        protocol: 'rollback',
        operation: order.operation,
        store: order.store,
        planDigest: digest,
        rollbackPoint,
        epoch,
        sizeBytes: plan.source.sizeBytes,
        files: plan.source.files,
        steps: run.times(),
      };
    }),
  );
}
