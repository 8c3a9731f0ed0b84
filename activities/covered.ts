// Whether what would be lost is still what was approved. The application is at work until it lets go, so it is measured
// again right before it is asked to, and once more when nobody writes any longer.
import { assertPlanHolds } from '../domain/plan.js';
import type { RestorePlan } from '../domain/plan.js';
import { atWork, measureAgainst, nameDatabases } from './measure.js';
import type { Source } from './measure.js';
import type { StepContext } from './step.js';

/** Databases that can't be read, `<root>/<path>`. */
export interface Unreadable {
  readonly live: readonly string[];
  readonly source: readonly string[];
}

/**
 * `at work`: the application writes, and is not kept waiting. `let go`: it has moved its logs into its databases, which
 * are touched without a new row. `unused`: nobody has been asked to let go, because nobody uses the store.
 */
export type Moment = 'at work' | 'let go' | 'unused';

/**
 * Holds what would be replaced now against what was approved, the databases that can't be read included.
 * @param unreadable the databases of the source that can't be read
 * @returns the databases that can't be read, and are approved
 * @throws Stop plan_stale
 */
export async function assertStillCovered(
  plan: RestorePlan,
  context: StepContext,
  source: Source,
  unreadable: readonly string[],
  moment: Moment,
): Promise<Unreadable> {
  const { room } = context;
  const limits = moment === 'at work' ? atWork(room) : null;
  const measured = await measureAgainst(room, context, source, limits);
  const present = { ...plan, source: { ...plan.source, databasesUnreadable: nameDatabases(unreadable) } };
  if (moment !== 'let go') assertPlanHolds(plan, present, measured);
  else {
    const byDatabase = new Map([...measured.byDatabase].map(([key, loss]) => [key, { ...loss, isChanged: false }]));
    assertPlanHolds(plan, present, { ...measured, byDatabase });
  }
  return { live: measured.unreadable, source: unreadable };
}
