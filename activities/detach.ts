// Steps restore.detach and rollback.detach: the application is asked to let go of the store (L-4, H-13).
import { runHook } from '../control/hooks.js';
import { journal } from '../control/lock.js';
import type { RestorePlan } from '../domain/plan.js';
import { assertStillCovered } from './covered.js';
import { factsOfBackup } from './measure.js';
import { readPlannedBackup } from './planned.js';
import type { PlannedInput } from './stage.js';
import { step } from './step.js';
import type { ActivityDependencies, StepContext } from './step.js';

export const detach = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => {
    const { room, signal } = context;
    const hook = room.definition.hooks.detach;
    if (hook === undefined) return;
    if (input.plan.protocol === 'restore') await assertUnchanged(input.plan, context);
    await journal(room, input.grant, { event: 'detaching' });
    await runHook('detach', hook, { store: input.store, operation: input.operation, signal });
  });

/**
 * Staging and validation may have taken hours. The last moment at which a database that was written to can be told from
 * one whose application has only let go of it.
 * @throws Stop plan_stale
 */
async function assertUnchanged(plan: RestorePlan, context: StepContext): Promise<void> {
  const { manifest } = await readPlannedBackup(context, plan);
  // Approved for all of them: there is nothing to hold
  if (plan.bounds.databasesChanged.count >= manifest.databases.length) return;
  await assertStillCovered(plan, context, factsOfBackup(manifest, context.dependencies.host), [], 'at work');
}
