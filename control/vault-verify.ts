// Verification of a store's backups in a vault: of one, or of all that there are, in one of three depths
// (docs/protocols/verify.md). Whatever is wrong is told at once, with every backup that it harms: Stop vault_damaged.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { sumForeignKeys } from '../domain/foreign-keys.js';
import type { ForeignKeysSum } from '../domain/foreign-keys.js';
import type { FileEntry } from '../domain/manifest.js';
import type { SampleReport, VerifyDepth } from '../domain/protocol.js';
import { STOPS, Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { Envelope, ObjectFact, VaultFileEntry } from '../domain/vault.js';
import { findInVault } from '../vault/catalogue.js';
import { ChunkIndex } from '../vault/chunk-index.js';
import { Damage, objectOf } from '../vault/damage.js';
import { readCountersignatures } from '../vault/countersignatures.js';
import { readChain, readEnvelope } from '../vault/envelopes.js';
import type { Chain, Head } from '../vault/envelopes.js';
import { openVaultKeys, readIdentities } from '../vault/keys.js';
import { foreignObjects } from '../vault/layout.js';
import { checkSealed } from '../vault/sealed-check.js';
import type { BackupSource } from './backup-source.js';
import { now } from './clock.js';
import { countersignAll } from './countersigning.js';
import { sourceOf } from './vault-backup.js';
import { sampleOf } from './vault-sample.js';
import { openVaultRoom, vaultReference } from './vault-room.js';
import type { HostDirectories, VaultReference, VaultRoom } from './vault-room.js';

/** Names every backup of the store. */
export const ALL = 'all';

export interface VaultVerification {
  /** Name of the settings. */
  readonly vault: string;
  readonly store: string;
  /** Number, id, unique prefix of one, `latest`, or `all`. */
  readonly reference: string;
  readonly depth: VerifyDepth;
  readonly seed: string;
  /** sha256 of the envelope that this host wrote for a backup id; undefined: it wrote none. */
  readonly witness: (backupId: string) => Promise<string | undefined>;
  readonly signal: AbortSignal;
  readonly report: (progress: Reported) => void;
}

interface Reported {
  readonly phase?: string;
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  readonly filesDone?: number;
  readonly filesTotal?: number;
}

/** Sums over all backups that were verified; ids and digests are those of the newest. */
export interface VaultVerified {
  readonly backupId: string;
  readonly artefact: string;
  readonly manifestSha256: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly databases: number;
  readonly foreignKeys?: ForeignKeysSum;
  readonly depth: VerifyDepth;
  readonly backups: number;
  readonly packs: number;
  readonly packBytes: number;
  readonly sample?: SampleReport;
  /** Of depth `full` it is the databases' turn first. */
  readonly countersigned: boolean;
}

const FILES_TOLD_MAX = 100;
/** Keys that are no longer believed, or not yet: their signatures are as they were. */
const GIVEN_UP: ReadonlySet<string> = new Set(['signer_unknown', 'signer_revoked', 'signer_expired']);

/**
 * Everything but the databases' own integrity.
 * @throws Stop vault_damaged; artefact_missing, ambiguous_intent; identity_missing, vault_sealed; those of openVaultRoom
 */
export async function verifyInVault(host: HostDirectories, verification: VaultVerification): Promise<VaultVerified> {
  const { vault, store, depth } = verification;
  const vaultRoom = await openVaultRoom(host, vault);
  const chain = await readChain(vaultRoom.vault, store, { now: now(), known: await vaultRoom.seen.head(store) });
  const numbers = await numbersOf(vaultRoom, chain, verification);
  const check = new Check(host, vaultRoom, verification);
  check.damage.addChain(chain, numbers);
  await check.layout();
  const envelopes = await check.sealed(believedOf(chain, numbers));
  const content = depth === 'ciphertext' ? {} : await check.contents(envelopes);
  if (check.damage.isFound) {
    await check.damage.findHarmed(vaultRoom.vault, now());
    forgetDamaged(vaultRoom, check.damage.packs);
    throw check.damage.stop(vaultRoom.vault);
  }
  const newest = envelopes.at(-1);
  if (newest === undefined) throw new Error('defect: no backup was verified, and nothing was wrong');
  await vaultRoom.seen.sawHead(store, newest);
  return {
    backupId: newest.backupId,
    artefact: vaultReference({ vault, store, number: newest.number }),
    manifestSha256: newest.sha256,
    ...check.totals,
    ...content,
    depth,
    backups: envelopes.length,
    countersigned: depth === 'sample' && (await countersignAll(vaultRoom, store, envelopes, depth)),
  };
}

/** The numbers that are meant, of those that there are or were. */
async function numbersOf(
  { vault, seen }: VaultRoom,
  { store, entries, head, stop }: Chain,
  { reference }: VaultVerification,
): Promise<readonly number[]> {
  const missing = (): Stop =>
    new Stop('artefact_missing', `the vault holds no backup ${reference} of ${store}`, {
      vault: vault.place.location,
      store,
      reference,
    });
  if (reference === ALL || reference === 'latest') {
    // Where all have vanished it is damage to tell
    if (head === null && stop === null) throw missing();
    if (reference === 'latest') return head === null ? [] : [head.number];
    return entries.map(({ number }) => number);
  }
  const found = await findInVault(vault, store, reference, { now: now(), known: await seen.head(store) });
  if (!entries.some(({ number, stop: own }) => number <= found && found <= toOf(own, number))) throw missing();
  return [found];
}

/** Numbers that are absent side by side are one entry. */
function toOf(stop: Stop | null, number: number): number {
  const to = stop?.details['to'];
  return typeof to === 'number' ? to : number;
}

/** Whom the chain believes; that another is missing before it does not harm its bytes. */
function believedOf({ entries }: Chain, numbers: readonly number[]): readonly number[] {
  return entries
    .filter(
      ({ number, sha256, stop }) =>
        sha256 !== null && (stop === null || stop.code === 'chain_broken') && numbers.includes(number),
    )
    .map(({ number }) => number);
}

type Verified = Head & Pick<Envelope, 'backupId'>;

class Check {
  readonly damage = new Damage();
  readonly #host: HostDirectories;
  readonly #vaultRoom: VaultRoom;
  readonly #verification: VaultVerification;
  #totals = { files: 0, databases: 0, sizeBytes: 0, packs: 0, packBytes: 0 };

  constructor(host: HostDirectories, vaultRoom: VaultRoom, verification: VaultVerification) {
    this.#host = host;
    this.#vaultRoom = vaultRoom;
    this.#verification = verification;
  }

  get totals(): { files: number; databases: number; sizeBytes: number; packs: number; packBytes: number } {
    return this.#totals;
  }

  async layout(): Promise<void> {
    for await (const object of foreignObjects(this.#vaultRoom.vault.place))
      this.damage.add(object, new Stop('vault_object_foreign', `${object} does not belong there`));
  }

  /** Depth `ciphertext`. @returns the backups, oldest first */
  async sealed(numbers: readonly number[]): Promise<readonly Verified[]> {
    const { signal, report } = this.#verification;
    const verified: Verified[] = [];
    const { packs, packBytes } = await checkSealed(this.#vaultRoom.vault, this.#envelopes(numbers, verified), {
      damage: this.damage,
      signal,
      onTotal: (bytesTotal, filesTotal) => report({ phase: 'hash what is sealed', bytesTotal, filesTotal }),
      onProgress: (bytesDone, filesDone) => report({ bytesDone, filesDone }),
    });
    this.#totals = { ...this.#totals, packs, packBytes };
    return verified;
  }

  async *#envelopes(numbers: readonly number[], verified: Verified[]): AsyncGenerator<Envelope, void, undefined> {
    const { store, witness } = this.#verification;
    for (const number of numbers) {
      const { envelope, sha256 } = await readEnvelope(this.#vaultRoom.vault, store, number, { now: now() });
      const { backupId, totals } = envelope;
      const written = await witness(backupId);
      if (written !== undefined && written !== sha256)
        this.damage.add(
          OBJECTS.envelope(store, number),
          new Stop('checksum_mismatch', `envelope ${number} of ${store} is not the one that was written here`),
        );
      await this.#countersignatures(number, sha256);
      verified.push({ number, sha256, backupId });
      const { files, databases, sizeBytes } = this.#totals;
      this.#totals = {
        ...this.#totals,
        files: files + totals.files,
        databases: databases + totals.databases,
        sizeBytes: sizeBytes + totals.sizeBytes,
      };
      yield envelope;
    }
  }

  /** One that is not what was written vouches for nothing, and harms no backup; somebody has changed it all the same. */
  async #countersignatures(number: number, sha256: string): Promise<void> {
    const { vault } = this.#vaultRoom;
    for (const { object, stop } of await readCountersignatures(vault, this.#backup(number), sha256, now()))
      if (stop !== null && !GIVEN_UP.has(stop.code)) this.damage.add(object, stop);
  }

  #backup(number: number): VaultReference {
    const { vault, store } = this.#verification;
    return { vault, store, number };
  }

  /** Depths `sample` and `full`: every run of the files is put together, and held to the file's digest. */
  async contents(
    verified: readonly Verified[],
  ): Promise<{ readonly foreignKeys?: ForeignKeysSum; readonly sample?: SampleReport }> {
    const { depth, seed, store, signal } = this.#verification;
    const foreignKeys = { violations: 0, mismatchedTables: 0 };
    const sample = { files: 0, listed: [] as string[] };
    let before: ReadonlySet<string> = new Set();
    try {
      const identities = await this.#identities();
      for (const { number, backupId } of verified) {
        if (this.damage.has(OBJECTS.manifest(store, number, backupId))) continue;
        const source = await this.#open(number, backupId, identities);
        if (source === null) continue;
        const sum = sumForeignKeys(source.manifest.databases);
        foreignKeys.violations += sum.violations;
        foreignKeys.mismatchedTables += sum.mismatchedTables;
        const all = source.manifest.entries.filter((entry): entry is FileEntry => entry.type !== 'directory');
        const files = depth === 'sample' ? await sampleOf(all, seed) : all;
        sample.files += files.length;
        for (const { root, path } of files.slice(0, FILES_TOLD_MAX - sample.listed.length))
          sample.listed.push(`${number}:${root}/${path}`);
        before = await this.#contentsOf(number, source, files, before);
      }
    } catch (error) {
      // What is damaged already may well be why
      if (!this.damage.isFound || signal.aborted) throw error;
    }
    return { foreignKeys, ...(depth === 'sample' && { sample: { seed, ...sample } }) };
  }

  /** Once for all backups: a command may ask a person. Keys that are damaged are told, those that nothing needs too. */
  async #identities(): Promise<readonly string[]> {
    const { settings, vault } = this.#vaultRoom;
    const { found, damaged } = await openVaultKeys(vault, await readIdentities(settings, process.env));
    for (const stop of damaged) this.damage.add(objectOf(stop, 'keys'), stop);
    if (found.length > 0 || damaged.length > 0) return found;
    throw new Stop('vault_sealed', 'none of the identities opens a key of the vault');
  }

  /** null: it can't be read, which is damage. */
  async #open(number: number, backupId: string, identities: readonly string[]): Promise<BackupSource | null> {
    const { store } = this.#verification;
    try {
      return await sourceOf(this.#host, this.#vaultRoom, this.#backup(number), { identities });
    } catch (error) {
      if (!(error instanceof Stop) || (error.code !== 'vault_invalid' && error.code !== 'path_unsafe')) throw error;
      this.damage.add(objectOf(error, OBJECTS.manifest(store, number, backupId)), error);
      return null;
    }
  }

  /**
   * @param before what the backup before was put together from: the same need not be put together again
   * @returns the same of this one
   */
  async #contentsOf(
    number: number,
    source: BackupSource,
    files: readonly FileEntry[],
    before: ReadonlySet<string>,
  ): Promise<ReadonlySet<string>> {
    const { store, signal, report } = this.#verification;
    const { envelope } = await readEnvelope(this.#vaultRoom.vault, store, number, { now: now() });
    const keys = new Map(files.map((file) => [file, keyOf(file, envelope.packs)]));
    const wanted = files.filter((file) => !before.has(keys.get(file) ?? ''));
    report({
      phase: `hash contents of backup ${number}`,
      bytesTotal: wanted.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      filesTotal: wanted.length,
    });
    const options = {
      signal,
      onProgress: (bytesDone: number, filesDone: number) => report({ bytesDone, filesDone }),
    };
    const manifest = OBJECTS.manifest(store, number, envelope.backupId);
    const sound = new Set(keys.values());
    await source.check(wanted, options, ({ name, stop }) => {
      // What hinders us from reading is no damage, unless it is known to be
      if (STOPS[stop.code].exit !== 65 && !this.damage.isFound) throw stop;
      this.damage.harmsFile(`${number}:${name}`);
      this.damage.harms({ store, number });
      this.damage.add(objectOf(stop, manifest), stop);
      sound.clear();
    });
    return sound;
  }
}

/** A pack that is damaged would be reused for ever: this host's next backup writes its chunks anew. */
function forgetDamaged({ vault, indexPath }: VaultRoom, packs: readonly string[]): void {
  if (packs.length === 0 || !existsSync(indexPath)) return;
  const index = new ChunkIndex(indexPath, vault.description.vault);
  try {
    index.forgetPacks(packs);
  } finally {
    index.close();
  }
}

/** Tells what a file is put together from; its content is then known. */
function keyOf(file: FileEntry, packs: readonly ObjectFact[]): string {
  const { runs } = file as VaultFileEntry;
  const parts = runs.map(([pack, ...run]) => [packs[pack]?.sha256, ...run]);
  return createHash('sha256')
    .update(JSON.stringify([file.sha256, parts]))
    .digest('base64');
}
