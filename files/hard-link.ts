// Carries over what is outside the members (keys, logs, `.env`): the last act before an exchange links it into the
// staged tree, so that it is in the new live tree and in the rollback point at once (P-15). Links share one inode:
// nothing is copied, and nothing that the application goes on writing to is lost.
import { linkSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from './errors.js';
import { parentOf } from './members.js';
import { applyMetadataToAll, readMetadata } from './metadata.js';
import type { MetadataTarget } from './metadata.js';
import { joinInside } from './safe-path.js';
import type { WalkedEntry } from './walk.js';

export interface CarriedOver {
  /** Files, links, sockets and FIFOs. */
  readonly linked: number;
  /** Made anew with the metadata of the live ones. */
  readonly directories: number;
}

const ENTRIES_PER_TURN = 500;

/**
 * Links everything of `outside` (Members.outside, parents first) from the live into the staged tree; link(2) does not
 * follow links. Directories that are missing are made with the live ones' metadata, those that are there stay as they
 * are. The caller syncs the filesystem.
 * @throws Stop source_changed (another file than was walked)
 * @throws Stop unclear_target where something lies at a target, or a file where a directory should be
 * @throws Stop permission_denied (others' files, where the kernel protects hard links), io_error, no_space
 */
export async function carryOver(
  outside: readonly WalkedEntry[],
  liveRoot: string,
  stagedRoot: string,
): Promise<CarriedOver> {
  const made: MetadataTarget[] = [];
  const ensured = new Set<string>(['.']);
  // The times of staged directories were set already, and a link in them changes them.
  const touched = new Map<string, MetadataTarget>();
  const ensure = (path: string): void => {
    if (ensured.has(path)) return;
    ensure(parentOf(path));
    remember(touched, stagedRoot, parentOf(path));
    if (makeDirectory(joinInside(stagedRoot, path)))
      made.push({ path: joinInside(stagedRoot, path), metadata: readMetadata(joinInside(liveRoot, path)) });
    ensured.add(path);
  };
  let linked = 0;
  for (const [index, entry] of outside.entries()) {
    if (entry.kind === 'directory') {
      ensure(entry.path);
      continue;
    }
    ensure(parentOf(entry.path));
    remember(touched, stagedRoot, parentOf(entry.path));
    link(join(liveRoot, entry.path), joinInside(stagedRoot, entry.path), entry);
    linked += 1;
    if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await nextTurn();
  }
  const final = new Map([...touched, ...made.map((target) => [target.path, target] as const)]);
  await applyMetadataToAll([...final.values()], { asRoot: process.geteuid?.() === 0 });
  return { linked, directories: made.length };
}

function remember(touched: Map<string, MetadataTarget>, stagedRoot: string, relative: string): void {
  const path = joinInside(stagedRoot, relative);
  if (!touched.has(path)) touched.set(path, { path, metadata: readMetadata(path) });
}

/** What was linked must be what was walked: a directory above it may have become a link to elsewhere. */
function link(source: string, target: string, walked: WalkedEntry): void {
  try {
    linkSync(source, target);
    const { ino, dev } = lstatSync(target, { bigint: true });
    if (ino.toString() !== walked.inode || dev.toString() !== walked.device)
      throw new Stop('source_changed', `${walked.path} is another file than a moment ago`, { path: source });
  } catch (error) {
    if (hasErrno(error, 'EEXIST'))
      throw new Stop('unclear_target', `${target} exists in the staged tree and outside the members in the live one`, {
        path: source,
        target,
      });
    throw translateErrno(error, { path: source, target });
  }
}

/** True when it was made; false when a directory is there. */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, 0o700);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw translateErrno(error, { path });
  }
  if (lstatSync(path).isDirectory()) return false;
  throw new Stop('unclear_target', `${path} is no directory in the staged tree, but one in the live tree`, { path });
}
