// Whether what would be lost is still what was approved. The application is at work until it lets go, so it is measured
// again right before it is asked to, and once more when nobody writes any longer.
import { assertPlanHolds } from '../domain/plan.js';
import type { RestorePlan } from '../domain/plan.js';
import { measureAgainst, nameDatabases } from './measure.js';
import type { Source } from './measure.js';
import type { StepContext } from './step.js';

/** Databases that can't be read, `<root>/<path>`. */
export interface Unreadable {
  readonly live: readonly string[];
  readonly source: readonly string[];
}

/**
 * Holds what would be replaced now against what was approved, the databases that can't be read included.
 * @param unreadable the databases of the source that can't be read
 * @param isTouched the live databases were just touched by their own application without a new row
 * @returns the databases that can't be read, and are approved
 * @throws Stop plan_stale
 */
export async function assertStillCovered(
  plan: RestorePlan,
  context: StepContext,
  source: Source,
  unreadable: readonly string[],
  isTouched: boolean,
): Promise<Unreadable> {
  const measured = await measureAgainst(context.room, context, source);
  const present = { ...plan, source: { ...plan.source, databasesUnreadable: nameDatabases(unreadable) } };
  assertPlanHolds(plan, present, isTouched ? { ...measured, databasesChanged: 0 } : measured);
  return { live: measured.unreadable, source: unreadable };
}
