// The lock: taken first, released last, and settled when a protocol ends in between.
import { activityInfo } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { LockOwner } from '../control/control-database.js';
import { dropPartials } from '../artefacts/artefact.js';
import { acquireLock, critical, hasFinished, releaseLock } from '../control/lock.js';
import type { RunState } from '../control/lock.js';
import { noteStore } from '../control/noted-stores.js';
import { settleOperation } from '../control/recovery.js';
import { pruneRollbackPoints } from '../control/rollback-points.js';
import { dismissGuard } from '../control/guard.js';
import type { LockGrant, Settlement } from '../domain/protocol.js';
import { compensation, step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepInput } from './step.js';

/** Steps backup.lock, restore.lock, rollback.lock. */
export const lock = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: StepInput & { readonly protocol: string }, { room }): Promise<LockGrant> => {
    const { workflowExecution } = activityInfo();
    if (workflowExecution === undefined) throw new Error('defect: a step outside a workflow');
    await noteStore(dependencies.stateDirectory, room);
    return acquireLock(
      room,
      {
        operation: input.operation,
        protocol: input.protocol,
        workflowId: workflowExecution.workflowId,
        runId: workflowExecution.runId,
        namespaceId: dependencies.namespaceId,
        host: dependencies.host,
      },
      (owner) => describeRun(dependencies, owner),
    );
  });

/** Another engine has never heard of the run, and a closed run vanishes after retention: neither proves anything. */
async function describeRun({ client, namespaceId }: ActivityDependencies, owner: LockOwner): Promise<RunState> {
  if (owner.namespaceId !== namespaceId) return 'unknown';
  try {
    const { status } = await client.workflow.getHandle(owner.workflowId, owner.runId).describe();
    return status.name === 'RUNNING' ? 'open' : 'closed';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'unknown';
    throw error;
  }
}

/** Steps backup.release, restore.release, rollback.release. */
export const release = (dependencies: ActivityDependencies) =>
  compensation(dependencies, async (input: GrantedInput, { room }) => {
    const { backup, rollback } = room.definition;
    // Released before, by a worker that died before it could say so
    if (await hasFinished(room, input.operation)) return;
    await pruneRollbackPoints(room, input.grant);
    await critical(room, input.grant, async () => {
      // Beside the store lie the copies that were packed into a vault
      for (const destination of [backup.destination, rollback.destination, room.controlDirectory])
        if (destination !== null) await dropPartials(destination, input.store, dependencies.host);
    });
    await releaseLock(room, input.grant, 'done');
  });

/** What compensation is given. `grant`: null when it is not known whether the lock was taken, by a step that was lost. */
export type SettleInput = StepInput & { readonly grant: LockGrant | null; readonly outcome: string };

/** The compensation of every protocol. Nothing to do when the lock is not this run's any more. */
export const settle = (dependencies: ActivityDependencies) =>
  compensation(dependencies, async (input: SettleInput, { room }): Promise<Settlement> => {
    const runId = activityInfo().workflowExecution?.runId;
    if (runId === undefined) throw new Error('defect: a step outside a workflow');
    const settled = await settleOperation(room, input.operation, runId, input.outcome);
    dismissGuard(input.operation);
    const { undone = false, finished = false, hooks = [], stagingDropped = 0 } = settled ?? {};
    return { undone, finished, hooks, stagingDropped };
  });
