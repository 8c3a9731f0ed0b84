// A backup in a vault, as the steps that read backups see it (backup-source.ts).
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MANIFEST_FORMAT } from '../domain/manifest.js';
import type { FileEntry, Manifest, ManifestDatabase, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { Envelope, VaultBackupLine, VaultFileEntry } from '../domain/vault.js';
import { ensureDirectory, removeTree } from '../files/durable.js';
import type { ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import { findInVault } from '../vault/catalogue.js';
import { readEnvelope } from '../vault/envelopes.js';
import { manifestFile, readManifest } from '../vault/manifest.js';
import { checkFiles, unpackFiles } from '../vault/unpacker.js';
import type { UnpackJob } from '../vault/unpacker.js';
import type { BackupSource } from './backup-source.js';
import { now } from './clock.js';
import { identitiesOf, openVaultRoom, vaultReference } from './vault-room.js';
import type { HostDirectories, VaultReference, VaultRoom } from './vault-room.js';

/** @throws Stop artefact_missing, ambiguous_intent, and those of openVaultBackup */
export async function resolveVaultBackup(
  host: HostDirectories,
  vault: string,
  store: string,
  reference: string,
): Promise<BackupSource> {
  const vaultRoom = await openVaultRoom(host, vault);
  const number = await findInVault(vaultRoom.vault, store, reference, {
    now: now(),
    known: await vaultRoom.known(store),
  });
  return sourceOf(host, vaultRoom, { vault, store, number });
}

/** @throws Stop of openVaultRoom, readEnvelope, readManifest; identity_missing, vault_sealed */
export async function openVaultBackup(host: HostDirectories, reference: VaultReference): Promise<BackupSource> {
  return sourceOf(host, await openVaultRoom(host, reference.vault), reference);
}

/** As openVaultBackup, of a vault that is open. */
export async function sourceOf(
  host: HostDirectories,
  vaultRoom: VaultRoom,
  reference: VaultReference,
): Promise<BackupSource> {
  const { place } = vaultRoom.vault;
  const { envelope, sha256 } = await readEnvelope(vaultRoom.vault, reference.store, reference.number, { now: now() });
  const identities = await identitiesOf(vaultRoom);
  const manifest = await manifestOf(vaultRoom, envelope, sha256, identities);
  const packs = envelope.packs;
  const jobs = (files: readonly FileEntry[], targetOf?: (entry: FileEntry) => string): Iterable<UnpackJob> =>
    lazily(files, (entry) => ({
      name: `${entry.root}/${entry.path}`,
      sizeBytes: entry.sizeBytes,
      sha256: entry.sha256,
      runs: runsOf(entry),
      ...(targetOf !== undefined && { target: targetOf(entry) }),
    }));
  const source: BackupSource = {
    path: vaultReference(reference),
    manifest,
    manifestSha256: sha256,
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
    extract: (files, targetOf, options) => unpackFiles(jobs(files, targetOf), { ...options, place, packs, identities }),
    check: (files, options, onFault) => checkFiles(jobs(files), { ...options, place, packs, identities }, onFault),
    withDatabases: (databases, options, work) => withScratch(host, source, databases, options, work),
  };
  return source;
}

function runsOf(entry: FileEntry): VaultFileEntry['runs'] {
  if (!('runs' in entry)) throw new Error('defect: a file of a vault without its runs');
  return (entry as VaultFileEntry).runs;
}

let lastRead: { readonly sha256: string; readonly manifest: WeakRef<Manifest> } | undefined;

/** Every step of a protocol reads the manifest anew; the same one needs to be understood only once. */
async function manifestOf(
  { vault: { place } }: VaultRoom,
  envelope: Envelope,
  sha256: string,
  identities: readonly string[],
): Promise<Manifest> {
  const known = lastRead?.sha256 === sha256 ? lastRead.manifest.deref() : undefined;
  if (known !== undefined) return known;
  const { store, number, backupId } = envelope;
  const name = OBJECTS.manifest(store, number, backupId);
  if ((await place.sizeOf(name)) === null)
    throw new Stop('vault_object_missing', `${name} is missing`, { object: name });
  const lines = readManifest(manifestFile(await place.localPath(name)), { name, envelope, identities });
  let backup: VaultBackupLine | undefined;
  const databases: ManifestDatabase[] = [];
  const entries: ManifestEntry[] = [];
  for await (const line of lines) {
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
  { stateDirectory }: HostDirectories,
  source: BackupSource,
  databases: readonly FileEntry[],
  options: ReadOptions,
  work: (place: (root: string, path: string) => string) => Promise<T>,
): Promise<T> {
  const scratch = join(stateDirectory, 'scratch', randomUUID());
  const place = (root: string, path: string): string => join(scratch, root, path);
  await ensureDirectory(scratch, 0o700);
  try {
    for (const { root, path } of databases) await mkdir(dirname(place(root, path)), { recursive: true, mode: 0o700 });
    await source.extract(databases, ({ root, path }) => place(root, path), options);
    return await work(place);
  } finally {
    await removeTree(scratch);
  }
}
