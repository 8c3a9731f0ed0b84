// The capture: what the snapshot step leaves for the steps after it, in files of the hidden artefact directory, because
// histories hold references and not lists. Removed before the artefact is published.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonWithin } from '../artefacts/artefact.js';
import type { CutReport, DirectoryEntry, FileEntry, ManifestDatabase, Metadata } from '../domain/manifest.js';
import { writeFileDurable } from '../files/durable.js';

export interface CapturedDatabase extends Metadata {
  readonly root: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Of the copy, lower-case hex. */
  readonly sha256: string;
}

/** By `<root>/<path>`: ManifestDatabase.liveStamp. */
export type LiveStamps = Readonly<Record<string, string | null>>;

export interface Capture {
  readonly backupId: string;
  readonly createdAt: string;
  readonly cut: Omit<CutReport, 'quiescedMillis'>;
  readonly entries: readonly (DirectoryEntry | FileEntry)[];
  readonly databases: readonly CapturedDatabase[];
  readonly liveStamps: LiveStamps;
}

export interface CaptureFacts {
  readonly databases: readonly ManifestDatabase[];
  readonly entries: readonly FileEntry[];
  readonly application: { readonly version: string; readonly modules: readonly string[] } | null;
}

const CAPTURE = 'capture.json';
const FACTS = 'facts.json';

export const writeCapture = (partial: string, capture: Capture): Promise<void> =>
  writeFileDurable(join(partial, CAPTURE), jsonWithin(partial, capture), 0o600);
export const writeFacts = (partial: string, facts: CaptureFacts): Promise<void> =>
  writeFileDurable(join(partial, FACTS), jsonWithin(partial, facts), 0o600);

export async function readCapture(partial: string): Promise<Capture> {
  return JSON.parse(await readFile(join(partial, CAPTURE), 'utf8')) as Capture;
}

export async function readFacts(partial: string): Promise<CaptureFacts> {
  return JSON.parse(await readFile(join(partial, FACTS), 'utf8')) as CaptureFacts;
}

export async function removeCapture(partial: string): Promise<void> {
  await rm(join(partial, CAPTURE), { force: true });
  await rm(join(partial, FACTS), { force: true });
}
