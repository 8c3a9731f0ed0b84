// A backup in a vault, as the steps that read backups see it (backup-source.ts).
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Adopted } from '../domain/adoption.js';
import { MANIFEST_FORMAT } from '../domain/manifest.js';
import type { FileEntry, Manifest, ManifestDatabase, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { Envelope, VaultBackupLine, VaultFileEntry, VaultManifestLine } from '../domain/vault.js';
import type { ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import { findInVault } from '../vault/catalogue.js';
import { entriesOf } from '../vault/entries.js';
import { readEnvelope } from '../vault/envelopes.js';
import { manifestFile, readManifest } from '../vault/manifest.js';
import { checkFiles, unpackFiles } from '../vault/unpacker.js';
import type { UnpackJob } from '../vault/unpacker.js';
import type { BackupSource, BackupView } from './backup-source.js';
import { now } from './clock.js';
import { withScratchDirectory } from './scratch.js';
import { identitiesOf, openVaultRoom, vaultReference } from './vault-room.js';
import type { HostDirectories, VaultReference, VaultRoom } from './vault-room.js';

/** @throws Stop artefact_missing, ambiguous_intent, and those of openVaultRoom */
export async function locateVaultBackup(
  host: HostDirectories,
  vault: string,
  store: string,
  reference: string,
  adopt?: string,
): Promise<VaultReference> {
  const room = await openVaultRoom(host, vault);
  const known = await room.seen.head(store);
  const number = await findInVault(room.vault, store, reference, { now: now(), known, adopt });
  return { vault, store, number };
}

/** An envelope that is believed, or adopted, and what opens the rest. */
interface Sealed {
  readonly vaultRoom: VaultRoom;
  readonly envelope: Envelope;
  readonly sha256: string;
  readonly adopted: Adopted | null;
  readonly identities: readonly string[];
}

interface Opening {
  /** Of the vault's keys, where they are known. */
  readonly identities?: readonly string[];
  /** As readEnvelope has it. */
  readonly adopt?: string | undefined;
}

async function openSealed(
  vaultRoom: VaultRoom,
  { store, number }: VaultReference,
  { identities, adopt }: Opening,
): Promise<Sealed> {
  const believed = await readEnvelope(vaultRoom.vault, store, number, { now: now(), adopt });
  return { vaultRoom, ...believed, identities: identities ?? (await identitiesOf(vaultRoom)) };
}

/**
 * To look into, without its whole manifest in memory.
 * @throws Stop of openVaultBackup
 */
export async function viewVaultBackup(
  host: HostDirectories,
  reference: VaultReference,
  adopt?: string,
): Promise<BackupView> {
  const sealed = await openSealed(await openVaultRoom(host, reference.vault), reference, { adopt });
  return {
    path: vaultReference(reference),
    manifestSha256: sealed.sha256,
    head: await firstLineOf(sealed),
    entries: () => entriesOf(linesOf(sealed)),
    extract: (files, targetOf, options) => unpackFiles(jobsOf(files, targetOf), { ...options, ...placeOf(sealed) }),
  };
}

async function firstLineOf(sealed: Sealed): Promise<VaultBackupLine> {
  for await (const line of linesOf(sealed)) if ('backup' in line) return line.backup;
  throw new Error('defect: a manifest was read without its first line');
}

/** @throws Stop of openVaultRoom, readEnvelope, readManifest; identity_missing, vault_sealed */
export async function openVaultBackup(
  host: HostDirectories,
  reference: VaultReference,
  adopt?: string,
): Promise<BackupSource> {
  return sourceOf(host, await openVaultRoom(host, reference.vault), reference, { adopt });
}

/** As openVaultBackup, of a vault that is open. */
export async function sourceOf(
  host: HostDirectories,
  vaultRoom: VaultRoom,
  reference: VaultReference,
  opening: Opening = {},
): Promise<BackupSource> {
  const sealed = await openSealed(vaultRoom, reference, opening);
  const { envelope, sha256, adopted } = sealed;
  const { packs } = envelope;
  const { place } = vaultRoom.vault;
  const manifest = await manifestOf(sealed);
  const source: BackupSource = {
    path: vaultReference(reference),
    manifest,
    manifestSha256: sha256,
    ...(adopted !== null && { adopted }),
    async assertWhole() {
      for (const fact of packs) {
        const name = OBJECTS.pack(fact.sha256);
        const sizeBytes = await place.sizeOf(name);
        if (sizeBytes === null) throw new Stop('vault_object_missing', `${name} is missing`, { object: name });
        if (sizeBytes !== fact.sizeBytes)
          throw new Stop('vault_invalid', `${name} has ${sizeBytes} bytes, and not ${fact.sizeBytes}`, {
            object: name,
          });
      }
    },
    extract: (files, targetOf, options) => unpackFiles(jobsOf(files, targetOf), { ...options, ...placeOf(sealed) }),
    check: (files, options, onFault) => checkFiles(jobsOf(files), { ...options, ...placeOf(sealed) }, onFault),
    withDatabases: (databases, options, work) => withScratch(host, source, databases, options, work),
  };
  return source;
}

const placeOf = ({ vaultRoom, envelope, identities }: Sealed) => ({
  place: vaultRoom.vault.place,
  packs: envelope.packs,
  identities,
});

function jobsOf(files: readonly FileEntry[], targetOf?: (entry: FileEntry) => string): Iterable<UnpackJob> {
  return lazily(files, (entry) => ({
    name: `${entry.root}/${entry.path}`,
    sizeBytes: entry.sizeBytes,
    sha256: entry.sha256,
    runs: runsOf(entry),
    ...(targetOf !== undefined && { target: targetOf(entry) }),
  }));
}

function runsOf(entry: FileEntry): VaultFileEntry['runs'] {
  if (!('runs' in entry)) throw new Error('defect: a file of a vault without its runs');
  return (entry as VaultFileEntry).runs;
}

let lastRead: { readonly sha256: string; readonly manifest: WeakRef<Manifest> } | undefined;

/** @throws Stop vault_object_missing, vault_invalid, vault_sealed */
async function* linesOf({ vaultRoom, envelope, identities }: Sealed): AsyncGenerator<VaultManifestLine> {
  const { place } = vaultRoom.vault;
  const { store, number, backupId } = envelope;
  const name = OBJECTS.manifest(store, number, backupId);
  if ((await place.sizeOf(name)) === null)
    throw new Stop('vault_object_missing', `${name} is missing`, { object: name });
  yield* readManifest(manifestFile(await place.localPath(name)), { name, envelope, identities });
}

/** Every step of a protocol reads the manifest anew; the same one needs to be understood only once. */
async function manifestOf(sealed: Sealed): Promise<Manifest> {
  const { sha256 } = sealed;
  const known = lastRead?.sha256 === sha256 ? lastRead.manifest.deref() : undefined;
  if (known !== undefined) return known;
  let backup: VaultBackupLine | undefined;
  const databases: ManifestDatabase[] = [];
  const entries: ManifestEntry[] = [];
  for await (const line of linesOf(sealed)) {
    if ('backup' in line) ({ backup } = line);
    else if ('database' in line) databases.push(line.database);
    else if ('directory' in line) entries.push({ type: 'directory', ...line.directory });
    else if ('file' in line) entries.push(line.file);
  }
  if (backup === undefined) throw new Error('defect: a manifest was read without its first line');
  const manifest: Manifest = { ...backup, format: MANIFEST_FORMAT, databases, entries };
  lastRead = { sha256, manifest: new WeakRef(manifest) };
  return manifest;
}

/** SQLite needs files: databases that are only checked are put together in a directory that is removed again. */
async function withScratch<T>(
  host: HostDirectories,
  source: BackupSource,
  databases: readonly FileEntry[],
  options: ReadOptions,
  work: (place: (root: string, path: string) => string) => Promise<T>,
): Promise<T> {
  return withScratchDirectory(host, async (scratch) => {
    const place = (root: string, path: string): string => join(scratch, root, path);
    for (const { root, path } of databases) await mkdir(dirname(place(root, path)), { recursive: true, mode: 0o700 });
    await source.extract(databases, ({ root, path }) => place(root, path), options);
    return work(place);
  });
}
