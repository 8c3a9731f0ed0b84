// Steps request.plan, restore.plan and rollback.plan: what would be done, and what would be lost at most. The same
// facts give the same plan; under the lock the facts are measured again and held against what was approved (F-29).
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { appendAudit } from '../control/audit.js';
import { resolveBackup } from '../control/backup-source.js';
import { withControlDatabase } from '../control/control-database.js';
import type { RollbackPoint } from '../control/control-database.js';
import { assertAsNoted } from '../control/noted-stores.js';
import { critical } from '../control/lock.js';
import { definitionDigest, keepPlan, keptPlan, planDigest } from '../control/plans.js';
import { assertPointKept, resolveRollbackPoint } from '../control/rollback-points.js';
import { assertFilesystems } from '../control/store-room.js';
import type { StoreRoom } from '../control/store-room.js';
import type { Confirmation } from '../domain/definition.js';
import { sumForeignKeys } from '../domain/foreign-keys.js';
import type { ManifestDatabase, ManifestEntry } from '../domain/manifest.js';
import { PLAN_FORMAT, assertPlanHolds, boundsOf, planSentence } from '../domain/plan.js';
import type { PlanFacts, RestorePlan } from '../domain/plan.js';
import type { PlanOrder, RestoreOrder } from '../domain/protocol.js';
import { approvedSchema, planOrderSchema } from '../domain/schema/order.js';
import { Stop } from '../domain/stop.js';
import { assertStoreNotInUse } from './application.js';
import { atWork, factsOfBackup, factsOfTrees, measureAgainst, nameDatabases } from './measure.js';
import { assertCanPackage } from './plan-backup.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext, StepInput } from './step.js';

export interface Planned {
  readonly plan: RestorePlan;
  readonly digest: string;
}

export interface PlannedHere extends Planned {
  /** Of the lock.db of the machine that made the plan: the one that carries it out must be the same. */
  readonly lockId: string;
  readonly confirmation: Confirmation;
}

/**
 * Step request.plan: changes nothing of the store. A digest that is confirmed means the plan that was shown under it,
 * as long as that plan still covers the facts.
 */
export const plan = (dependencies: ActivityDependencies) =>
  step(
    dependencies,
    async (
      input: StepInput & { readonly order: PlanOrder; readonly confirm: string | null },
      context,
    ): Promise<PlannedHere> => {
      const parsed = planOrderSchema.safeParse(input.order);
      if (!parsed.success)
        throw new Stop('usage', `the order is malformed: ${parsed.error.issues[0]?.message ?? ''}`, {
          key: parsed.error.issues[0]?.path.join('.') ?? '',
        });
      await assertAsNoted(dependencies.stateDirectory, context.room);
      const { present, facts } = await planNow(parsed.data, context);
      const shown = input.confirm === null ? undefined : await keptPlan(context.room, input.confirm);
      if (shown !== undefined) assertPlanHolds(shown, present, facts);
      const planned = shown ?? present;
      const digest = shown === undefined ? await keepPlan(context.room, present) : planDigest(shown);
      const { controlDirectory } = context.room;
      const lockId = await withControlDatabase(controlDirectory, (database) => database.identity());
      return { plan: planned, digest, lockId, confirmation: context.room.definition.confirmation };
    },
  );

/**
 * Steps restore.plan and rollback.plan. Without a detach hook nobody may use the store already now: a refusal is
 * cheap before anything is staged.
 */
export const planUnderLock = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput & { readonly order: RestoreOrder }, context): Promise<Planned> => {
    const approved = approvedSchema.safeParse(input.order.approved);
    if (!approved.success)
      throw new Stop('approval_missing', 'the order carries no approved plan', {
        key: approved.error.issues[0]?.path.join('.') ?? '',
      });
    const { plan: accepted, digest, lockId } = approved.data;
    if (lockId !== input.grant.lockId)
      throw new Stop('host_ambiguous', 'the plan was made on another machine, which goes by the same host name', {
        host: accepted.host,
        digest,
      });
    if (planDigest(accepted) !== digest)
      throw new Stop('approval_mismatch', 'the digest that was approved is not that of the plan', {
        approved: digest,
        found: planDigest(accepted),
      });
    const { present, facts } = await planNow({ ...input.order, source: exactSource(accepted) }, context);
    assertPlanHolds(accepted, present, facts);
    if (context.room.definition.hooks.detach === undefined) await assertStoreNotInUse(context.room, false);
    await auditAdoption(input, context, { plan: accepted, digest });
    return { plan: accepted, digest };
  });

/** Whoever reads the log learns whose word a store was restored on, and who took it. */
async function auditAdoption(
  { grant, order }: GrantedInput & { readonly order: RestoreOrder },
  { room }: StepContext,
  { plan: { source }, digest }: Planned,
): Promise<void> {
  const { adopted, path, sha256 } = source;
  if (adopted === undefined) return;
  await critical(room, grant, (database) =>
    appendAudit(database, 'signer adopted', grant.operation, {
      ...adopted,
      backup: path,
      sha256,
      plan: digest,
      requestedBy: order.requestedBy,
    }),
  );
}

/** `latest` may be another one by now: what was approved is what is looked at. */
function exactSource({ source }: RestorePlan): PlanOrder['source'] {
  if (source.kind === 'rollback') return { kind: 'rollback', point: source.id };
  return {
    kind: 'backup',
    backup: source.path,
    ...(source.store !== undefined && { from: source.store }),
    ...(source.adopted !== undefined && { adopt: source.adopted.signer }),
  };
}

async function planNow(
  order: PlanOrder,
  context: StepContext,
): Promise<{ readonly present: RestorePlan; readonly facts: PlanFacts }> {
  const { room, dependencies } = context;
  await assertFilesystems(room);
  const looked =
    order.source.kind === 'backup'
      ? await lookAtBackup(room, context, order.source)
      : await lookAtPoint(room, context, await resolveRollbackPoint(room, order.source.point));
  const plan = {
    protocol: order.source.kind === 'backup' ? ('restore' as const) : ('rollback' as const),
    store: room.definition.store,
    host: dependencies.host,
    source: looked.source,
    roots: room.roots.map((root) => ({
      root: root.definition.name,
      path: root.definition.path,
      mode: root.mode,
      why: root.why,
    })),
    ...(await keepOf(room, order.source)),
    hooks: hooksOf(room, order.source),
    gates: room.definition.gates,
    definitionSha256: definitionDigest(room.definition),
    bounds: boundsOf(looked.facts),
  };
  return { present: { format: PLAN_FORMAT, ...plan, sentence: planSentence(plan) }, facts: looked.facts };
}

/** A store that is made anew replaces nothing; a rollback brings back what a restore has set aside, and sets aside in turn. */
async function keepOf(room: StoreRoom, source: PlanOrder['source']): Promise<Pick<RestorePlan, 'keep'>> {
  const { destination } = room.definition.rollback;
  if (destination === null || source.kind !== 'backup' || source.from !== undefined) return {};
  // Told now, not when the application has been stopped
  await assertCanPackage(destination, room);
  return { keep: { destination } };
}

interface Looked {
  readonly source: RestorePlan['source'];
  readonly facts: PlanFacts;
}

/** A rollback brings back a state that the application has been at: nothing is migrated. */
function hooksOf({ definition: { hooks } }: StoreRoom, { kind }: PlanOrder['source']): readonly string[] {
  const names = Object.keys(hooks).sort();
  return kind === 'backup' ? names : names.filter((name) => name !== 'migrate' && name !== 'caches');
}

async function lookAtBackup(
  room: StoreRoom,
  context: StepContext,
  { backup, from, adopt }: Extract<PlanOrder['source'], { kind: 'backup' }>,
): Promise<Looked> {
  const expected = from ?? room.definition.store;
  const artefact = await resolveBackup(context.dependencies, room.definition, expected, backup, adopt);
  const { manifest } = artefact;
  if (manifest.store !== expected)
    throw new Stop('store_differs', `the backup is of store ${manifest.store}`, {
      backup: manifest.backupId,
      store: manifest.store,
      expected,
    });
  const isAnothers = expected !== room.definition.store;
  if (isAnothers) assertNew(room);
  assertSameRoots(room, manifest.entries);
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  const facts = await measureAgainst(room, context, factsOfBackup(manifest, context.dependencies.host), atWork(room));
  return {
    source: {
      kind: 'backup',
      id: manifest.backupId,
      path: artefact.path,
      createdAt: manifest.createdAt,
      ...(isAnothers && { store: manifest.store }),
      host: manifest.host,
      ...(artefact.adopted !== undefined && { adopted: artefact.adopted }),
      sha256: artefact.manifestSha256,
      files: files.length,
      sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
      databasesUnreadable: nameDatabases([]),
      ...foreignKeysOf(manifest.databases),
    },
    facts,
  };
}

/** Who confirms the plan knows what he gets back. */
function foreignKeysOf(databases: readonly ManifestDatabase[]): Pick<RestorePlan['source'], 'foreignKeys'> {
  const violating = databases.filter(({ foreignKeys }) => foreignKeys !== undefined);
  if (violating.length === 0) return {};
  const named = nameDatabases(violating.map(({ root, path }) => `${root}/${path}`));
  return { foreignKeys: { ...sumForeignKeys(violating), databases: named } };
}

/**
 * A store that becomes another's copy has nothing yet: what is there would be replaced by what was never its own.
 * @throws Stop target_exists
 */
function assertNew(room: StoreRoom): void {
  for (const { definition } of room.roots) {
    const [name] = existsSync(definition.path)
      ? readdirSync(definition.path).filter((each) => each !== '.holdfast')
      : [];
    if (name !== undefined)
      throw new Stop('target_exists', `${definition.path} is not empty, as the root of a new store is`, {
        root: definition.name,
        path: join(definition.path, name),
      });
  }
}

/** A root that the backup does not have would be emptied by a restore, one that only the backup has would be lost. */
function assertSameRoots(room: StoreRoom, entries: readonly ManifestEntry[]): void {
  const inBackup = [...new Set(entries.map((entry) => entry.root))].sort();
  const inStore = room.roots.map((root) => root.definition.name).sort();
  if (inBackup.join('/') !== inStore.join('/'))
    throw new Stop('store_differs', 'the backup has other roots than the store', { inBackup, inStore });
}

async function lookAtPoint(room: StoreRoom, context: StepContext, point: RollbackPoint): Promise<Looked> {
  await assertPointKept(point);
  const trees = await factsOfTrees(room, context, point);
  const facts = await measureAgainst(room, context, trees, atWork(room));
  const files = [...trees.files.values()].flatMap((each) => [...each.values()]);
  return {
    source: {
      kind: 'rollback',
      id: point.id,
      path: point.roots[0]?.tree ?? '',
      createdAt: point.createdAt,
      host: context.dependencies.host,
      sha256: createHash('sha256')
        .update(JSON.stringify(point.roots.map(({ root, tree, sha256 }) => [root, tree, sha256])))
        .digest('hex'),
      files: files.length,
      sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
      databasesUnreadable: nameDatabases(trees.unreadable),
    },
    facts,
  };
}
