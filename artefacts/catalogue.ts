// The catalogue: which backups a destination holds, and how a person names one of them. Ambiguity is a STOP (F-30).
import { isAbsolute, join } from 'node:path';
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
  readonly createdAt?: string;
  readonly sizeBytes?: number;
  readonly files?: number;
  readonly databases?: number;
  readonly pauseMillis?: number;
}

/** All artefacts of a destination, oldest first. */
export async function listArtefacts(destination: string): Promise<readonly CatalogueEntry[]> {
  const entries: CatalogueEntry[] = [];
  for (const name of await artefactNames(destination)) {
    const path = join(destination, name);
    try {
      entries.push(summarise(name, await readArtefact(path)));
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      entries.push({ name, path, stop: { code: error.code, message: error.message } });
    }
  }
  return entries;
}

function summarise(name: string, { path, manifest }: Artefact): CatalogueEntry {
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  return {
    name,
    path,
    backupId: manifest.backupId,
    store: manifest.store,
    createdAt: manifest.createdAt,
    sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    files: files.length,
    databases: manifest.databases.length,
    pauseMillis: manifest.cut.pauseMillis,
  };
}

/**
 * Finds the artefact that `reference` names: an absolute path, `latest`, a name, a backup id, or a unique prefix of either.
 * @throws Stop artefact_missing, ambiguous_intent, and those of readArtefact
 */
export async function resolveArtefact(destination: string, reference: string): Promise<Artefact> {
  if (isAbsolute(reference)) return readArtefact(reference);
  const entries = await listArtefacts(destination);
  if (reference === 'latest') {
    const newest = entries.findLast((entry) => BACKUP_NAME.test(entry.name));
    if (newest === undefined) throw new Stop('artefact_missing', `${destination} holds no backup`, { destination });
    // A newest backup that is damaged is a STOP: which older one is wanted instead is for a person to say
    return readArtefact(newest.path);
  }
  const exact = entries.filter((entry) => entry.name === reference || entry.backupId === reference);
  const found = exact.length > 0 ? exact : entries.filter((entry) => entry.name.startsWith(reference) || entry.backupId?.startsWith(reference) === true);
  const [first, second] = found;
  if (first === undefined) throw new Stop('artefact_missing', `${destination} holds no backup ${reference}`, { destination, reference });
  if (second !== undefined) {
    throw new Stop('ambiguous_intent', `${reference} names ${found.length} backups`, { reference, candidates: found.slice(0, 10).map((entry) => entry.name) });
  }
  return readArtefact(first.path);
}
