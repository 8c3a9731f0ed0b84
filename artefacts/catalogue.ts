// The catalogue: which backups a destination holds, and how a person names one of them. Ambiguity is a STOP (F-30).
import { basename, isAbsolute, join } from 'node:path';
import { Stop } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import type { Artefact } from './plain.js';
import { artefactNames, readArtefact } from './plain.js';

/** `<instant>-<begin of the backup id>`: sorts by time. */
const BACKUP_NAME = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;

/** The name under which a backup is published. */
export function backupName(instant: string, backupId: string): string {
  return `${instant.slice(0, 19).replaceAll(/[-:]/g, '')}Z-${backupId.slice(0, 8)}`;
}

export interface CatalogueEntry {
  readonly name: string;
  readonly path: string;
  /** A broken artefact is listed with what is wrong with it, never left out. */
  readonly stop?: { readonly code: StopCode; readonly message: string };
  readonly backupId?: string;
  readonly store?: string;
  readonly host?: string;
  readonly createdAt?: string;
  readonly sizeBytes?: number;
  readonly files?: number;
  readonly databases?: number;
  readonly pauseMillis?: number;
}

/** The artefacts of a store in a destination, oldest first; a broken one may be anybody's, so it is listed too. */
export async function listArtefacts(destination: string, store: string): Promise<readonly CatalogueEntry[]> {
  const entries: CatalogueEntry[] = [];
  for (const name of await artefactNames(destination)) {
    const entry = await lookAt(destination, name);
    if (entry.store === undefined || entry.store === store) entries.push(entry);
  }
  return entries;
}

/** The newest backup of a store, by name; null when there is none. Manifests of older ones are not read. */
export async function newestArtefact(destination: string, store: string): Promise<CatalogueEntry | null> {
  for (const name of (await artefactNames(destination)).toReversed()) {
    if (!BACKUP_NAME.test(name)) continue;
    const entry = await lookAt(destination, name);
    if (entry.store === undefined || entry.store === store) return entry;
  }
  return null;
}

async function lookAt(destination: string, name: string): Promise<CatalogueEntry> {
  const path = join(destination, name);
  try {
    return summarise(name, await readArtefact(path));
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { name, path, stop: { code: error.code, message: error.message } };
  }
}

function summarise(name: string, { path, manifest }: Artefact): CatalogueEntry {
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  return {
    name,
    path,
    backupId: manifest.backupId,
    store: manifest.store,
    host: manifest.host,
    createdAt: manifest.createdAt,
    sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    files: files.length,
    databases: manifest.databases.length,
    pauseMillis: manifest.cut.pauseMillis,
  };
}

/**
 * Finds the artefact that `reference` names: an absolute path, `latest` of the store, a name, a backup id, or a unique
 * prefix of either. Only manifests of what may be meant are read.
 * @throws Stop artefact_missing, ambiguous_intent, and those of readArtefact
 */
export async function resolveArtefact(destination: string, store: string, reference: string): Promise<Artefact> {
  if (isAbsolute(reference)) return readArtefact(reference);
  if (reference === 'latest') {
    const newest = await newestArtefact(destination, store);
    if (newest === null)
      throw new Stop('artefact_missing', `${destination} holds no backup of ${store}`, { destination, store });
    // A newest backup that is damaged is a STOP: which older one is wanted instead is for a person to say
    return readArtefact(newest.path);
  }
  const names = await artefactNames(destination);
  const candidates = names.includes(reference) ? [reference] : names.filter((name) => mayBe(name, reference));
  const found: Artefact[] = [];
  for (const name of candidates) {
    const artefact = await readArtefact(join(destination, name));
    if (name.startsWith(reference) || artefact.manifest.backupId.startsWith(reference)) found.push(artefact);
  }
  const [first, second] = found;
  if (first === undefined)
    throw new Stop('artefact_missing', `${destination} holds no backup ${reference}`, { destination, reference });
  if (second !== undefined) {
    throw new Stop('ambiguous_intent', `${reference} names ${found.length} backups`, {
      reference,
      candidates: found.slice(0, 10).map((artefact) => basename(artefact.path)),
    });
  }
  return first;
}

/** By its name alone: the name begins so, or the id whose beginning it carries does. */
function mayBe(name: string, reference: string): boolean {
  const id = name.slice(name.lastIndexOf('-') + 1);
  return name.startsWith(reference) || (BACKUP_NAME.test(name) && id.startsWith(reference.slice(0, id.length)));
}
