// Backup: one instant of every member, as an artefact. Clauses F-18, SM-1, SM-2; DESIGN.md "The cut".
import { setWorkflowOptions } from '@temporalio/workflow';
import type { BackupOrder, BackupReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, backup);
export async function backup(order: BackupOrder): Promise<BackupReport> {
  const run = beginProtocol('backup', order);
  return run.conclude(() =>
    run.exclusive(async (grant) => {
      await run.step('backup.plan', 'planBackup', { grant });
      const quiesced = await run.step('backup.quiesce', 'quiesce', { grant });
      // Databases are cut and copied, trees read by their policies, everything hashed: into a hidden directory
      const { rehash = false } = order;
      const capture = await run.step('backup.snapshot', 'snapshot', { grant, rehash });
      const resumed = await run.always('backup.resume', 'resume', { grant, quiesced });
      // A copy that can't be trusted is refused here, not when it is needed
      await run.step('backup.validate', 'validateCapture', { grant, partial: capture.partial });
      // Until the rename of this step, nothing of this backup is visible
      const artefact = await run.critical('backup.package', 'packageArtefact', {
        grant,
        partial: capture.partial,
        requestedBy: order.requestedBy,
        quiescedMillis: resumed.quiescedMillis,
      });
      run.concerns(artefact.backupId);
      return { protocol: 'backup', operation: order.operation, store: order.store, ...artefact, steps: run.times() };
    }),
  );
}
