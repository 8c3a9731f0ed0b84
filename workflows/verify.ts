// Verify: backups are what their manifests say, and their databases are sound. Changes nothing. Clauses F-14, F-40.
import { setWorkflowOptions } from '@temporalio/workflow';
import { checkVerify } from '../domain/protocol.js';
import type { VerifyOrder, VerifyReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, verify);
export async function verify(order: VerifyOrder): Promise<VerifyReport> {
  const run = beginProtocol('verify', order);
  return run.conclude(async () => {
    checkVerify(order);
    const { backup, depth = 'full', seed } = order;
    const bytes = await run.step('verify.bytes', 'verifyBytes', { backup, depth, ...(seed !== undefined && { seed }) });
    run.concerns(bytes.backupId);
    const { artefact, manifestSha256, backups } = bytes;
    const { countersigned } =
      depth === 'full'
        ? await run.step('verify.databases', 'verifyDatabases', { artefact, manifestSha256, backup, backups })
        : bytes;
    return {
      protocol: 'verify',
      operation: order.operation,
      store: order.store,
      ...bytes,
      countersigned,
      steps: run.times(),
    };
  });
}
