// Step backup.package where backups go to a vault: manifest, signature, and the envelope, whose creation is the commit
// (docs/vault-format.md "Orders of writing"). Then the host remembers what it has.
import { join } from 'node:path';
import { now } from '../control/clock.js';
import { critical } from '../control/lock.js';
import { openVaultRoom, vaultReference } from '../control/vault-room.js';
import type { VaultRoom } from '../control/vault-room.js';
import { raiseWitnesses } from '../control/witnesses.js';
import { sumForeignKeys } from '../domain/foreign-keys.js';
import type { FileEntry, ManifestDatabase } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { ENVELOPE_FORMAT, OBJECTS, VAULT_MANIFEST_FORMAT } from '../domain/vault.js';
import type { Envelope, RunTuple, VaultBackupLine, VaultManifestLine } from '../domain/vault.js';
import { ChunkIndex } from '../vault/chunk-index.js';
import type { FilePlace, KnownFile } from '../vault/chunk-index.js';
import { commitEnvelope } from '../vault/envelopes.js';
import type { Head } from '../vault/envelopes.js';
import { readHead } from '../vault/head.js';
import { withdraw } from '../vault/intents.js';
import { ManifestWriter } from '../vault/manifest.js';
import type { ManifestWritten } from '../vault/manifest.js';
import { comparePlaces } from '../vault/manifest-check.js';
import { currentKey } from '../vault/trust.js';
import { readCapture, readEntries, readFacts } from './capture.js';
import type { Capture, CaptureFacts, CapturedEntry, CapturedPacks } from './capture.js';
import { manifestHead } from './manifest-head.js';
import type { PackageInput, Packaged } from './package.js';
import type { StepContext } from './step.js';

interface Parts {
  readonly input: PackageInput;
  readonly capture: Capture & { readonly vault: CapturedPacks };
  readonly facts: CaptureFacts;
  readonly vaultRoom: VaultRoom;
  /** Names of the store's roots. */
  readonly roots: readonly string[];
}

/** @throws Stop chain_moved, backup_vanished, and those of the rooms */
export async function publishInVault(name: string, input: PackageInput, context: StepContext): Promise<Packaged> {
  const { room, dependencies } = context;
  const { vault: captured, ...capture } = await readCapture(input.partial);
  if (captured === undefined) throw new Error('defect: a capture for a vault without its packs');
  const parts: Parts = {
    input,
    capture: { ...capture, vault: captured },
    facts: await readFacts(input.partial),
    vaultRoom: await openVaultRoom(dependencies, name),
    roots: room.definition.roots.map((root) => root.name),
  };
  const { vaultRoom, facts } = parts;
  const { place } = vaultRoom.vault;
  const { store } = room.definition;
  const before = await readHead(vaultRoom.vault, store, {
    known: await vaultRoom.seen.head(store),
    now: now(),
    toFollow: true,
  });
  const headOf = await manifestHead(input, context, capture, facts);
  const line: VaultBackupLine = { format: VAULT_MANIFEST_FORMAT, ...headOf((before?.number ?? 0) + 1) };
  const written = await writeManifest(parts, line);
  const envelope = envelopeOf(parts, line, written, before);
  const object = OBJECTS.manifest(store, line.number, line.backupId);
  if (!(await place.putNewFile(object, written.path))) throw new Error('defect: a backup id was used before');
  const reference = vaultReference({ vault: name, store, number: line.number });
  const head = await critical(room, input.grant, async (database) => {
    const committed = await commitEnvelope(vaultRoom.vault, envelope, signingKeyOf(vaultRoom));
    await noting(reference, () => {
      database.recordBackup(line.backupId, committed.sha256, reference);
      raiseWitnesses(database, facts.databases, line.backupId);
    });
    return committed;
  });
  await noting(reference, async () => {
    await vaultRoom.seen.sawHead(store, head);
    commitIndex(parts, store);
    await withdraw(place, input.operation);
  });
  const { files, sizeBytes } = written.totals;
  return {
    backupId: line.backupId,
    artefact: reference,
    manifestSha256: head.sha256,
    sizeBytes,
    files,
    databases: facts.databases.length,
    foreignKeys: sumForeignKeys(facts.databases),
    cut: line.cut,
  };
}

/** The backup exists from its envelope on: a refusal after that must not say that there is none. */
export async function noting(backup: string, work: () => void | Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const stop = translateErrno(error, { backup });
    if (!(stop instanceof Stop)) throw error;
    const { code, message } = stop;
    throw new Stop('backup_not_noted', `${backup} was made: ${message}`, { backup, reason: code }, { cause: error });
  }
}

/** @throws Stop definition_invalid on a host that only reads */
export function signingKeyOf({ settings }: VaultRoom): string {
  if (settings.signingKeyFile !== null) return settings.signingKeyFile;
  throw new Stop('definition_invalid', `the settings of vault ${settings.name} name no signingKeyFile`, {
    vault: settings.name,
  });
}

async function writeManifest(parts: Parts, backup: VaultBackupLine): Promise<ManifestWritten> {
  const { input, capture, facts, vaultRoom } = parts;
  const path = join(input.partial, 'manifest.age');
  const writer = await ManifestWriter.begin(path, currentKey(vaultRoom.vault).recipient);
  try {
    await writer.write({ backup });
    for (const database of facts.databases) await writer.write({ database });
    for (const line of linesOfEntries(parts)) await writer.write(line);
    return await writer.finish(capture.vault.packs.map(([, fact]) => fact));
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

type EntryLine = Extract<VaultManifestLine, { readonly directory: unknown } | { readonly file: unknown }>;

/** In the order of the format. The entries of a root lie sorted in three lists, which are merged: none is in memory whole. */
function* linesOfEntries({ input, capture, facts, roots }: Parts): Generator<EntryLine, void, undefined> {
  const numbers = new Map(capture.vault.packs.map(([number], index) => [number, index]));
  const runsOf = (runs: readonly RunTuple[] | undefined): RunTuple[] => {
    if (runs === undefined) throw new Error('defect: a file in a vault without its runs');
    return runs.map(([number, ...rest]) => {
      const pack = numbers.get(number);
      if (pack === undefined) throw new Error(`defect: pack ${number} was not captured`);
      return [pack, ...rest];
    });
  };
  const captured = new Map(capture.databases.map(({ root, path, runs }) => [`${root}/${path}`, runs]));
  for (const name of roots.toSorted()) {
    const ofType = function* (type: CapturedEntry['type']): Generator<CapturedEntry, void, undefined> {
      for (const entry of readEntries(input.partial)) if (entry.root === name && entry.type === type) yield entry;
    };
    const databases: readonly CapturedEntry[] = facts.entries
      .filter(({ root }) => root === name)
      .toSorted(comparePlaces);
    for (const entry of merged<CapturedEntry>([ofType('directory'), ofType('file'), databases.values()])) {
      const { runs, stamp: _, ...rest } = entry;
      if (rest.type === 'directory') {
        const { type: __, ...directory } = rest;
        yield { directory };
      } else if (rest.type === 'file') yield { file: { ...rest, runs: runsOf(runs) } };
      else yield { file: { ...rest, runs: runsOf(captured.get(`${rest.root}/${rest.path}`)) } };
    }
  }
}

/** Sorted lists as one. */
function* merged<Item extends FilePlace>(lists: readonly Iterator<Item>[]): Generator<Item, void, undefined> {
  const heads = lists.map((list) => ({ list, next: list.next() }));
  for (;;) {
    let first: (typeof heads)[number] | null = null;
    for (const head of heads) {
      if (head.next.done === true) continue;
      if (first === null || comparePlaces(head.next.value, first.next.value as Item) < 0) first = head;
    }
    if (first === null || first.next.done === true) return;
    yield first.next.value;
    first.next = first.list.next();
  }
}

function envelopeOf(
  { capture, facts, vaultRoom }: Parts,
  line: VaultBackupLine,
  { sha256, sizeBytes, totals }: ManifestWritten,
  before: Head | null,
): Envelope {
  const { vault } = vaultRoom;
  const { store, number, backupId, operation, host, createdAt, holdfastVersion, platform, epoch } = line;
  const of = <Fact>(pick: (database: ManifestDatabase) => readonly Fact[]) =>
    facts.databases.flatMap((database) =>
      pick(database).map((fact) => ({ root: database.root, path: database.path, ...fact })),
    );
  return {
    format: ENVELOPE_FORMAT,
    vault: vault.description.vault,
    store,
    number,
    backupId,
    operation,
    host,
    createdAt,
    holdfastVersion,
    platform,
    epoch,
    previous: before?.sha256 ?? null,
    keyNumber: currentKey(vault).number,
    manifest: { sha256, sizeBytes },
    packs: capture.vault.packs.map(([, fact]) => fact),
    totals: {
      files: totals.files,
      databases: totals.databases,
      sizeBytes: totals.sizeBytes,
      addedBytes: capture.vault.addedBytes + sizeBytes,
    },
    witnesses: {
      sequences: of(({ sequences }) => sequences),
      appendOnly: of(({ appendOnly }) => appendOnly),
    },
    generation: 0,
  };
}

/** Without it the next backup would write again what this one has written. */
function commitIndex({ input, capture, facts, vaultRoom }: Parts, store: string): void {
  const index = new ChunkIndex(vaultRoom.indexPath, vaultRoom.vault.description.vault);
  try {
    index.commit(store, knownFiles(input.partial, capture, facts));
  } finally {
    index.close();
  }
}

function* knownFiles(
  partial: string,
  capture: Capture,
  facts: CaptureFacts,
): Generator<FilePlace & KnownFile, void, undefined> {
  const described = new Map(facts.databases.map((database) => [`${database.root}/${database.path}`, database]));
  for (const { root, path, sizeBytes, sha256, runs, stamp } of capture.databases) {
    if (runs === undefined || stamp === undefined) continue;
    yield { root, path, sizeBytes, sha256, runs, stamp, facts: JSON.stringify(described.get(`${root}/${path}`)) };
  }
  for (const entry of readEntries(partial)) {
    if (entry.type === 'directory' || entry.runs === undefined) continue;
    const { root, path, sizeBytes, sha256, runs, stamp = '' } = entry as FileEntry & CapturedEntry;
    if (runs !== undefined) yield { root, path, sizeBytes, sha256, runs, stamp, facts: '' };
  }
}
