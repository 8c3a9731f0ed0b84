// manifest.sha256: the digests of every other file of an artefact as `sha256sum` writes and checks them (clauses H-5, H-7).
// It repeats what the manifest says of entries and documents, and adds the manifest; both are held against one another.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { LIMITS } from '../domain/limits.js';
import type { Manifest } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { CHECKSUMS_NAME, MANIFEST_NAME, entryPath } from './layout.js';

/** Of each file by its path relative to the artefact; lower-case hex. */
type Digests = ReadonlyMap<string, string>;

export function digestsOf(manifest: Manifest, manifestSha256: string): Digests {
  const digests = new Map([[MANIFEST_NAME, manifestSha256]]);
  for (const { name, sha256 } of manifest.documents ?? []) digests.set(name, sha256);
  for (const entry of manifest.entries)
    if (entry.type !== 'directory') digests.set(entryPath(manifest.layout, entry), entry.sha256);
  return digests;
}

/** A name with a newline, a carriage return or a backslash is written as `sha256sum` does: escaped, behind a backslash. */
export function formatChecksums(digests: Digests): string {
  return [...digests]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([path, sha256]) => {
      const escaped = path.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
      return `${escaped === path ? '' : '\\'}${sha256}  ${escaped}\n`;
    })
    .join('');
}

/**
 * Holds manifest.sha256, and the documents of the layout, against the manifest.
 * @throws Stop file_missing, checksum_mismatch
 */
export async function assertChecksums(artefact: string, manifest: Manifest, manifestSha256: string): Promise<void> {
  for (const { name, sha256 } of manifest.documents ?? []) {
    const found = createHash('sha256')
      .update(await read(artefact, name, LIMITS.documentBytesMax))
      .digest('hex');
    if (found !== sha256)
      throw new Stop('checksum_mismatch', `${name} is not what the manifest records`, {
        path: artefact,
        entry: name,
        expected: sha256,
        found,
      });
  }
  const expected = Buffer.from(formatChecksums(digestsOf(manifest, manifestSha256)));
  if (!expected.equals(await read(artefact, CHECKSUMS_NAME, expected.length)))
    throw new Stop('checksum_mismatch', `${CHECKSUMS_NAME} does not say what ${MANIFEST_NAME} says`, {
      path: artefact,
      entry: CHECKSUMS_NAME,
    });
}

/** @param bytesMax a file that is larger is not the one that was written, and is not read */
async function read(artefact: string, name: string, bytesMax: number): Promise<Buffer> {
  try {
    const file = await open(join(artefact, name), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size } = await file.stat();
      if (size <= bytesMax) return await file.readFile();
      throw new Stop('checksum_mismatch', `${name} is larger than it was written`, { path: artefact, entry: name });
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('file_missing', `${name} is missing`, { path: artefact, missing: [name], count: 1 });
    throw translateErrno(error, { path: artefact });
  }
}
