// Steps restore.compare and rollback.compare: the rules of going back, held against the live store after the
// application has let go of it: histories, accepted rows, and the floor under every sequence (SM-4, SM-5, SM-7).
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { withControlDatabase } from '../control/control-database.js';
import type { RollbackPoint } from '../control/control-database.js';
import { formerStates } from '../control/former.js';
import { critical } from '../control/lock.js';
import { assertPointKept } from '../control/rollback-points.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import { treeOf } from '../control/store-room.js';
import { parseVaultReference } from '../control/vault-room.js';
import { witnessesInVault } from '../control/vault-witnesses.js';
import type { VaultWitnesses, WitnessedRows } from '../control/vault-witnesses.js';
import { raiseWitnesses } from '../control/witnesses.js';
import { backupPlace } from '../domain/backup-place.js';
import type { DatabaseDefinition } from '../domain/definition.js';
import type { DatabaseFacts } from '../domain/manifest.js';
import type { RestorePlan } from '../domain/plan.js';
import { assertFloor, assertHistoryKept, assertMigrationsCompatible } from '../domain/sequence.js';
import type { Witness } from '../domain/sequence.js';
import { Stop } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import { listedBy } from '../files/members.js';
import { walkTree } from '../files/walk.js';
import type { FactsRequest } from '../sqlite/facts.js';
import { readLiveFacts } from '../sqlite/live.js';
import { checkDatabase } from '../sqlite/check.js';
import { assertStillCovered } from './covered.js';
import type { Moment, Unreadable } from './covered.js';
import { factsOfBackup, factsOfTrees } from './measure.js';
import { UNLISTED, databasePaths, factsRequest, listedDefinition, livePath } from './members.js';
import { readPlannedBackup, readPlannedPoint } from './planned.js';
import type { PlannedInput } from './stage.js';
import type { SeenState } from './exchange.js';
import { step } from './step.js';
import type { ActivityDependencies, StepContext } from './step.js';

/** Nobody is at work any more whose log a pin could let grow, and a rollback point is nobody's. */
const UNLIMITED = null;

/** One database that would come in, and where the live one is. */
interface Pair {
  readonly root: RoomRoot;
  readonly path: string;
  readonly definition: DatabaseDefinition;
  readonly incoming: DatabaseFacts;
  /** Reads the incoming one again, its accepted rows only up to these. */
  readonly readUpTo: (bounds: DatabaseFacts['appendOnly']) => Promise<DatabaseFacts>;
}

/** Step restore.compare. */
export const compare = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => {
    const { room, signal } = context;
    const { manifest } = await readPlannedBackup(context, input.plan);
    const seen = await seenStates(room);
    const approved = await assertStillCovered(
      input.plan,
      context,
      factsOfBackup(manifest, context.dependencies.host),
      [],
      momentOf(room),
    );
    const pairs: Pair[] = [];
    for (const database of manifest.databases) {
      const root = rootOf(room, database.root);
      const definition = listedDefinition(room, database.root, database.path) ?? UNLISTED;
      // Read from the staged bytes, not from what the manifest says of them
      const request = {
        ...factsRequest(join(treeOf(root, input.operation), database.path), definition, false),
        integrity: false,
      };
      const incoming = await checkDatabase(request, signal);
      const readUpTo: Pair['readUpTo'] = (appendOnlyUpTo) => checkDatabase({ ...request, appendOnlyUpTo }, signal);
      pairs.push({ root, path: database.path, definition, incoming, readUpTo });
    }
    return { ...(await compareWithLive(input, context, pairs, approved)), seen };
  });

/** Step rollback.compare: the rollback point is what was put there, and does not go below the floor. */
export const comparePoint = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => {
    const { room, signal } = context;
    const point = await readPlannedPoint(room, input.plan);
    await assertPointKept(point);
    const seen = await seenStates(room);
    const trees = await factsOfTrees(room, context, point);
    const approved = await assertStillCovered(input.plan, context, trees, trees.unreadable, momentOf(room));
    const pairs: Pair[] = [];
    for (const former of point.roots) {
      const root = rootOf(room, former.root);
      const listed = (await databasesOf(room, former)).map(({ path, definition }) => {
        const request = factsRequest(join(former.tree, path), { ...definition, requiredTables: [] }, false);
        return { path, definition, request };
      });
      // One process for all of them
      const read = await readLiveFacts(
        listed.map(({ request }) => request),
        UNLIMITED,
        signal,
      );
      for (const [index, { path, definition, request }] of listed.entries()) {
        const facts = read[index];
        const readUpTo: Pair['readUpTo'] = async (appendOnlyUpTo) => {
          const [again] = await readLiveFacts([{ ...request, appendOnlyUpTo }], UNLIMITED, signal);
          if (again !== undefined && 'facts' in again) return again.facts;
          throw new Stop('plan_stale', `${path} could be read before, and can't be now`, { root: former.root, path });
        };
        if (facts !== undefined && 'facts' in facts)
          pairs.push({ root, path, definition, incoming: facts.facts, readUpTo });
        // A damaged database comes back as it was, if the plan said so
        else assertApproved(approved.source, former.root, path, facts?.unreadable);
      }
    }
    return { ...(await compareWithLive(input, context, pairs, approved)), seen };
  });

/** The store is in nobody's use: step in-use has passed. */
function momentOf(room: StoreRoom): Moment {
  return room.definition.hooks.detach === undefined ? 'unused' : 'let go';
}

/** What lies at the roots before anything is read: the exchange replaces exactly that, or nothing. */
async function seenStates(room: StoreRoom): Promise<readonly SeenState[]> {
  return (await formerStates(room)).map(({ root, sha256 }) => ({ root, sha256 }));
}

/** @throws Stop plan_stale for a database that can't be read, unless it is among those that the plan speaks of */
function assertApproved(unreadable: readonly string[], root: string, path: string, reason: StopCode | undefined): void {
  if (unreadable.includes(`${root}/${path}`)) return;
  // A column that is not there is not mended by another plan
  const code = reason === 'definition_invalid' ? reason : 'plan_stale';
  throw new Stop(code, `${path} can't be compared: ${reason ?? 'it was not read'}`, {
    root,
    path,
    reason: reason ?? null,
  });
}

/** The databases that a rollback point holds and the definition lists, by path or glob. */
async function databasesOf(
  room: StoreRoom,
  { root, tree }: RollbackPoint['roots'][number],
): Promise<readonly { readonly path: string; readonly definition: DatabaseDefinition }[]> {
  if (!existsSync(tree)) return [];
  const listed = listedBy(rootOf(room, root).definition);
  const walked = await walkTree(tree, { detectDatabases: listed });
  return walked.flatMap(({ path, isDatabase }) => {
    const definition = isDatabase === true ? listedDefinition(room, root, path) : undefined;
    return definition === undefined ? [] : [{ path, definition }];
  });
}

function rootOf(room: StoreRoom, name: string): RoomRoot {
  const root = room.roots.find((candidate) => candidate.definition.name === name);
  if (root === undefined) throw new Stop('store_differs', `the store has no root ${name}`, { root: name });
  return root;
}

async function compareWithLive(
  input: PlannedInput,
  context: StepContext,
  pairs: readonly Pair[],
  approved: Unreadable,
): Promise<{ readonly compared: number; readonly unreadable: number }> {
  const { room, signal } = context;
  const present = pairs.filter(({ root, path }) => existsSync(livePath(root, path)));
  const facts = await readLiveFacts(
    present.map((pair) => commonRange(pair)),
    UNLIMITED,
    signal,
  );
  const lived: { readonly pair: Pair; readonly facts: DatabaseFacts }[] = [];
  for (const [index, pair] of present.entries()) {
    const found = facts[index];
    if (found !== undefined && 'facts' in found) lived.push({ pair, facts: found.facts });
    else assertApproved(approved.live, pair.root.definition.name, pair.path, found?.unreadable);
  }
  const inVaults = await witnessesOfVaults(context, input.plan);
  const witnesses: Witness[] = [
    ...(await withControlDatabase(room.controlDirectory, (database) => database.witnesses())),
    ...inVaults.flatMap(({ sequences }) => sequences),
  ];
  for (const { pair, facts: live } of lived) {
    for (const { table, column, value } of live.sequences) {
      if (value !== null)
        witnesses.push({
          root: pair.root.definition.name,
          path: pair.path,
          table,
          column,
          value,
          seenIn: 'the live database',
        });
    }
  }
  witnesses.push(...(await witnessesAlone(room, pairs, signal)));
  // What was seen stays seen, also when this restore is refused below
  await critical(room, input.grant, (database) =>
    raiseWitnesses(
      database,
      lived.map(({ pair, facts: live }) => ({
        root: pair.root.definition.name,
        path: pair.path,
        sequences: live.sequences,
      })),
      'the live database',
    ),
  );
  assertNoneMissing(approved, room, pairs, witnesses);
  for (const { root, path, incoming } of pairs) assertFloor(root.definition.name, path, incoming.sequences, witnesses);
  for (const { pair, facts: live } of lived) {
    assertMigrationsCompatible(pair.path, pair.incoming, live);
    const ended = live.appendOnly.some(({ upTo }, index) => upTo !== pair.incoming.appendOnly[index]?.upTo);
    assertHistoryKept(pair.path, ended ? await pair.readUpTo(live.appendOnly) : pair.incoming, live);
  }
  const isLive = new Set(lived.map(({ pair }) => pair));
  for (const { appendOnly } of inVaults)
    for (const pair of pairs) if (!isLive.has(pair)) await assertWitnessedRowsKept(pair, appendOnly);
  return { compared: lived.length, unreadable: pairs.length - lived.length };
}

/**
 * What the store's backups in the vaults that are concerned have witnessed: on an empty host nothing else has. A store that
 * is made of another one's backup has no backups yet.
 */
async function witnessesOfVaults(
  { room, dependencies }: StepContext,
  { source }: RestorePlan,
): Promise<readonly VaultWitnesses[]> {
  const { definition } = room;
  const place = backupPlace(definition);
  const reference = parseVaultReference(source.path);
  const vaults = new Set([
    ...('vault' in place ? [place.vault] : []),
    ...(reference?.store === definition.store ? [reference.vault] : []),
  ]);
  const all: VaultWitnesses[] = [];
  for (const vault of vaults) all.push(await witnessesInVault(dependencies, vault, definition.store));
  return all;
}

/**
 * SM-7 where there is no live database to compare with: accepted rows are those of the newest backup. What has fewer of them
 * is below the floor of its sequence, if it has one; the digests say nothing of that.
 * @throws Stop history_rewritten
 */
async function assertWitnessedRowsKept(pair: Pair, witnessed: readonly WitnessedRows[]): Promise<void> {
  const reaches = (upTo: string | null, wanted: string | null): boolean =>
    wanted === null || (upTo !== null && BigInt(upTo) >= BigInt(wanted));
  const rows = witnessed.filter(
    (fact) =>
      fact.root === pair.root.definition.name &&
      fact.path === pair.path &&
      pair.incoming.appendOnly.some(
        ({ table, column, upTo }) => table === fact.table && column === fact.column && reaches(upTo, fact.upTo),
      ),
  );
  if (rows.length === 0) return;
  const tables = new Set(rows.map(({ table }) => table));
  const { appendOnly } = await pair.readUpTo(rows);
  assertHistoryKept(
    pair.path,
    { appendOnly: appendOnly.filter(({ table }) => tables.has(table)) },
    { appendOnly: rows },
  );
}

/** Sequences of live databases that would go away altogether. */
async function witnessesAlone(
  room: StoreRoom,
  pairs: readonly Pair[],
  signal: AbortSignal,
): Promise<readonly Witness[]> {
  const paired = new Set(pairs.map(({ root, path }) => `${root.definition.name}/${path}`));
  const alone: { readonly root: string; readonly path: string; readonly request: FactsRequest }[] = [];
  for (const root of room.roots) {
    for (const path of await databasePaths(root)) {
      const definition = listedDefinition(room, root.definition.name, path);
      if (
        definition === undefined ||
        definition.sequences.length === 0 ||
        paired.has(`${root.definition.name}/${path}`)
      )
        continue;
      alone.push({
        root: root.definition.name,
        path,
        request: factsRequest(livePath(root, path), { ...UNLISTED, sequences: definition.sequences }, false),
      });
    }
  }
  const facts = await readLiveFacts(
    alone.map(({ request }) => request),
    UNLIMITED,
    signal,
  );
  return alone.flatMap(({ root, path }, index) => {
    const found = facts[index];
    // One that can't be read is among those that the plan names, or measuring has refused
    const sequences = found !== undefined && 'facts' in found ? found.facts.sequences : [];
    return sequences.flatMap(({ table, column, value }) =>
      value === null ? [] : [{ root, path, table, column, value, seenIn: 'the live database' }],
    );
  });
}

/** SM-4 also where a whole database does not come back: nothing is below every floor. @throws Stop sequence_rewind */
function assertNoneMissing(
  approved: Unreadable,
  room: StoreRoom,
  pairs: readonly Pair[],
  witnesses: readonly Witness[],
): void {
  const known = new Set([...pairs.map(({ root, path }) => `${root.definition.name}/${path}`), ...approved.source]);
  for (const witness of witnesses) {
    const isAsked =
      listedDefinition(room, witness.root, witness.path)?.sequences.some(
        ({ table, column }) => table === witness.table && column === witness.column,
      ) === true;
    if (isAsked && !known.has(`${witness.root}/${witness.path}`))
      assertFloor(witness.root, witness.path, [], [witness]);
  }
}

/** Accepted rows are compared up to the last one that the incoming database has, or the live one if that ends before. */
function commonRange({ root, path, definition, incoming }: Pair): FactsRequest {
  return {
    ...factsRequest(livePath(root, path), { ...definition, requiredTables: [] }, false),
    appendOnlyUpTo: incoming.appendOnly,
  };
}
