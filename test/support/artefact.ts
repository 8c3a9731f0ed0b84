// Artefacts that somebody has been at: copies of real ones, damaged, or edited so that the edit is consistent, as on
// another host that never saw the manifest.
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../../domain/manifest.js';

let copies = 0;

/** A copy of an artefact in `directory`, damaged. */
export function damagedCopy(artefact: string, directory: string, damage: (copy: string) => void): string {
  copies += 1;
  const copy = join(directory, 'copies', String(copies));
  cpSync(artefact, copy, { recursive: true, preserveTimestamps: true });
  damage(copy);
  return copy;
}

export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Edits the text of the manifest, and gives the backup an id that nobody here has a witness of. */
export function editManifest(copy: string, edit: (text: string) => string): void {
  const path = join(copy, 'manifest.json');
  const text = edit(readFileSync(path, 'utf8'));
  const { backupId } = JSON.parse(text) as { backupId: string };
  writeFileSync(path, text.replace(backupId, '00000000-0000-4000-8000-000000000000'));
}

/** Alters a file of the root `data`, and what the manifest says of it. */
export function alterConsistently(copy: string, path: string, alter: (absolute: string) => void): void {
  const absolute = join(copy, 'data', 'data', path);
  alter(absolute);
  editManifest(copy, (text) => {
    const manifest = JSON.parse(text) as Manifest;
    const altered = { sizeBytes: statSync(absolute).size, sha256: sha256Of(absolute) };
    const entries = manifest.entries.map((entry) => (entry.path === path ? { ...entry, ...altered } : entry));
    return `${JSON.stringify({ ...manifest, entries })}\n`;
  });
}

/** Damages a database where its integrity check must see it: the cells of its second page. */
export function rot(database: string): void {
  const bytes = readFileSync(database);
  bytes.fill(0xff, 4096 + 8, 4096 + 400);
  writeFileSync(database, bytes);
}
