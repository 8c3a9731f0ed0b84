// The capture: what the snapshot step leaves for the steps after it, in files of the hidden artefact directory, because
// histories hold references and not lists. Removed before the artefact is published. The entries of trees have a file
// of their own, an entry a line: whoever makes and takes them never has them all in memory.
import { closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonWithin, writeText } from '../artefacts/manifest-file.js';
import type { CutReport, FileEntry, ManifestDatabase, ManifestEntry, Metadata } from '../domain/manifest.js';
import type { ObjectFact, RunTuple } from '../domain/vault.js';
import { writeFileDurable } from '../files/durable.js';
import { lazily } from '../files/lazily.js';

/** What is known of a member besides where the capture goes to a vault. */
export interface CapturedInVault {
  /** Numbers of packs are those of the vault's index. */
  readonly runs: readonly RunTuple[];
  /** By which it will be recognised if it does not change; '' : not at all. */
  readonly stamp: string;
}

export interface CapturedDatabase extends Metadata, Partial<CapturedInVault> {
  readonly root: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Of the copy, lower-case hex. */
  readonly sha256: string;
  /** JSON of its ManifestDatabase, where it is as it was in the backup before: it was not copied. */
  readonly facts?: string;
}

/** By `<root>/<path>`: ManifestDatabase.liveStamp. */
export type LiveStamps = Readonly<Record<string, string | null>>;

/** As a manifest has it. */
export function fileEntryOf(captured: CapturedDatabase): FileEntry {
  const { root, path, sizeBytes, sha256, mode, uid, gid, mtimeNanos, xattrs } = captured;
  const metadata = { mode, uid, gid, mtimeNanos, ...(xattrs !== undefined && { xattrs }) };
  return { type: 'database', root, path, sizeBytes, sha256, ...metadata };
}

export interface Capture {
  readonly backupId: string;
  readonly createdAt: string;
  readonly cut: Omit<CutReport, 'quiescedMillis'>;
  readonly databases: readonly CapturedDatabase[];
  readonly liveStamps: LiveStamps;
  /** Of a capture that goes to a vault. */
  readonly vault?: CapturedPacks;
}

export interface CapturedPacks {
  /** By their numbers in the index: every pack that a run names. */
  readonly packs: readonly (readonly [number: number, fact: ObjectFact])[];
  /** Of new packs. */
  readonly addedBytes: number;
}

export interface CaptureFacts {
  readonly databases: readonly ManifestDatabase[];
  readonly entries: readonly FileEntry[];
  readonly application: { readonly version: string; readonly modules: readonly string[] } | null;
}

const CAPTURE = 'capture.json';
const FACTS = 'facts.json';
const ENTRIES = 'entries.jsonl';
const NEWLINE = 0x0a;
const READ_BYTES = 64 * 1024;

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

/** @throws Stop manifest_invalid for more than a manifest may hold, no_space, io_error */
export async function writeEntries(partial: string, entries: Iterable<ManifestEntry>): Promise<void> {
  // Of a try whose store had changed under it
  await rm(join(partial, ENTRIES), { force: true });
  await writeText(
    partial,
    ENTRIES,
    lazily(entries, (entry) => `${JSON.stringify(entry)}\n`),
  );
}

/** An entry of a tree, as the snapshot step leaves it. */
export type CapturedEntry = ManifestEntry & Partial<CapturedInVault>;

/** What writeEntries wrote, as it is asked for. */
export function* readEntries(partial: string): Generator<CapturedEntry, void, undefined> {
  const file = openSync(join(partial, ENTRIES), 'r');
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    let begun = Buffer.alloc(0);
    for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer)) {
      const bytes = Buffer.concat([begun, buffer.subarray(0, read)]);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      for (const line of bytes.toString('utf8', 0, end).split('\n'))
        if (line !== '') yield JSON.parse(line) as CapturedEntry;
      begun = bytes.subarray(end);
    }
  } finally {
    closeSync(file);
  }
}

/** readEntries; at the end of it the file is removed. */
export function* takeEntries(partial: string): Generator<CapturedEntry, void, undefined> {
  yield* readEntries(partial);
  unlinkSync(join(partial, ENTRIES));
}

export async function removeCapture(partial: string): Promise<void> {
  await rm(join(partial, CAPTURE), { force: true });
  await rm(join(partial, FACTS), { force: true });
}
