// What an exchange replaces: the live members as they are, whatever state they are in. A destroyed database or a stray
// link is no reason to refuse here: it is why people restore. And the digest that tells whether a tree is the very one
// that lay there before, by its looks (paths, kinds, sizes, inodes, times), without reading contents.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RootDefinition } from '../domain/definition.js';
import { mainOfSidecar } from '../domain/exchange.js';
import type { FormerState } from '../domain/journal.js';
import { isGlob } from '../files/globs.js';
import { listedBy, selectMembers } from '../files/members.js';
import { hasMagic } from '../files/magic.js';
import { walkTree } from '../files/walk.js';
import type { WalkedEntry } from '../files/walk.js';
import type { StoreRoom } from './store-room.js';

export interface ReplacedMembers {
  /** Databases, sidecars, files and directories that the definition speaks of. */
  readonly members: readonly WalkedEntry[];
  /** Carried over by a restore; parents before what is in them. */
  readonly outside: readonly WalkedEntry[];
  readonly dropped: readonly WalkedEntry[];
}

/**
 * Sorts what lies in a live root.
 * @param incoming paths of databases that will come in: their old sidecars are never carried over, or the new
 * database would be read through them
 * @param detectDatabases whether the entries say which of them are databases; it sorts nothing differently
 */
export async function replacedMembers(
  definition: RootDefinition,
  incoming: Pick<ReadonlySet<string>, 'has'>,
  detectDatabases = false,
): Promise<ReplacedMembers> {
  if (!existsSync(definition.path)) return { members: [], outside: [], dropped: [] };
  return sortEntries(
    definition,
    await walkTree(definition.path, { detectDatabases: detectDatabases && listedBy(definition) }),
    incoming,
  );
}

function sortEntries(
  definition: RootDefinition,
  walked: readonly WalkedEntry[],
  incoming: Pick<ReadonlySet<string>, 'has'>,
): ReplacedMembers {
  // What the definition names, and what it is
  const named = new Set([...definition.databases, ...definition.trees].map(({ path }) => path));
  const kinds = new Map(walked.filter(({ path }) => named.has(path)).map(({ path, kind }) => [path, kind]));
  // Links, special files and destroyed databases where members are claimed: looked at as files, so that nothing is refused
  const originals = new Map<WalkedEntry, WalkedEntry>();
  const asFiles = walked.map((entry): WalkedEntry => {
    if (entry.kind === 'directory' || (entry.kind === 'file' && entry.isDatabase === null)) return entry;
    const file = entry.asFile();
    originals.set(file, entry);
    return file;
  });
  const present: RootDefinition = {
    ...definition,
    databases: definition.databases.filter((database) => isGlob(database.path) || kinds.get(database.path) === 'file'),
    trees: definition.trees.filter((tree) => kinds.get(tree.path) === 'directory'),
  };
  const selected = selectMembers(present, asFiles);
  const isOldSidecar = (entry: WalkedEntry): boolean =>
    incoming.has(mainOfSidecar(entry.path) ?? '') || incoming.has(entry.path);
  const original = (entry: WalkedEntry): WalkedEntry => originals.get(entry) ?? entry;
  const members = [...selected.databases, ...selected.files, ...selected.directories].map((member) =>
    original(member.entry),
  );
  return {
    members: [...members, ...selected.sidecars.map(original), ...selected.outside.filter(isOldSidecar).map(original)],
    outside: selected.outside.filter((entry) => !isOldSidecar(entry)).map(original),
    dropped: selected.dropped.map(original),
  };
}

/** What lies at the roots of a store now. */
export async function formerStates(room: StoreRoom): Promise<readonly FormerState[]> {
  const states: FormerState[] = [];
  for (const { definition } of room.roots)
    states.push({ root: definition.name, sha256: await formerDigest(definition.path, definition), definition });
  return states;
}

/**
 * What merely reading a database makes or touches: the index of its log, and a log without a frame. Beside what is no
 * database these are files like any others. A listed one is a database whatever its first bytes have become.
 */
function isFleeting(entry: WalkedEntry, isDatabase: (path: string) => boolean): boolean {
  const mayBe = entry.path.endsWith('-shm') || (entry.path.endsWith('-wal') && entry.sizeBytes === 0);
  const main = mainOfSidecar(entry.path);
  return mayBe && main !== null && isDatabase(main);
}

/**
 * Digest of the members of a tree by their looks. Link counts and change times are left out, because carrying files
 * over by hard link alters them; so are the directory times, which exchanging and linking alter.
 * @returns sha256, lower-case hex; `absent` when there is no such directory
 */
export async function formerDigest(directory: string, definition: RootDefinition): Promise<string> {
  if (!existsSync(directory)) return 'absent';
  const { members } = sortEntries(definition, await walkTree(directory, { detectDatabases: false }), new Set());
  const files = new Set(members.filter((entry) => entry.kind === 'file').map((entry) => entry.path));
  const isListed = listedBy(definition);
  const isDatabase = (path: string): boolean => files.has(path) && (isListed(path) || hasMagic(join(directory, path)));
  const lines = members
    .filter((entry) => entry.path !== '.' && !isFleeting(entry, isDatabase))
    .map((entry) =>
      JSON.stringify([
        entry.path,
        entry.kind,
        entry.inode,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.kind === 'directory' ? null : [entry.sizeBytes, entry.mtimeNanos],
      ]),
    )
    .sort();
  const hash = createHash('sha256');
  for (const [index, line] of lines.entries()) hash.update(index === 0 ? line : `\n${line}`);
  return hash.digest('hex');
}
