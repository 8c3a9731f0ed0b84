// What the layouts of a directory artefact have of their own: where in it the roots lie, and which files stand beside them.
// Source: DESIGN.md "Words"; docs/reference/manifest.md, docs/guides/helionyx.md.
import { readdir, rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NEVER_CAPTURED } from '../domain/definition.js';
import type { LayoutName } from '../domain/definition.js';
import { compileGlobs } from '../files/globs.js';
import type { Matcher } from '../files/globs.js';

export const MANIFEST_NAME = 'manifest.json';
export const SIGNATURE_NAME = 'manifest.json.sig';
/** Where a store is captured, and where layout `plain` leaves it. */
export const DATA_NAME = 'data';
/** In the way of `sha256sum`: of every other file of the artefact. */
export const CHECKSUMS_NAME = 'manifest.sha256';

interface Layout {
  /** Directory of the roots, relative to the artefact; `.`: the artefact itself. */
  readonly roots: string;
  /** Files of its own, in the order in which the manifest names them. */
  readonly documents: readonly string[];
  readonly hasChecksums: boolean;
  /** Whether the path of an entry is no backup's of this layout. */
  readonly refuses: Matcher;
}

export const LAYOUTS: Readonly<Record<LayoutName, Layout>> = {
  plain: { roots: DATA_NAME, documents: [], hasChecksums: false, refuses: compileGlobs(NEVER_CAPTURED.plain) },
  helionyx: {
    roots: '.',
    documents: ['meta.json', 'config.json'],
    hasChecksums: true,
    refuses: compileGlobs(NEVER_CAPTURED.helionyx),
  },
};

/** The path of an entry, relative to the artefact. */
export function entryPath(
  layout: LayoutName,
  { root, path }: { readonly root: string; readonly path: string },
): string {
  return join(LAYOUTS[layout].roots, root, path);
}

/** What else may stand in the artefact's directory. */
export function besideRoots(layout: LayoutName): readonly string[] {
  const { roots, documents, hasChecksums } = LAYOUTS[layout];
  return [
    '.',
    ...(roots === '.' ? [] : [roots]),
    MANIFEST_NAME,
    ...documents,
    // Where every other file has its checksum, there is no slot for one that comes later
    hasChecksums ? CHECKSUMS_NAME : SIGNATURE_NAME,
  ];
}

/** Brings what was captured to where the layout has it, inside the artefact that is not published yet. */
export async function arrangeRoots(partial: string, layout: LayoutName): Promise<void> {
  if (LAYOUTS[layout].roots === DATA_NAME) return;
  for (const root of await readdir(join(partial, DATA_NAME)))
    await rename(join(partial, DATA_NAME, root), join(partial, LAYOUTS[layout].roots, root));
  await rmdir(join(partial, DATA_NAME));
}
