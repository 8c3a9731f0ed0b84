// Verify: an artefact is what its manifest says, and its databases are sound. Changes nothing. Clauses F-14, F-40.
import { setWorkflowOptions } from '@temporalio/workflow';
import type { VerifyOrder, VerifyReport } from '../domain/protocol.js';
import { beginProtocol } from './kit/run.js';

setWorkflowOptions({ failureExceptionTypes: [Error] }, verify);
export async function verify(order: VerifyOrder): Promise<VerifyReport> {
  const run = beginProtocol('verify', order);
  return run.conclude(async () => {
    const artefact = await run.step('verify.bytes', 'verifyBytes', { backup: order.backup });
    run.concerns(artefact.backupId);
    await run.step('verify.databases', 'verifyDatabases', {
      artefact: artefact.artefact,
      manifestSha256: artefact.manifestSha256,
    });
    return { protocol: 'verify', operation: order.operation, store: order.store, ...artefact, steps: run.times() };
  });
}
