// All activities by the names under which workflows call them and the Temporal UI shows them.
import { attach, inUse, quiesce, rebuild, resume } from './application.js';
import { compare, comparePoint } from './compare.js';
import { detach } from './detach.js';
import { carryOver, commit, exchange, fence } from './exchange.js';
import { keepPresent } from './keep.js';
import { lock, release, settle } from './lock.js';
import { packageArtefact } from './package.js';
import { plan, planUnderLock } from './plan.js';
import { planBackup } from './plan-backup.js';
import { snapshot } from './snapshot.js';
import { gates, stage } from './stage.js';
import type { ActivityDependencies } from './step.js';
import { validateCapture, validateStaged } from './validate.js';
import { verifyBytes, verifyDatabases, verifyLive, verifyPoint } from './verify.js';

export type { ActivityDependencies } from './step.js';

export function createActivities(dependencies: ActivityDependencies) {
  return {
    attach: attach(dependencies),
    carryOver: carryOver(dependencies),
    commit: commit(dependencies),
    compare: compare(dependencies),
    comparePoint: comparePoint(dependencies),
    detach: detach(dependencies),
    exchange: exchange(dependencies),
    fence: fence(dependencies),
    gates: gates(dependencies),
    inUse: inUse(dependencies),
    keepPresent: keepPresent(dependencies),
    lock: lock(dependencies),
    packageArtefact: packageArtefact(dependencies),
    plan: plan(dependencies),
    planBackup: planBackup(dependencies),
    planUnderLock: planUnderLock(dependencies),
    quiesce: quiesce(dependencies),
    rebuild: rebuild(dependencies),
    release: release(dependencies),
    resume: resume(dependencies),
    settle: settle(dependencies),
    snapshot: snapshot(dependencies),
    stage: stage(dependencies),
    validateCapture: validateCapture(dependencies),
    validateStaged: validateStaged(dependencies),
    verifyBytes: verifyBytes(dependencies),
    verifyDatabases: verifyDatabases(dependencies),
    verifyLive: verifyLive(dependencies),
    verifyPoint: verifyPoint(dependencies),
  };
}

export type Activities = ReturnType<typeof createActivities>;
