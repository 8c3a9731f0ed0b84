// Step restore.keep: a backup of the present state, for definitions that ask for one before a restore replaces it (H-8).
// What is replaced is kept whole in any case, as the rollback point; this is a copy that can be looked at and carried off.
import type { RestorePlan } from '../domain/plan.js';
import { STOPS, Stop } from '../domain/stop.js';
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
}

export interface Kept {
  /** Directory of the artefact; null: what is damaged or lost can't be backed up. */
  readonly kept: string | null;
  readonly notKeptBecause: StopCode | null;
}

export const keepPresent = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: KeepInput, context): Promise<Kept> => {
    const { destination } = context.room.definition.rollback;
    if (destination === null) throw new Error('defect: a plan to keep what its definition does not ask for');
    try {
      return { kept: await backUp(destination, input, context), notKeptBecause: null };
    } catch (error) {
      // Of what a restore is there to replace, a backup would not be sound; the plan has said so
      if (error instanceof Stop && tellsOfDamage(error.code)) return { kept: null, notKeptBecause: error.code };
      throw error;
    }
  });

async function backUp(destination: string, input: KeepInput, context: StepContext): Promise<string> {
  await lookBeforeBackup(destination, context);
  const { partial } = await captureInto(destination, input, context);
  await checkCapture({ ...input, partial }, context);
  const { artefact } = await publishCapture({ ...input, partial, quiescedMillis: 0 }, context);
  return artefact;
}

/** The data is not what it should be; all else is no reason to go on without a copy that was asked for. */
function tellsOfDamage(code: StopCode): boolean {
  return STOPS[code].exit === 65 || code === 'hot_journal';
}
