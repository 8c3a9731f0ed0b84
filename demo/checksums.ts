// Proves a directory against a manifest, and takes the digest of a directory, with node:crypto and node:fs alone: a
// second opinion, which shares no code with the product that wrote the manifest.
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface ChecksumFacts {
  readonly files: number;
  readonly sizeBytes: number;
  /** Of the bytes of the manifest itself. */
  readonly manifestSha256: string;
}

interface Listed {
  readonly type: string;
  readonly root: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

const sha256Of = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

/** Files below a directory, relative; without what merely reading a database leaves beside it. */
function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => {
      const facts = lstatSync(join(directory, path));
      return !facts.isDirectory() && !path.endsWith('-shm') && !(path.endsWith('-wal') && facts.size === 0);
    })
    .sort();
}

/**
 * Proves that `directory` holds exactly the files of `root` that a manifest lists, each with its size and sha256.
 * @throws Error that names the first file that differs, is missing or is not listed
 */
export function proveChecksums(manifestPath: string, root: string, directory: string): ChecksumFacts {
  const bytes = readFileSync(manifestPath);
  const { entries } = JSON.parse(bytes.toString('utf8')) as { readonly entries: readonly Listed[] };
  const listed = new Map(
    entries.filter((entry) => entry.root === root && entry.type !== 'directory').map((entry) => [entry.path, entry]),
  );
  if (listed.size === 0) throw new Error(`${manifestPath} lists no file of root ${root}`);
  let sizeBytes = 0;
  for (const path of filesBelow(directory)) {
    const entry = listed.get(path);
    if (entry === undefined) throw new Error(`${join(directory, path)} is not in the manifest`);
    const content = readFileSync(join(directory, path));
    if (content.length !== entry.sizeBytes || sha256Of(content) !== entry.sha256) {
      throw new Error(`${join(directory, path)} is not what the manifest says`);
    }
    sizeBytes += content.length;
    listed.delete(path);
  }
  const [missing] = listed.keys();
  if (missing !== undefined) throw new Error(`${join(directory, missing)} is missing`);
  return {
    files: entries.filter((entry) => entry.root === root && entry.type !== 'directory').length,
    sizeBytes,
    manifestSha256: sha256Of(bytes),
  };
}

/** Digest of names, modes and contents of every file below a directory, lower-case hex. */
export function digestOf(directory: string): string {
  const lines = filesBelow(directory).map((path) => {
    const { mode } = lstatSync(join(directory, path));
    return JSON.stringify([path, mode, sha256Of(readFileSync(join(directory, path)))]);
  });
  return sha256Of(lines.join('\n'));
}
