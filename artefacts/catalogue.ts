// The catalogue: which backups a destination holds, and how a person names one of them. Ambiguity is a STOP (F-30).
// How they are ordered: names.ts.
import { basename, isAbsolute, join } from 'node:path';
import { Stop } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import { artefactNames, backupName, idOf, numberOf } from './names.js';
import type { Artefact } from './artefact.js';
import { readArtefact } from './artefact.js';

/** Oldest first, by number; of one number by instant, then id; what is named otherwise before them all. */
export async function orderedNames(destination: string): Promise<readonly string[]> {
  const names = await artefactNames(destination);
  return names.toSorted((left, right) => (numberOf(left) ?? 0) - (numberOf(right) ?? 0) || (left < right ? -1 : 1));
}

export interface CatalogueEntry {
  readonly name: string;
  readonly path: string;
  /** A broken artefact is listed with what is wrong with it, never left out. */
  readonly stop?: { readonly code: StopCode; readonly message: string };
  readonly number?: number;
  readonly backupId?: string;
  readonly store?: string;
  readonly host?: string;
  readonly createdAt?: string;
  readonly sizeBytes?: number;
  readonly files?: number;
  readonly databases?: number;
  /** The longest that a writer was kept waiting. */
  readonly pauseMillis?: number;
}

/** The artefacts of a store in a destination, oldest first; a broken one may be anybody's, so it is listed too. */
export async function listArtefacts(destination: string, store: string): Promise<readonly CatalogueEntry[]> {
  const entries: CatalogueEntry[] = [];
  for (const name of await orderedNames(destination)) {
    const entry = await lookAt(destination, name);
    if (entry.store === undefined || entry.store === store) entries.push(entry);
  }
  return entries;
}

/** The backup of a store that was published last; null when there is none. Manifests of older ones are not read. */
export async function newestArtefact(destination: string, store: string): Promise<CatalogueEntry | null> {
  for (const name of (await orderedNames(destination)).toReversed()) {
    if (numberOf(name) === null) continue;
    const entry = await lookAt(destination, name);
    if (entry.store === undefined || entry.store === store) return entry;
  }
  return null;
}

async function lookAt(destination: string, name: string): Promise<CatalogueEntry> {
  try {
    return summarise(name, await readNamed(destination, name));
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { name, path: join(destination, name), stop: { code: error.code, message: error.message } };
  }
}

/**
 * Reads a backup of a destination. A name decides which backup is the latest, so it says what the manifest does.
 * @throws Stop manifest_invalid, and those of readArtefact
 */
async function readNamed(destination: string, name: string): Promise<Artefact> {
  const artefact = await readArtefact(join(destination, name));
  const expected = backupName(artefact.manifest);
  if (numberOf(name) === null || name === expected) return artefact;
  throw new Stop('manifest_invalid', `${artefact.path} is the backup ${expected} under another name`, {
    path: artefact.path,
    expected,
  });
}

function summarise(name: string, { path, manifest }: Artefact): CatalogueEntry {
  const files = manifest.entries.filter((entry) => entry.type !== 'directory');
  return {
    name,
    path,
    number: manifest.number,
    backupId: manifest.backupId,
    store: manifest.store,
    host: manifest.host,
    createdAt: manifest.createdAt,
    sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    files: files.length,
    databases: manifest.databases.length,
    pauseMillis: Math.max(manifest.cut.pauseMillis, manifest.cut.rollbackJournalPauseMillis),
  };
}

/** Shorter digits are never the beginning of an id: every second backup number would soon name another backup, too. */
const NUMBER_ALONE = /^\d{1,7}$/;

/**
 * Finds the artefact that `reference` names: an absolute path, `latest` of the store, a number, a name, a backup id, or a
 * unique prefix of either. Up to seven digits are a number. Only manifests of what may be meant are read.
 * @throws Stop artefact_missing, ambiguous_intent, and those of readArtefact
 */
export async function resolveArtefact(destination: string, store: string, reference: string): Promise<Artefact> {
  if (isAbsolute(reference)) return readArtefact(reference);
  if (reference === 'latest') {
    const newest = await newestArtefact(destination, store);
    if (newest === null)
      throw new Stop('artefact_missing', `${destination} holds no backup of ${store}`, { destination, store });
    // A newest backup that is damaged is a STOP: which older one is wanted instead is for a person to say
    return readNamed(destination, newest.name);
  }
  const names = await orderedNames(destination);
  const isNameInFull = names.includes(reference) && !NUMBER_ALONE.test(reference);
  const candidates = isNameInFull ? [reference] : names.filter((name) => mayBe(name, reference));
  const found: Artefact[] = [];
  for (const name of candidates) {
    const artefact = await readNamed(destination, name);
    if (isNamed(name, reference) || isOfId(artefact.manifest.backupId, reference)) found.push(artefact);
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

/** By its number in full, or by how its name begins: digits alone are never the beginning of a longer number. */
function isNamed(name: string, reference: string): boolean {
  if (name === reference) return true;
  const number = numberOf(name);
  if (number !== null && /^\d+$/.test(reference)) return Number(reference) === number;
  return !NUMBER_ALONE.test(reference) && name.startsWith(reference);
}

/** @param id of a backup, or how it begins */
function isOfId(id: string, reference: string): boolean {
  return !NUMBER_ALONE.test(reference) && id.startsWith(reference);
}

/** By its name alone: it is named so, or the id whose beginning it carries begins so, or it is a backup and carries none. */
function mayBe(name: string, reference: string): boolean {
  if (isNamed(name, reference)) return true;
  const id = idOf(name);
  return id === null ? numberOf(name) !== null : isOfId(id, reference.slice(0, id.length));
}
