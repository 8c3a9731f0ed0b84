// Step restore.keep: a backup of the present state, for definitions that ask for one before a restore replaces it (H-8).
// What is replaced is kept whole in any case, as the rollback point; this is a copy that can be looked at and carried off.
import { dropPartials } from '../artefacts/artefact.js';
import { critical } from '../control/lock.js';
import type { Manifest } from '../domain/manifest.js';
import type { RestorePlan } from '../domain/plan.js';
import { Stop } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import { publishCapture } from './package.js';
import { lookBeforeBackup } from './plan-backup.js';
import { captureInto } from './snapshot.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { checkCapture } from './validate.js';

export interface KeepInput extends GrantedInput {
  readonly plan: RestorePlan;
  readonly requestedBy: string;
  /** What its version hook said before it was asked to let go of the store. */
  readonly application: Manifest['application'];
}

export interface Kept {
  /** Directory of the artefact; null: what is damaged or lost can't be backed up. */
  readonly kept: string | null;
  readonly notKeptBecause: StopCode | null;
}

/** What a restore is there to replace: of these a backup would not be sound, and the plan has said so. */
const DAMAGE: ReadonlySet<StopCode> = new Set([
  'integrity_failed',
  'required_table_missing',
  'not_a_database',
  'member_missing',
  'hot_journal',
]);

export const keepPresent = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: KeepInput, context): Promise<Kept> => {
    const { destination } = context.room.definition.rollback;
    if (destination === null) throw new Error('defect: a plan to keep what its definition does not ask for');
    const captured = await capturePresent(destination, input, context);
    if ('damage' in captured) return { kept: null, notKeptBecause: captured.damage };
    const { artefact } = await publishCapture({ ...input, ...captured, quiescedMillis: 0 }, context);
    return { kept: artefact, notKeptBecause: null };
  });

async function capturePresent(
  destination: string,
  input: KeepInput,
  context: StepContext,
): Promise<{ readonly partial: string } | { readonly damage: StopCode }> {
  try {
    await lookBeforeBackup(destination, context);
    // The application has let go of the store: there is nobody to hold still
    const { partial } = await captureInto(destination, input, context, { quiesces: false });
    await checkCapture({ ...input, partial }, context, async () => input.application);
    return { partial };
  } catch (error) {
    if (!(error instanceof Stop) || !DAMAGE.has(error.code)) throw error;
    const { host } = context.dependencies;
    await critical(context.room, input.grant, () => dropPartials(destination, input.store, host));
    return { damage: error.code };
  }
}
