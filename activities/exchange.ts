// The steps that change the live store (SM-8, SM-9): fence, carry-over, exchange, commit. Each makes its effect in a
// critical section of the lock, after its intent is on disk.
import { dirname, join } from 'node:path';
import { beginEpoch } from '../control/epoch.js';
import { raiseFence, liftFence } from '../control/fence.js';
import { formerStates, replacedMembers } from '../control/former.js';
import { critical, journal } from '../control/lock.js';
import type { RollbackPoint } from '../control/control-database.js';
import { treeOf } from '../control/store-room.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import { now } from '../control/clock.js';
import type { RootDefinition } from '../domain/definition.js';
import type { ExchangePlan } from '../domain/exchange.js';
import type { FormerState, JournalEvent } from '../domain/journal.js';
import type { ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, renameDurable, syncFilesystem } from '../files/durable.js';
import { performExchange, planExchange } from '../files/exchange.js';
import type { ExchangeRequest } from '../files/exchange.js';
import { carryOver as linkOutside } from '../files/hard-link.js';
import { walkTree } from '../files/walk.js';
import type { WalkedEntry } from '../files/walk.js';
import { assertStoreNotInUse } from './application.js';
import { readPlannedBackup, readPlannedPoint } from './planned.js';
import { applyDirectories } from './stage.js';
import type { PlannedInput } from './stage.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';

/** What lay at a root when it was compared: `sha256` as in FormerState. */
export type SeenState = Pick<FormerState, 'root' | 'sha256'>;

/** Steps restore.fence, rollback.fence. */
export const fence = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput & { readonly protocol: string }, { room }) => {
    await journal(room, input.grant, { event: 'fencing' });
    await critical(room, input.grant, () => raiseFence(room.controlDirectory, input.operation, input.protocol));
  });

/** Step restore.carry-over. The live files stay where they are; only links are made. */
export const carryOver = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => ({ linked: await carryOverIntoStaged(input, context) }));

/**
 * Links what is outside the members into the staged trees, and brings up to date what was linked before: the exchange
 * calls it again as its last act, so that a key that was renewed meanwhile, or a log that was rotated, is not left behind
 * with the former state. What is gone from the live root by then is set aside beside the staged tree.
 * @returns how many files were linked
 * @throws Stop plan_stale, unclear_target
 */
async function carryOverIntoStaged(input: PlannedInput, context: StepContext): Promise<number> {
  const { room } = context;
  const { manifest } = await readPlannedBackup(context, input.plan);
  let linked = 0;
  for (const root of room.roots) {
    const tree = treeOf(root, input.operation);
    const staged = new Set(
      manifest.entries.filter((entry) => entry.root === root.definition.name).map((entry) => entry.path),
    );
    const then = (await walkTree(tree, { detectDatabases: false })).filter((entry) => !staged.has(entry.path));
    const untouched = new Set(await untouchedNames(root, manifest.entries));
    const { outside } = await replacedMembers(root.definition, incomingPaths(root, manifest.entries));
    const now = outside.filter((entry) => !untouched.has(topOf(entry.path)));
    assertFewEnough(input, root, now);
    const { wanted, stale } = differenceOf(now, then);
    if (wanted.length === 0 && stale.length === 0) continue;
    await critical(room, input.grant, async () => {
      await setAside(stale, tree, `${tree}.outside-${input.operation}`);
      linked += (await linkOutside(wanted, root.definition.path, tree)).linked;
      await applyDirectories(root, input.operation, manifest.entries);
      await syncFilesystem(tree);
    });
  }
  return linked;
}

/** @throws Stop plan_stale */
function assertFewEnough({ plan }: PlannedInput, root: RoomRoot, outside: readonly WalkedEntry[]): void {
  const files = outside.filter((entry) => entry.kind !== 'directory').length;
  if (files > plan.bounds.filesCarriedOverMax) {
    throw new Stop(
      'plan_stale',
      `${files} files would be carried over, ${plan.bounds.filesCarriedOverMax} are approved`,
      { root: root.definition.name, files },
    );
  }
}

function incomingPaths(root: RoomRoot, entries: readonly ManifestEntry[]): ReadonlySet<string> {
  return new Set(
    entries
      .filter((entry) => entry.root === root.definition.name && entry.type !== 'directory')
      .map((entry) => entry.path),
  );
}

const topOf = (path: string): string => path.split('/', 1)[0] ?? path;

/** Mode `entries`: names at the top of the root that hold nothing of the store, now or in what comes in. */
async function untouchedNames(root: RoomRoot, entries: readonly ManifestEntry[]): Promise<readonly string[]> {
  if (root.mode === 'root') return [];
  const { members, outside, dropped } = await replacedMembers(root.definition, incomingPaths(root, entries));
  const concerned = new Set([...members, ...dropped].map((entry) => topOf(entry.path)));
  for (const entry of entries) if (entry.root === root.definition.name) concerned.add(topOf(entry.path));
  return [...new Set(outside.map((entry: WalkedEntry) => topOf(entry.path)))].filter((name) => !concerned.has(name));
}

/**
 * A rollback carries over as a restore does: what is outside the members stays as it is now. It was linked into the
 * rollback point when that was made, and has moved on since: a log that was checkpointed away would come back beside a
 * database that has one inode with the live one, and be replayed over it. What only the point has is set aside in it.
 */
async function carryOverIntoPoint(input: PlannedInput, room: StoreRoom): Promise<void> {
  const point = await readPlannedPoint(room, input.plan);
  for (const root of room.roots) {
    const former = point.roots.find((candidate) => candidate.root === root.definition.name);
    if (former === undefined || former.sha256 === 'absent') continue;
    const definitions = [root.definition, former.definition];
    const untouched = new Set(await untouchedNames(root, []));
    const now = (await outsideBy(definitions, root.definition.path)).filter(
      (entry) => !untouched.has(topOf(entry.path)),
    );
    const then = await outsideBy(definitions, former.tree);
    await critical(room, input.grant, async () => {
      const { wanted, stale } = differenceOf(now, then);
      await setAside(stale, former.tree, `${former.tree}.outside-${input.operation}`);
      await linkOutside(wanted, root.definition.path, former.tree);
      await syncFilesystem(former.tree);
    });
  }
}

/** What both the present definition and that of the rollback point leave out: the point's members must stay what they are. */
async function outsideBy(definitions: readonly RootDefinition[], path: string): Promise<readonly WalkedEntry[]> {
  const [present, ...others] = await Promise.all(
    definitions.map(async (definition) => (await replacedMembers({ ...definition, path }, new Set())).outside),
  );
  const paths = others.map((entries) => new Set(entries.map((entry) => entry.path)));
  return (present ?? []).filter((entry) => paths.every((known) => known.has(entry.path)));
}

/** `wanted` is to be linked, directories before what is in them; `stale` is in its way, or gone from the live root. */
function differenceOf(
  now: readonly WalkedEntry[],
  then: readonly WalkedEntry[],
): { readonly wanted: readonly WalkedEntry[]; readonly stale: readonly WalkedEntry[] } {
  // Directories have no second link: one is as good as another
  const identity = ({ kind, inode }: WalkedEntry): string => (kind === 'directory' ? kind : inode);
  const identities = (entries: readonly WalkedEntry[]): Map<string, string> =>
    new Map(entries.map((entry) => [entry.path, identity(entry)]));
  const [live, kept] = [identities(now), identities(then)];
  return {
    wanted: now.filter((entry) => kept.get(entry.path) !== identity(entry)),
    stale: then.filter((entry) => entry.kind !== 'directory' && live.get(entry.path) !== entry.inode),
  };
}

async function setAside(entries: readonly WalkedEntry[], tree: string, aside: string): Promise<void> {
  for (const { path } of entries) {
    await ensureDirectory(dirname(join(aside, path)), 0o700);
    await renameDurable(join(tree, path), join(aside, path));
  }
}

/** Steps restore.exchange, rollback.exchange: intent first, with every inode named; then the renames; then the epoch. */
export const exchange = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput & { readonly seen: readonly SeenState[] }, context) => {
    const { room } = context;
    await critical(room, input.grant, (database) =>
      assertFirstExchange(input.operation, database.events(input.operation)),
    );
    // The fence is up by now: who came after the first look is still here, or has left traces in what was compared
    await assertStoreNotInUse(room, room.definition.hooks.detach !== undefined);
    const former = await formerStates(room);
    assertAsSeen(former, input.seen);
    await (input.plan.source.kind === 'rollback'
      ? carryOverIntoPoint(input, room)
      : carryOverIntoStaged(input, context));
    const exchangePlan = await planExchange(await requestsOf(input, context));
    await journal(room, input.grant, { event: 'exchanging', exchange: exchangePlan, former });
    await critical(room, input.grant, async (database) => {
      await performExchange(exchangePlan);
      database.journal(input.operation, { event: 'exchanged' });
    });
    return { epoch: await critical(room, input.grant, () => beginEpoch(room.controlDirectory)) };
  });

/** A second exchange would bring the old state back under the name of the new one. @throws Stop operation_repeated */
function assertFirstExchange(operation: string, events: readonly JournalEvent[]): void {
  if (events.some(({ event }) => event === 'exchanging'))
    throw new Stop('operation_repeated', `operation ${operation} has exchanged before`, { operation });
}

/** @throws Stop plan_stale */
function assertAsSeen(former: readonly FormerState[], seen: readonly SeenState[]): void {
  for (const { root, sha256, definition } of former) {
    const found = seen.find((state) => state.root === root);
    if (found?.sha256 !== sha256)
      throw new Stop('plan_stale', `${definition.path} was written to after it was compared`, {
        root,
        path: definition.path,
      });
  }
}

async function requestsOf(input: PlannedInput, context: StepContext): Promise<readonly ExchangeRequest[]> {
  const { room } = context;
  const isRestore = input.plan.source.kind === 'backup';
  const entries = isRestore ? (await readPlannedBackup(context, input.plan)).manifest.entries : [];
  const point = isRestore ? null : await readPlannedPoint(room, input.plan);
  const requests: ExchangeRequest[] = [];
  for (const root of room.roots) {
    const tree = point === null ? treeOf(root, input.operation) : treeOfPoint(point, root);
    const untouched = await untouchedNames(root, entries);
    requests.push({
      root: root.definition.name,
      mode: root.mode,
      livePath: root.definition.path,
      stagedPath: tree,
      untouched,
    });
  }
  return requests;
}

function treeOfPoint(point: RollbackPoint, root: RoomRoot): string {
  const found = point.roots.find((candidate) => candidate.root === root.definition.name);
  if (found === undefined)
    throw new Stop('store_differs', `rollback point ${point.id} has no root ${root.definition.name}`, {
      id: point.id,
      root: root.definition.name,
    });
  return found.tree;
}

/**
 * Steps restore.commit, rollback.commit: in one transaction the operation is committed and what it replaced becomes a
 * rollback point. Before this transaction a crash undoes, after it a crash finishes. Then the fence is lifted.
 */
export const commit = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, { room }) => {
    const rollbackPoint = input.operation;
    await critical(room, input.grant, (database) => {
      const begun = database.events(input.operation).findLast((event) => event.event === 'exchanging');
      if (begun === undefined) throw new Error('defect: a commit without an exchange');
      const trees = new Map((begun.exchange satisfies ExchangePlan).roots.map((root) => [root.root, root.stagedPath]));
      const roots = begun.former.map((former) => {
        const tree = trees.get(former.root);
        if (tree === undefined) throw new Error('defect: a root was exchanged that was not planned');
        return { ...former, tree };
      });
      if (input.plan.source.kind === 'rollback') database.removeRollbackPoint(input.plan.source.id);
      database.addRollbackPoint({ id: rollbackPoint, createdAt: now(), protocol: input.plan.protocol, roots });
      database.journal(input.operation, { event: 'committed', rollbackPoint });
    });
    await critical(room, input.grant, async (database) => {
      await liftFence(room.controlDirectory);
      database.journal(input.operation, { event: 'unfenced' });
    });
    return { rollbackPoint };
  });
