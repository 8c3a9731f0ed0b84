// What an approved plan speaks of, opened again by each step that needs it: bound to the plan by digest, so that a
// backup that changed after it was planned is refused.
import { openBackup } from '../control/backup-source.js';
import type { BackupSource } from '../control/backup-source.js';
import { rollbackPointsOf } from '../control/rollback-points.js';
import type { RollbackPoint } from '../control/control-database.js';
import type { StoreRoom } from '../control/store-room.js';
import type { RestorePlan } from '../domain/plan.js';
import { Stop } from '../domain/stop.js';
import type { StepContext } from './step.js';

/** @throws Stop checksum_mismatch, and those of openBackup */
export async function readPlannedBackup(
  { dependencies }: Pick<StepContext, 'dependencies'>,
  { source }: RestorePlan,
): Promise<BackupSource> {
  const artefact = await openBackup(dependencies, source.path, source.adopted?.signer);
  if (artefact.manifestSha256 !== source.sha256) {
    throw new Stop('checksum_mismatch', 'the manifest is not the one that was planned for', {
      path: source.path,
      planned: source.sha256,
      found: artefact.manifestSha256,
    });
  }
  return artefact;
}

/** @throws Stop rollback_missing */
export async function readPlannedPoint(room: StoreRoom, { source }: RestorePlan): Promise<RollbackPoint> {
  const point = (await rollbackPointsOf(room)).find((candidate) => candidate.id === source.id);
  if (point === undefined) throw new Stop('rollback_missing', `rollback point ${source.id} is gone`, { id: source.id });
  return point;
}
