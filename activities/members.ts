// What a store consists of right now: one walk of each root, and the members that its definition selects from it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseDefinition } from '../domain/definition.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import { databaseNaming, listedBy, selectMembers } from '../files/members.js';
import type { DatabaseMember, Members } from '../files/members.js';
import { walkTree } from '../files/walk.js';
import type { FactsRequest } from '../sqlite/facts.js';

export interface RootMembers {
  readonly root: RoomRoot;
  readonly members: Members;
}

/** @throws Stop symlink_found, special_file_found, member_missing, not_a_database, path_not_utf8 */
export async function membersOf(room: StoreRoom): Promise<readonly RootMembers[]> {
  const all: RootMembers[] = [];
  for (const root of room.roots) {
    const walked = await walkTree(root.definition.path, { detectDatabases: listedBy(root.definition) });
    all.push({ root, members: selectMembers(root.definition, walked) });
  }
  return all;
}

/** A database that only its magic gave away has nothing that is asked of it but its integrity. */
export const UNLISTED: DatabaseDefinition = {
  path: '',
  requiredTables: [],
  sequences: [],
  appendOnly: [],
  migrations: null,
  locking: 'sqlite',
  optional: true,
};

/** The entry of the definition that names a database, by path or glob; undefined when none does. */
export function listedDefinition(room: StoreRoom, root: string, path: string): DatabaseDefinition | undefined {
  const definition = room.roots.find((candidate) => candidate.definition.name === root)?.definition;
  return definition === undefined ? undefined : namingOf(definition.databases)(path);
}

/** Compiled once a definition: steps ask for one database after the other. */
const namings = new WeakMap<readonly DatabaseDefinition[], ReturnType<typeof databaseNaming>>();

function namingOf(databases: readonly DatabaseDefinition[]): ReturnType<typeof databaseNaming> {
  const naming = namings.get(databases) ?? databaseNaming(databases);
  namings.set(databases, naming);
  return naming;
}

export function definitionOf(member: DatabaseMember): DatabaseDefinition {
  return member.definition ?? UNLISTED;
}

export function factsRequest(path: string, definition: DatabaseDefinition, foreignKeys: boolean): FactsRequest {
  const { requiredTables, sequences, appendOnly, migrations } = definition;
  return { path, requiredTables, sequences, appendOnly, migrations, foreignKeys };
}

export function livePath(root: RoomRoot, path: string): string {
  return path === '.' ? root.definition.path : join(root.definition.path, path);
}

/** Every database of a root, listed or not: whoever holds a lock on one of them uses the store. */
export async function databasePaths(root: RoomRoot): Promise<readonly string[]> {
  const walked = existsSync(root.definition.path)
    ? await walkTree(root.definition.path, { detectDatabases: listedBy(root.definition) })
    : [];
  return walked.filter((entry) => entry.isDatabase === true).map((entry) => entry.path);
}
