// The digest of a state by its looks (paths, kinds, sizes, inodes, times), without reading contents: it tells whether
// what lies at a path is the very tree that lay there before. Link counts and change times are left out, because
// carrying files over by hard link alters them; so are the times of the root itself, which an exchange alters.
import { createHash } from 'node:crypto';
import { walkTree } from '../files/walk.js';

/** @returns sha256, lower-case hex */
export async function formerDigest(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const entry of await walkTree(directory, { detectDatabases: false })) {
    if (entry.path === '.') continue;
    hash.update(JSON.stringify([entry.path, entry.kind, entry.sizeBytes, entry.inode, entry.mtimeNanos, entry.mode, entry.uid, entry.gid]));
  }
  return hash.digest('hex');
}
