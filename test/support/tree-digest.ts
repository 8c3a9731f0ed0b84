// One digest for a whole tree: names, kinds, owners, modes, times and contents (F-5). Two trees of one digest are the
// same to any reader; tests prove with it that a refusal changed nothing. It opens every file: never for a live
// database in a process that holds locks on it.
import { createHash } from 'node:crypto';
import { readlink } from 'node:fs/promises';
import { hashFiles } from '../../files/copy.js';
import { translating } from '../../files/errors.js';
import { walkTree } from '../../files/walk.js';

export interface TreeDigestOptions {
  readonly skip?: (relativePath: string, isDirectory: boolean) => boolean;
  /** Whether times of the last change count: `all` (the default), `below` (all but the top's own), or `none`. */
  readonly times?: 'all' | 'below' | 'none';
}

export interface TreeDigest {
  /** Lower-case hex. */
  readonly sha256: string;
  readonly entries: number;
}

/**
 * The digest of a directory, without `.holdfast` at its top.
 * @throws Stop of walkTree; source_changed where the tree is written to meanwhile; permission_denied, io_error
 */
export async function treeDigest(directory: string, options: TreeDigestOptions = {}): Promise<TreeDigest> {
  const hash = createHash('sha256');
  const entries = await walkTree(directory, {
    ...(options.skip === undefined ? {} : { skip: options.skip }),
    detectDatabases: false,
  });
  const times = options.times ?? 'all';
  const files = entries.filter((entry) => entry.kind === 'file');
  const results = await hashFiles(
    files.map((entry) => ({
      source: `${directory}/${entry.path}`,
      expected: { sizeBytes: entry.sizeBytes, inode: entry.inode },
    })),
  );
  const digests = new Map(files.map((entry, index) => [entry.path, results[index]?.sha256]));
  for (const entry of entries) {
    const isTimed = times === 'all' || (times === 'below' && entry.path !== '.');
    const path = `${directory}/${entry.path}`;
    const sizeBytes = entry.kind === 'file' ? entry.sizeBytes : null;
    const content =
      entry.kind === 'file'
        ? digests.get(entry.path)
        : entry.kind === 'symlink'
          ? await translating({ path }, async () => await readlink(path))
          : null;
    hash.update(
      `${JSON.stringify([entry.path, entry.kind, entry.mode, entry.uid, entry.gid, sizeBytes, content, isTimed ? entry.mtimeNanos : null])}\n`,
    );
  }
  return { sha256: hash.digest('hex'), entries: entries.length };
}
