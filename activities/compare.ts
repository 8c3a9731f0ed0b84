// Steps restore.compare and rollback.compare: the rules of going back, held against the live store after the
// application has let go of it: histories, accepted rows, and the floor under every sequence (SM-4, SM-5, SM-7).
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { withControlDatabase } from '../control/control-database.js';
import type { RollbackPoint } from '../control/control-database.js';
import { formerDigest } from '../control/former.js';
import { critical } from '../control/lock.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import { treeOf } from '../control/store-room.js';
import { raiseWitnesses } from '../control/witnesses.js';
import type { DatabaseDefinition } from '../domain/definition.js';
import type { DatabaseFacts } from '../domain/manifest.js';
import { assertFloor, assertHistoryKept, assertMigrationsCompatible } from '../domain/sequence.js';
import type { Witness } from '../domain/sequence.js';
import { Stop } from '../domain/stop.js';
import { matchesPath } from '../files/members.js';
import { walkTree } from '../files/walk.js';
import type { FactsRequest } from '../sqlite/facts.js';
import { readLiveFacts } from '../sqlite/live.js';
import { checkDatabase } from '../sqlite/check.js';
import { UNLISTED, factsRequest, listedDefinition, livePath } from './members.js';
import { readPlannedArtefact, readPlannedPoint } from './planned.js';
import type { PlannedInput } from './stage.js';
import { step } from './step.js';
import type { ActivityDependencies } from './step.js';

/** One database that would come in, and where the live one is. */
interface Pair {
  readonly root: RoomRoot;
  readonly path: string;
  readonly definition: DatabaseDefinition;
  readonly incoming: DatabaseFacts;
}

/** Step restore.compare. */
export const compare = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, { room, signal }) => {
    const { manifest } = await readPlannedArtefact(input.plan);
    const pairs: Pair[] = [];
    for (const database of manifest.databases) {
      const root = rootOf(room, database.root);
      const definition = listedDefinition(room, database.root, database.path) ?? UNLISTED;
      // Read from the staged bytes, not from what the manifest says of them
      const incoming = await checkDatabase({ ...factsRequest(join(treeOf(root, input.operation), database.path), definition, false), integrity: false }, signal);
      pairs.push({ root, path: database.path, definition, incoming });
    }
    return compareWithLive(input, room, pairs, signal);
  });

/** Step rollback.compare: the rollback point is what was put there, and does not go below the floor. */
export const comparePoint = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, { room, signal }) => {
    const point = await readPlannedPoint(room, input.plan);
    const pairs: Pair[] = [];
    for (const former of point.roots) {
      const found = await formerDigest(former.tree, former.definition);
      if (found !== former.sha256) {
        throw new Stop('checksum_mismatch', `the tree of rollback point ${point.id} is not what was kept`, { tree: former.tree, expected: former.sha256, found });
      }
      const root = rootOf(room, former.root);
      for (const { path, definition } of await databasesOf(former)) {
        const [facts] = await readLiveFacts([factsRequest(join(former.tree, path), definition, false)], signal);
        // A damaged database comes back as it was: the plan said so, and was approved
        if (facts !== undefined && 'facts' in facts) pairs.push({ root, path, definition, incoming: facts.facts });
      }
    }
    return compareWithLive(input, room, pairs, signal);
  });

/** The listed databases that a rollback point holds, by path or glob. */
async function databasesOf({ tree, definition }: RollbackPoint['roots'][number]): Promise<readonly { readonly path: string; readonly definition: DatabaseDefinition }[]> {
  if (!existsSync(tree)) return [];
  const walked = await walkTree(tree, { detectDatabases: true });
  return walked.flatMap(({ path, isDatabase }) => {
    const listed = isDatabase === true ? definition.databases.find((database) => matchesPath(database.path, path)) : undefined;
    return listed === undefined ? [] : [{ path, definition: listed }];
  });
}

function rootOf(room: StoreRoom, name: string): RoomRoot {
  const root = room.roots.find((candidate) => candidate.definition.name === name);
  if (root === undefined) throw new Stop('store_differs', `the store has no root ${name}`, { root: name });
  return root;
}

async function compareWithLive(input: PlannedInput, room: StoreRoom, pairs: readonly Pair[], signal: AbortSignal): Promise<{ readonly compared: number; readonly unreadable: number }> {
  const present = pairs.filter(({ root, path }) => existsSync(livePath(root, path)));
  const facts = await readLiveFacts(present.map((pair) => commonRange(pair)), signal);
  const lived: { readonly pair: Pair; readonly facts: DatabaseFacts }[] = [];
  for (const [index, pair] of present.entries()) {
    const found = facts[index];
    if (found !== undefined && 'facts' in found) lived.push({ pair, facts: found.facts });
  }
  const witnesses: Witness[] = [...(await withControlDatabase(room.controlDirectory, (database) => database.witnesses()))];
  for (const { pair, facts: live } of lived) {
    for (const { table, column, value } of live.sequences) {
      if (value !== null) witnesses.push({ root: pair.root.definition.name, path: pair.path, table, column, value, seenIn: 'the live database' });
    }
  }
  // What was seen stays seen, also when this restore is refused below
  await critical(room, input.grant, (database) =>
    raiseWitnesses(database, lived.map(({ pair, facts: live }) => ({ root: pair.root.definition.name, path: pair.path, sequences: live.sequences })), 'the live database'));
  for (const { root, path, incoming } of pairs) assertFloor(root.definition.name, path, incoming.sequences, witnesses);
  for (const { pair, facts: live } of lived) {
    assertMigrationsCompatible(pair.path, pair.incoming, live);
    assertHistoryKept(pair.path, pair.incoming, live);
  }
  return { compared: lived.length, unreadable: pairs.length - lived.length };
}

/** Accepted rows are compared up to the last one that the incoming database has. */
function commonRange({ root, path, definition, incoming }: Pair): FactsRequest {
  const appendOnlyUpTo = Object.fromEntries(incoming.appendOnly.map((fact) => [fact.table, fact.upTo]));
  return { ...factsRequest(livePath(root, path), { ...definition, requiredTables: [] }, false), appendOnlyUpTo };
}
