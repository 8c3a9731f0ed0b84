// Mode, owner, times and extended attributes: read for the manifest, applied to what is staged (P-15). Times keep
// their nanoseconds, which Node's own functions lose.
import { chmodSync, lchownSync, lstatSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Metadata } from '../domain/manifest.js';
import { translateErrno } from './errors.js';
import { compareBytes } from './safe-path.js';
import { getXattr, listXattrs, removeXattr, setMtime, setXattr } from './system-calls.js';
import type { WalkedEntry } from './walk.js';

export interface MetadataTarget {
  /** Absolute. */
  readonly path: string;
  readonly metadata: Metadata;
}

export interface ApplyOptions {
  /** Root gives files to any owner; others only to a group of their own. */
  readonly asRoot: boolean;
}

const ENTRIES_PER_TURN = 500;

/** The attributes that are part of a file's meaning; others (security.selinux) are the host's own. */
function isKept(name: string): boolean {
  return name.startsWith('user.') || name.startsWith('system.posix_acl_') || name === 'security.capability';
}

/**
 * Reads what a file, directory or link has beside its contents, not following a link. Synchronous: a few microseconds.
 * @throws Stop permission_denied, io_error
 */
export function readMetadata(path: string): Metadata {
  try {
    const facts = lstatSync(path, { bigint: true });
    const base = {
      mode: Number(facts.mode & 0o7777n),
      uid: Number(facts.uid),
      gid: Number(facts.gid),
      mtimeNanos: facts.mtimeNs.toString(),
    };
    return { ...base, ...readXattrs(path) };
  } catch (error) {
    throw translateErrno(error, { path });
  }
}

/** Like readMetadata for an entry that a walk has looked at: only the extended attributes are read. */
export function metadataOf(entry: WalkedEntry, path: string): Metadata {
  try {
    return { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtimeNanos: entry.mtimeNanos, ...readXattrs(path) };
  } catch (error) {
    throw translateErrno(error, { path });
  }
}

function readXattrs(path: string): { xattrs?: Record<string, string> } {
  const names = listXattrs(path).filter(isKept).sort(compareBytes);
  if (names.length === 0) return {};
  return { xattrs: Object.fromEntries(names.map((name) => [name, getXattr(path, name).toString('base64')])) };
}

/**
 * Gives a file or directory exactly this metadata. The order matters: a change of owner clears set-id bits and
 * capabilities, an ACL rewrites the group bits, and everything before it changes no time. A directory is given its
 * metadata after its contents: applyMetadataToAll sees to that.
 * @throws Stop permission_denied (the file is not ours to give), io_error, no_space
 */
export function applyMetadata(path: string, metadata: Metadata, options: ApplyOptions): void {
  try {
    const facts = lstatSync(path);
    if (options.asRoot) {
      if (facts.uid !== metadata.uid || facts.gid !== metadata.gid) lchownSync(path, metadata.uid, metadata.gid);
    } else if (facts.gid !== metadata.gid && isOurGroup(metadata.gid)) {
      lchownSync(path, facts.uid, metadata.gid);
    }
    // Links have no mode of their own on Linux, and chmod would follow them.
    if (!facts.isSymbolicLink()) chmodSync(path, metadata.mode);
    applyXattrs(path, metadata.xattrs ?? {});
    setMtime(path, BigInt(metadata.mtimeNanos));
  } catch (error) {
    throw translateErrno(error, { path });
  }
}

/** What a new file inherited (a default ACL of its directory) and the metadata does not name is removed. */
function applyXattrs(path: string, xattrs: Readonly<Record<string, string>>): void {
  for (const name of listXattrs(path)) if (isKept(name) && !Object.hasOwn(xattrs, name)) removeXattr(path, name);
  for (const [name, value] of Object.entries(xattrs)) setXattr(path, name, Buffer.from(value, 'base64'));
}

/** Applies metadata to many: what is deeper comes first, so that each directory's time is set after its contents. */
export async function applyMetadataToAll(targets: readonly MetadataTarget[], options: ApplyOptions): Promise<void> {
  await applyMetadataInTurn(
    targets.toSorted((left, right) => compareBytes(right.path, left.path)),
    options,
  );
}

/** Applies metadata to many in the order in which they are told: for files, of which none is in another. */
export async function applyMetadataInTurn(targets: Iterable<MetadataTarget>, options: ApplyOptions): Promise<void> {
  let applied = 0;
  for (const { path, metadata } of targets) {
    applyMetadata(path, metadata, options);
    applied += 1;
    if (applied % ENTRIES_PER_TURN === 0) await nextTurn();
  }
}

/** True when only root could give a file this owner: the caller throws Stop owner_differs. */
export function ownersDiffer(metadata: Pick<Metadata, 'uid' | 'gid'>): boolean {
  const user = process.geteuid?.();
  return user !== 0 && (metadata.uid !== user || !isOurGroup(metadata.gid));
}

function isOurGroup(group: number): boolean {
  return process.getegid?.() === group || process.getgroups?.().includes(group) === true;
}
