// Manifests of a vault for tests: lines that hold, a writer for them, and the envelope that belongs to them.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { ENVELOPE_FORMAT, VAULT_MANIFEST_FORMAT } from '../../domain/vault.js';
import type { Envelope, ObjectFact, VaultBackupLine, VaultFileEntry, VaultManifestLine } from '../../domain/vault.js';
import { ManifestWriter } from '../../vault/manifest.js';
import type { ManifestWritten } from '../../vault/manifest.js';

export const IDENTITY = await generateIdentity();
export const RECIPIENT = await identityToRecipient(IDENTITY);

export const SHA256 = 'a'.repeat(64);
export const METADATA = { mode: 0o644, uid: 1000, gid: 1000, mtimeNanos: '1700000000123456789' } as const;

export const BACKUP: VaultBackupLine = {
  format: VAULT_MANIFEST_FORMAT,
  layout: 'plain',
  backupId: '7f1c1f0e-0f5c-4c55-9f0e-3a1f8f6f0a01',
  number: 1,
  operation: '7f1c1f0e-0f5c-4c55-9f0e-3a1f8f6f0a02',
  store: 'shop',
  createdAt: '2026-01-02T03:04:05.000Z',
  createdBy: 'somebody',
  host: 'alpha',
  holdfastVersion: '0.1.0',
  platform: { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3.50.0' },
  application: null,
  epoch: null,
  cut: {
    instant: '2026-01-02T03:04:05.000000Z',
    pauseMillis: 1.5,
    rollbackJournalPauseMillis: 0,
    quiescedMillis: 0,
    lockTries: 1,
    cutTries: 1,
    pinMillis: 2,
    policies: [],
  },
};

export const database = (root: string, path: string): VaultManifestLine => ({
  database: {
    root,
    path,
    pageSizeBytes: 4096,
    journalMode: 'wal',
    tables: [{ name: 't', rows: 1 }],
    sequences: [{ table: 't', column: 'id', value: '9223372036854775807' }],
    appendOnly: [],
    migrations: null,
    integrityCheckedAt: '2026-01-02T03:04:05.000Z',
    liveStamp: null,
  },
});

export const directory = (root: string, path: string): VaultManifestLine => ({
  directory: { root, path, ...METADATA, mode: 0o755 },
});

export const file = (root: string, path: string, changes: Partial<VaultFileEntry> = {}): VaultManifestLine => ({
  file: { type: 'file', root, path, sizeBytes: 10, sha256: SHA256, ...METADATA, runs: [[0, 0, 20, 10]], ...changes },
});

/** A few lines of every kind, in order. */
export const LINES: readonly VaultManifestLine[] = [
  { backup: BACKUP },
  database('data', 'app.db'),
  directory('data', '.'),
  file('data', '-rf', { sizeBytes: 0, runs: [] }),
  file('data', 'app.db', {
    type: 'database',
    sizeBytes: 30,
    runs: [
      [0, 20, 30, 16],
      [1, 0, 5, 14],
    ],
  }),
  directory('data', 'm'),
  file('data', 'm-1'),
  file('data', 'm/a \'b\'\n"c"', { xattrs: { 'user.note': 'aGVsbG8=' } }),
];
export const PACKS: readonly ObjectFact[] = [
  { sha256: 'b'.repeat(64), sizeBytes: 1000 },
  { sha256: 'c'.repeat(64), sizeBytes: 1000 },
];

/** Only what a manifest is held against matters here. */
export function envelopeOf(
  manifest: ObjectFact,
  packs: readonly ObjectFact[],
  totals: { readonly files: number; readonly databases: number; readonly sizeBytes: number },
): Envelope {
  const { backupId, store, number, operation, host, createdAt, holdfastVersion, platform, epoch } = BACKUP;
  return {
    format: ENVELOPE_FORMAT,
    vault: '7f1c1f0e-0f5c-4c55-9f0e-3a1f8f6f0a03',
    store,
    number,
    backupId,
    operation,
    host,
    createdAt,
    holdfastVersion,
    platform,
    epoch,
    previous: null,
    keyNumber: 1,
    manifest: { sha256: manifest.sha256, sizeBytes: manifest.sizeBytes },
    packs,
    totals: { ...totals, addedBytes: 0 },
    witnesses: { sequences: [], appendOnly: [] },
    generation: 0,
  };
}

/** @param spool a directory */
export async function writeManifest(
  spool: string,
  lines: Iterable<VaultManifestLine>,
  packs: readonly ObjectFact[],
): Promise<ManifestWritten> {
  const writer = await ManifestWriter.begin(join(spool, `${randomUUID()}.age`), RECIPIENT);
  try {
    for (const line of lines) await writer.write(line as Exclude<VaultManifestLine, { readonly end: unknown }>);
    return await writer.finish(packs);
  } catch (error) {
    await writer.discard();
    throw error;
  }
}
