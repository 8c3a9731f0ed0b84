// How a root can be exchanged, and where its control directory is (DESIGN "Exchange"). Looks only; changes nothing.
import { accessSync, constants, lstatSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { assert, Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from './errors.js';
import { isMountPoint, mountsBelow } from './mounts.js';

export interface ExchangeMode {
  readonly mode: 'root' | 'entries';
  /** What the mode was chosen for, in words. */
  readonly why: string;
  /** On the filesystem of the root; it may not exist yet. */
  readonly controlDirectory: string;
}

const STICKY = 0o1000n;

/**
 * Decides for a root by its place: mode `root` where its parent can hold the control directory on the same
 * filesystem, also when the root itself is gone; else mode `entries`, inside the root.
 * @throws Stop not_exchangeable with what is in the way
 */
export async function exchangeMode(root: string): Promise<ExchangeMode> {
  assert(root.startsWith('/') && root !== '/', 'a root is an absolute path below /');
  const rootFacts = look(root);
  if (rootFacts !== null && !rootFacts.isDirectory()) throw refusal(root, 'the root is no directory', {});
  const mounts = await mountsBelow(root);
  if (mounts.length > 0)
    throw refusal(root, `${mounts.length} filesystems are mounted below the root, such as ${mounts[0] ?? ''}`, {
      mounts,
    });
  const obstacle = (await isMountPoint(root)) ? 'the root is a mount point' : parentObstacle(root, rootFacts);
  if (obstacle === null) {
    const why =
      rootFacts === null
        ? 'the root does not exist, its parent can be written'
        : 'the parent of the root can be written';
    return { mode: 'root', why, controlDirectory: join(dirname(root), '.holdfast', basename(root)) };
  }
  if (rootFacts === null) throw refusal(root, `the root does not exist, and ${obstacle}`, {});
  const control = join(root, '.holdfast');
  const inside = isWritable(root) ? controlObstacle(control, control) : 'the root can not be written';
  if (inside !== null) throw refusal(root, `${obstacle}, and ${inside}`, {});
  return { mode: 'entries', why: obstacle, controlDirectory: control };
}

/** Why the parent can't take part; null when it can. */
function parentObstacle(root: string, rootFacts: BigIntStats | null): string | null {
  const parent = dirname(root);
  const parentFacts = look(parent);
  if (parentFacts === null) return 'the parent of the root does not exist';
  if (!parentFacts.isDirectory()) return 'the parent of the root is no directory';
  if (rootFacts !== null && rootFacts.dev !== parentFacts.dev)
    return 'the root is on another filesystem than its parent';
  if (!isWritable(parent)) return 'the parent of the root can not be written';
  if (rootFacts !== null && !mayRename(parentFacts, rootFacts))
    return 'the parent of the root is sticky, and the root belongs to another user';
  return controlObstacle(join(parent, '.holdfast'), join(parent, '.holdfast', basename(root)));
}

/**
 * Why the control directory can't be made or used; null when it can. `shared` is the `.holdfast` of a parent, which
 * stores share: one that is there and can't be written is of use only where our own part is there already.
 */
function controlObstacle(shared: string, own: string): string | null {
  if (look(shared) === null) return isWritable(dirname(shared)) ? null : `${dirname(shared)} can not be written`;
  const foreign = foreignness(shared);
  if (foreign !== null) return foreign;
  if (own === shared || look(own) === null) return isWritable(shared) ? null : `${shared} can not be written`;
  return foreignness(own) ?? (isWritable(own) ? null : `${own} can not be written`);
}

/** Why a control directory is not ours; null when it is. What others prepared is not trusted: they could exchange what lies in it. */
export function foreignness(path: string): string | null {
  const facts = look(path);
  if (facts === null || !facts.isDirectory()) return `${path} is no directory`;
  if (facts.dev !== look(dirname(path))?.dev) return `${path} is on another filesystem`;
  if (facts.uid !== 0n && facts.uid !== BigInt(effectiveUser())) return `${path} belongs to another user`;
  return null;
}

function mayRename(parentFacts: BigIntStats, rootFacts: BigIntStats): boolean {
  const user = BigInt(effectiveUser());
  return user === 0n || (parentFacts.mode & STICKY) === 0n || rootFacts.uid === user || parentFacts.uid === user;
}

function effectiveUser(): number {
  const user = process.geteuid?.();
  assert(user !== undefined, 'POSIX has effective users');
  return user;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (hasErrno(error, 'EACCES', 'EROFS', 'EPERM')) return false;
    throw translateErrno(error, { path });
  }
}

function look(path: string): BigIntStats | null {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw translateErrno(error, { path });
  }
}

function refusal(root: string, why: string, details: Record<string, unknown>): Stop {
  return new Stop('not_exchangeable', why, { root, ...details });
}
