// A vault of one store, written by hand from a tree: what recover.sh reads, with packs as small and as shared as a test
// wants them.
import { createHash, randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compress } from 'zstd-napi';
import { canonicalJson } from '../../domain/canonical.js';
import { OBJECTS, VAULT_FORMAT } from '../../domain/vault.js';
import type { ObjectFact, RunTuple, VaultManifestLine } from '../../domain/vault.js';
import { compareBytes } from '../../files/safe-path.js';
import { walkTree } from '../../files/walk.js';
import type { WalkedEntry } from '../../files/walk.js';
import { seal } from '../../vault/age-file.js';
import type { PackJob } from '../../vault/packer.js';
import { BACKUP, IDENTITY, RECIPIENT, database, envelopeOf, writeManifest } from './manifest-lines.js';
import { packReally } from './real-packer.js';
import type { Packed } from './real-packer.js';

export interface SmallVault {
  readonly directory: string;
  readonly packs: readonly ObjectFact[];
  /** Of the person. */
  readonly identityFile: string;
}

export interface SmallOptions {
  /** Given the path, how many bytes a chunk has. */
  readonly chunkBytes?: (path: string) => number;
  /** Plaintext of a pack. */
  readonly packBytes?: number;
  /** Extended attributes to write down, by path. */
  readonly xattrs?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** By the packer of the product: its chunks, its packs. */
  readonly isReal?: boolean;
  /** What a manifest says instead. */
  readonly alter?: (line: VaultManifestLine) => VaultManifestLine;
  /** Chunks that no backup has, before each one, as others leave them. */
  readonly hasStrangers?: boolean;
}

/** Chunks of a vault, each written once, in packs. */
class SmallPacker {
  readonly packs: ObjectFact[] = [];
  readonly #known = new Map<string, RunTuple>();
  readonly #vault: string;
  readonly #packBytes: number;
  #frames: Buffer[] = [];
  #length = 0;

  constructor(vault: string, packBytes: number) {
    this.#vault = vault;
    this.#packBytes = packBytes;
  }

  add(chunk: Buffer): RunTuple {
    const digest = createHash('sha256').update(chunk).digest('hex');
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const frame = compress(chunk, { compressionLevel: 1 });
    const run = [this.packs.length, this.#length, frame.length, chunk.length] as const;
    this.#frames.push(frame);
    this.#length += frame.length;
    this.#known.set(digest, run);
    return run;
  }

  /** Seals what is open once it is large enough. */
  async settle(isLast: boolean): Promise<void> {
    if (this.#length === 0 || (!isLast && this.#length < this.#packBytes)) return;
    const sealed = await seal(RECIPIENT, Buffer.concat(this.#frames));
    const sha256 = createHash('sha256').update(sealed).digest('hex');
    put(this.#vault, OBJECTS.pack(sha256), sealed);
    this.packs.push({ sha256, sizeBytes: sealed.length });
    this.#frames = [];
    this.#length = 0;
  }
}

function put(vault: string, name: string, bytes: Uint8Array | string): void {
  const path = join(vault, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

/** Runs that follow one another are one. */
function append(runs: RunTuple[], run: RunTuple): void {
  const last = runs.at(-1);
  if (last !== undefined && last[0] === run[0] && last[1] + last[2] === run[1])
    runs[runs.length - 1] = [last[0], last[1], last[2] + run[2], last[3] + run[3]];
  else runs.push(run);
}

async function packSmall(
  directory: string,
  jobs: readonly PackJob[],
  { chunkBytes = () => 1024 * 1024, packBytes = 16 * 1024 * 1024, hasStrangers }: SmallOptions,
): Promise<Packed> {
  const packer = new SmallPacker(directory, packBytes);
  const all: RunTuple[][] = [];
  for (const { source } of jobs) {
    const bytes = readFileSync(source);
    const runs: RunTuple[] = [];
    const size = chunkBytes(source);
    for (let from = 0; from < bytes.length; from += size) {
      if (hasStrangers === true) packer.add(Buffer.from(randomUUID()));
      append(runs, packer.add(bytes.subarray(from, from + size)));
      await packer.settle(false);
    }
    all.push(runs);
  }
  await packer.settle(true);
  return { packs: packer.packs, runs: all };
}

/**
 * @param directory of the vault to be
 * @param roots directories by the names of their roots; files whose names end with `.db` count as databases
 */
export async function makeSmallVault(
  directory: string,
  roots: Readonly<Record<string, string>>,
  options: SmallOptions = {},
): Promise<SmallVault> {
  const { xattrs = {}, alter = (line) => line, isReal } = options;
  const entries: { readonly root: string; readonly source: string; readonly entry: WalkedEntry }[] = [];
  for (const [root, path] of Object.entries(roots).sort(([left], [right]) => compareBytes(left, right)))
    for (const entry of await walkTree(path, { detectDatabases: false }))
      entries.push({ root, source: join(path, entry.path), entry });
  const kindOf = (path: string): 'database' | 'file' => (path.endsWith('.db') ? 'database' : 'file');
  const jobs = entries.flatMap(({ source, entry }) =>
    entry.kind === 'file' ? [{ source, kind: kindOf(entry.path) }] : [],
  );
  const { packs, runs } = await (isReal === true ? packReally(directory, jobs) : packSmall(directory, jobs, options));
  const waiting = runs.values();
  const lines = entries.map(({ root, source, entry }): VaultManifestLine => {
    const { path, mode, uid, gid, mtimeNanos } = entry;
    const attributes = xattrs[path];
    const place = {
      root,
      path,
      mode,
      uid,
      gid,
      mtimeNanos,
      ...(attributes === undefined ? {} : { xattrs: attributes }),
    };
    if (entry.kind === 'directory') return { directory: place };
    const sha256 = createHash('sha256').update(readFileSync(source)).digest('hex');
    const own = waiting.next().value ?? [];
    return { file: { type: kindOf(path), ...place, sizeBytes: entry.sizeBytes, sha256, runs: own } };
  });
  const databases = entries.flatMap(({ root, entry }) =>
    entry.kind === 'file' && kindOf(entry.path) === 'database' ? [database(root, entry.path)] : [],
  );
  const written = await writeManifest(directory, [{ backup: BACKUP }, ...databases, ...lines.map(alter)], packs);
  const { store, number, backupId } = BACKUP;
  mkdirSync(join(directory, OBJECTS.backup(store, number)), { recursive: true });
  copyFileSync(written.path, join(directory, OBJECTS.manifest(store, number, backupId)));
  rmSync(written.path);
  put(directory, OBJECTS.envelope(store, number), `${canonicalJson(envelopeOf(written, packs, written.totals))}\n`);
  put(
    directory,
    OBJECTS.vault,
    `${canonicalJson({ format: VAULT_FORMAT, keys: [{ number: 1, recipient: RECIPIENT }] })}\n`,
  );
  const person = join(directory, '.tmp-person');
  put(directory, '.tmp-person', `${IDENTITY}\n`);
  // One key pair will do for both: the person's and the vault's
  put(directory, OBJECTS.key(1), await seal(RECIPIENT, Buffer.from(`${IDENTITY}\n`)));
  return { directory, packs, identityFile: person };
}

/** What a restored tree has to have, by path: kind, mode, owner where `owners`, time, content. */
export async function pictureOf(directory: string, owners: boolean): Promise<readonly unknown[]> {
  const entries = await walkTree(directory, { detectDatabases: false });
  return entries.map(({ path, kind, mode, uid, gid, mtimeNanos }) => ({
    path,
    kind,
    mode,
    mtimeNanos,
    owner: owners ? `${uid}:${gid}` : '',
    content:
      kind === 'file'
        ? createHash('sha256')
            .update(readFileSync(join(directory, path)))
            .digest('hex')
        : '',
  }));
}
