// Steps verify.bytes, verify.databases, restore.verify and rollback.verify: bytes are hashed again where they lie now.
import { randomUUID } from 'node:crypto';
import { isAbsolute, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openBackup, pathOfBackup, resolveBackup } from '../control/backup-source.js';
import type { BackupSource } from '../control/backup-source.js';
import { formerDigest } from '../control/former.js';
import { withPresentControlDatabase } from '../control/control-database.js';
import { runHook } from '../control/hooks.js';
import type { StoreRoom } from '../control/store-room.js';
import { parseVaultReference } from '../control/vault-room.js';
import { verifyVaultDatabases } from '../control/vault-verify-databases.js';
import { ALL, verifyInVault } from '../control/vault-verify.js';
import { timeOfReference } from '../domain/backup-reference.js';
import { canonicalJson } from '../domain/canonical.js';
import type { StoreDefinition } from '../domain/definition.js';
import { assertForeignKeys, sumForeignKeys } from '../domain/foreign-keys.js';
import type { FileEntry, ManifestDatabase, ManifestEntry, Metadata } from '../domain/manifest.js';
import type { VerifyDepth, VerifyReport } from '../domain/protocol.js';
import { STOPS, Stop } from '../domain/stop.js';
import { hashEach } from '../files/copy.js';
import type { HashJob, ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import { readMetadata } from '../files/metadata.js';
import { readLiveFacts } from '../sqlite/live.js';
import { UNLISTED, factsRequest, listedDefinition } from './members.js';
import { readPlannedBackup, readPlannedPoint } from './planned.js';
import type { PlannedInput } from './stage.js';
import { step } from './step.js';
import type { ActivityDependencies, StepContext, StepInput } from './step.js';
import { checkDatabasesOf } from './validate.js';

const ENTRIES_PER_TURN = 500;

export interface VerifyBytesInput extends StepInput {
  readonly backup: string;
  /** Absent in orders of before there were depths: `full`. */
  readonly depth?: VerifyDepth;
  readonly seed?: string;
}

type BytesVerified = Omit<VerifyReport, 'protocol' | 'operation' | 'store' | 'steps'>;

/** Step verify.bytes. */
export const verifyBytes = (dependencies: ActivityDependencies) =>
  step(dependencies, (input: VerifyBytesInput, context) => verifyBackup(input, context), { alone: true });

async function verifyBackup(input: VerifyBytesInput, context: StepContext): Promise<BytesVerified> {
  const { report, signal, dependencies } = context;
  const { definition } = context.room;
  const { store, depth = 'full', seed = randomUUID() } = input;
  const backup =
    timeOfReference(input.backup) === null
      ? input.backup
      : await pathOfBackup(dependencies, definition, store, input.backup);
  const inVault = inVaultOf(definition, store, backup);
  if (inVault === null) return verifyArtefact({ ...input, backup }, context);
  const witness = (backupId: string): Promise<string | undefined> => witnessOf(context, backupId);
  return verifyInVault(dependencies, { ...inVault, store, depth, seed, witness, signal, report });
}

/**
 * Which vault a backup is in, and what it is called there; null: it is in a directory.
 * @throws Stop store_differs
 */
function inVaultOf(
  { backup: { vault } }: StoreDefinition,
  store: string,
  backup: string,
): { readonly vault: string; readonly reference: string } | null {
  const reference = parseVaultReference(backup);
  if (reference !== null) {
    assertStore(store, backup, reference.store);
    return { vault: reference.vault, reference: String(reference.number) };
  }
  return vault === undefined || isAbsolute(backup) ? null : { vault, reference: backup };
}

function assertStore(store: string, backup: string, found: string): void {
  if (found !== store) throw new Stop('store_differs', `the backup is of store ${found}`, { backup, store: found });
}

/** Backups are verified also where the store is lost, or not mounted. */
function witnessOf({ room }: StepContext, backupId: string): Promise<string | undefined> {
  return withPresentControlDatabase(
    room.controlDirectory,
    (database) => database.manifestWitness(backupId),
    () => undefined,
  );
}

/** Of a backup in a directory, of which nothing can be known but by all of it. @throws Stop usage */
async function verifyArtefact(
  { backup, depth = 'full', store }: VerifyBytesInput,
  context: StepContext,
): Promise<BytesVerified> {
  if (depth !== 'full' || backup === ALL)
    throw new Stop('usage', `a backup in a directory is verified by itself, and in full`, { backup, depth });
  const artefact = await resolveBackup(context.dependencies, context.room.definition, store, backup);
  const { backupId, databases, entries } = artefact.manifest;
  assertStore(store, backupId, artefact.manifest.store);
  const witness = await witnessOf(context, backupId);
  if (witness !== undefined && witness !== artefact.manifestSha256) {
    throw new Stop('checksum_mismatch', 'the manifest is not the one that was written here', {
      path: artefact.path,
      written: witness,
      found: artefact.manifestSha256,
    });
  }
  await artefact.assertWhole();
  const files = filesOf(entries);
  await artefact.check(files, reporting(context, files), ({ stop }) => {
    throw stop;
  });
  return {
    backupId,
    artefact: artefact.path,
    manifestSha256: artefact.manifestSha256,
    sizeBytes: files.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    files: files.length,
    databases: databases.length,
    foreignKeys: sumForeignKeys(databases),
    depth,
    backups: 1,
    countersigned: false,
  };
}

export interface VerifyDatabasesInput extends StepInput {
  readonly artefact: string;
  readonly manifestSha256: string;
  /** As it was asked for, and how many that were. */
  readonly backup?: string;
  readonly backups?: number;
}

/** Step verify.databases. */
export const verifyDatabases = (dependencies: ActivityDependencies) =>
  step(
    dependencies,
    async (
      { artefact: path, manifestSha256, backup, backups = 1 }: VerifyDatabasesInput,
      context,
    ): Promise<{ readonly databases: number; readonly countersigned: boolean }> => {
      const reference = parseVaultReference(path);
      if (reference !== null)
        return verifyVaultDatabases(dependencies, {
          reference,
          sha256: manifestSha256,
          backups: backup === ALL ? backups : null,
          check: (source, databases) => checkSome(source, databases, context),
        });
      const artefact = await openBackup(dependencies, path);
      if (artefact.manifestSha256 !== manifestSha256)
        throw new Stop('checksum_mismatch', 'the manifest changed while it was verified', { path: artefact.path });
      const databases = filesOf(artefact.manifest.entries).filter(({ type }) => type === 'database');
      return { ...(await checkSome(artefact, databases, context)), countersigned: false };
    },
    { alone: true },
  );

function checkSome(
  source: BackupSource,
  databases: readonly FileEntry[],
  context: StepContext,
): Promise<{ readonly databases: number }> {
  const wanted = new Set(databases.map(({ root, path }) => `${root}/${path}`));
  const described = source.manifest.databases.filter(({ root, path }) => wanted.has(`${root}/${path}`));
  const manifest = { ...source.manifest, databases: described };
  return source.withDatabases(databases, { signal: context.signal }, (place) =>
    checkDatabasesOf({ manifest }, context, place),
  );
}

function filesOf(entries: readonly ManifestEntry[]): readonly FileEntry[] {
  return entries.filter((entry) => entry.type !== 'directory');
}

/** @throws Stop checksum_mismatch, file_missing */
async function hashAll(
  context: StepContext,
  files: readonly FileEntry[],
  place: (entry: FileEntry) => string,
): Promise<void> {
  const jobs = lazily(files, (entry): HashJob => ({
    source: place(entry),
    expected: { sizeBytes: entry.sizeBytes, sha256: entry.sha256 },
  }));
  await hashEach(jobs, reporting(context, files));
}

function reporting(context: StepContext, files: readonly FileEntry[]): ReadOptions {
  const bytesTotal = files.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  context.report({ phase: 'hash', bytesTotal, filesTotal: files.length });
  return {
    signal: context.signal,
    onProgress: (bytesDone, filesDone) => context.report({ bytesDone, filesDone }),
  };
}

/**
 * Step restore.verify: the live store is what the manifest says, by every byte of every file, by mode, owner and extended
 * attributes of files and directories, and by the times of files (whoever makes a file changes those of its directory);
 * then by the store's own word. After a migrate hook the databases are the application's again: their tables are asked
 * for instead.
 */
export const verifyLive = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, context) => {
    const { room, signal } = context;
    const { manifest } = await readPlannedBackup(context, input.plan);
    const migrated = room.definition.hooks.migrate !== undefined;
    const entries = manifest.entries.filter((entry) => !(migrated && entry.type === 'database'));
    await hashAll(context, filesOf(entries), (entry) => liveOf(room, entry));
    for (const [index, entry] of entries.entries()) {
      if (!staysInPlace(room, entry)) assertMetadata(liveOf(room, entry), entry);
      if (index % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await nextTurn();
    }
    if (migrated) await askForTables(room, manifest.databases, signal);
    const hook = room.definition.hooks.verify;
    if (hook !== undefined) await runHook('verify', hook, { store: input.store, operation: input.operation, signal });
  });

function liveOf(room: StoreRoom, entry: { readonly root: string; readonly path: string }): string {
  const root = room.roots.find(({ definition }) => definition.name === entry.root);
  if (root === undefined) throw new Error('defect: a restored root that the store does not have');
  return entry.path === '.' ? root.definition.path : join(root.definition.path, entry.path);
}

/** In mode `entries` the root itself is a mount point, or another's to give: what is in it is exchanged. */
function staysInPlace(room: StoreRoom, { root, path }: ManifestEntry): boolean {
  return path === '.' && room.roots.find(({ definition }) => definition.name === root)?.mode === 'entries';
}

function assertMetadata(path: string, entry: ManifestEntry): void {
  const compared = ({ mode, uid, gid, mtimeNanos, xattrs = {} }: Metadata) => ({
    mode,
    uid,
    gid,
    xattrs,
    ...(entry.type === 'directory' ? {} : { mtimeNanos }),
  });
  const [found, expected] = [compared(readMetadata(path)), compared(entry)];
  if (canonicalJson(found) !== canonicalJson(expected)) {
    throw new Stop(
      'checksum_mismatch',
      `${entry.path} does not have the mode, owner, attributes or time that the manifest records`,
      { path, found, expected },
    );
  }
}

async function askForTables(
  room: StoreRoom,
  databases: readonly ManifestDatabase[],
  signal: AbortSignal,
): Promise<void> {
  const facts = await readLiveFacts(
    databases.map((database) => {
      const { requiredTables } = listedDefinition(room, database.root, database.path) ?? UNLISTED;
      return factsRequest(liveOf(room, database), { ...UNLISTED, requiredTables }, true);
    }),
    // Fenced: nobody writes
    null,
    signal,
  );
  for (const [index, { path, foreignKeys }] of databases.entries()) {
    const found = facts[index];
    if (found === undefined || 'unreadable' in found) {
      const reason = found?.unreadable ?? 'io_error';
      // What the machine refuses is no fault of the migration
      const code = STOPS[reason].exit === 65 ? 'integrity_failed' : reason;
      throw new Stop(code, `${path} can't be read after the migration: ${reason}`, { path, reason });
    }
    // What the backup came with is no fault of the migration
    assertForeignKeys(path, found.facts.foreignKeys, foreignKeys);
  }
}

/** Step rollback.verify: what lies in the root is the very state that was kept. */
export const verifyPoint = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: PlannedInput, { room, signal }) => {
    const point = await readPlannedPoint(room, input.plan);
    for (const former of point.roots) {
      const path = liveOf(room, { root: former.root, path: '.' });
      const found = await formerDigest(path, { ...former.definition, path });
      if (found !== former.sha256)
        throw new Stop('checksum_mismatch', `${path} is not the state that was kept`, {
          path,
          expected: former.sha256,
          found,
        });
    }
    const hook = room.definition.hooks.verify;
    if (hook !== undefined && input.plan.source.databasesUnreadable.count === 0) {
      await runHook('verify', hook, { store: input.store, operation: input.operation, signal });
    }
  });
