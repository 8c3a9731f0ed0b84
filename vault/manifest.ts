// The manifest of a backup in a vault: JSON Lines in one zstd frame in age, written and read line by line, because of a
// million files none is in memory whole (docs/vault-format.md "Manifest"). Only ciphertext ever lies on a disk.
import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import binding from 'zstd-napi/binding.js';
import { canonicalJson } from '../domain/canonical.js';
import { LIMITS } from '../domain/limits.js';
import { Stop } from '../domain/stop.js';
import type { Envelope, ObjectFact, VaultBackupLine, VaultManifestLine } from '../domain/vault.js';
import { translateErrno, translating } from '../files/errors.js';
import { makeHeader, notIntact } from './age-file.js';
import { Sealer, openPieces } from './age-stream.js';
import { ManifestChecker } from './manifest-check.js';
import type { ManifestTotals } from './manifest-check.js';

const COMPRESSION_LEVEL = 3;
const SPOOL_MODE = 0o600;
/** Of lines: compressed, sealed and written together. */
const BATCH_CHARACTERS = 256 * 1024;
const OUTPUT_BYTES = 128 * 1024;

/** A sealed manifest, whole and synced: `manifest` of the envelope, and the totals that it is to have. */
export interface ManifestWritten extends ObjectFact {
  /** Absolute; the caller moves or removes it. */
  readonly path: string;
  /** Before `end`. */
  readonly lines: number;
  readonly totals: ManifestTotals;
}

/**
 * Writes a manifest line by line into a file of its own: `begin`, `write` for each line in the order of the format but
 * `end`, then `finish`, or `discard` at any point.
 */
export class ManifestWriter {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #sealer: Sealer;
  readonly #checker: ManifestChecker;
  readonly #hash = createHash('sha256');
  readonly #context = new binding.CCtx();
  readonly #output = Buffer.allocUnsafe(OUTPUT_BYTES);
  #sizeBytes = 0;
  #waiting: string[] = [];
  #waitingCharacters = 0;

  private constructor(path: string, file: FileHandle, sealer: Sealer) {
    this.#path = path;
    this.#file = file;
    this.#sealer = sealer;
    this.#checker = new ManifestChecker(path, null);
    this.#context.setParameter(binding.CParameter.compressionLevel, COMPRESSION_LEVEL);
  }

  /**
   * @param path absolute, of a file that does not exist; only ciphertext comes into it
   * @param recipient of the vault key that the envelope names, `age1…`
   * @throws Stop io_error, permission_denied
   */
  static async begin(path: string, recipient: string): Promise<ManifestWriter> {
    const sealer = new Sealer(await makeHeader(recipient));
    const file = await translating({ path }, () => open(path, 'wx', SPOOL_MODE));
    return new ManifestWriter(path, file, sealer);
  }

  /**
   * @throws Stop vault_invalid, path_unsafe for what could not be read again; no_space, io_error
   */
  async write(line: Exclude<VaultManifestLine, { readonly end: unknown }>): Promise<void> {
    await this.#add(line);
  }

  /**
   * @param packs as the envelope will have them: what runs are indices into
   * @throws Stop vault_invalid where a run names another pack, or a pack has no run; no_space, io_error
   */
  async finish(packs: readonly ObjectFact[]): Promise<ManifestWritten> {
    const { lines } = this.#checker;
    await this.#add({ end: { lines } });
    this.#checker.finish(packs);
    await this.#flush(true);
    await translating({ path: this.#path }, async () => {
      await this.#file.sync();
      await this.#file.close();
    });
    const { totals } = this.#checker;
    return { path: this.#path, sha256: this.#hash.digest('hex'), sizeBytes: this.#sizeBytes, lines, totals };
  }

  /** After any failure, or instead of `finish`. */
  async discard(): Promise<void> {
    await translating({ path: this.#path }, async () => {
      await this.#file.close();
      await rm(this.#path, { force: true });
    });
  }

  async #add(line: VaultManifestLine): Promise<void> {
    const text = this.#textOf(this.#checker.accept(line));
    this.#waiting.push(text);
    this.#waitingCharacters += text.length;
    if (this.#waitingCharacters >= BATCH_CHARACTERS) await this.#flush(false);
  }

  #textOf(line: VaultManifestLine): string {
    let text: string | null = null;
    try {
      text = `${JSON.stringify(line)}\n`;
    } catch (error) {
      // No string is that long
      if (!(error instanceof RangeError)) throw error;
    }
    // A character has three bytes at most: short lines need no second look
    if (text !== null && (!tooLong(3 * text.length) || !tooLong(Buffer.byteLength(text)))) return text;
    throw this.#checker.invalid(`a line is longer than ${LIMITS.vaultManifestLineBytesMax} bytes`);
  }

  async #flush(isLast: boolean): Promise<void> {
    const plain = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#waitingCharacters = 0;
    const sealed = compress(this.#context, this.#output, plain, isLast).map((bytes) => this.#sealer.update(bytes));
    if (isLast) sealed.push(this.#sealer.final());
    const bytes = Buffer.concat(sealed);
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
    await translating({ path: this.#path }, () => this.#file.appendFile(bytes));
  }
}

function tooLong(bytes: number): boolean {
  return bytes > LIMITS.vaultManifestLineBytesMax;
}

function compress(context: binding.CCtx, output: Buffer, plain: Buffer, isLast: boolean): Buffer[] {
  const operation = isLast ? binding.EndDirective.end : binding.EndDirective.continue;
  const compressed: Buffer[] = [];
  for (let rest = plain; ;) {
    const [left, produced, consumed] = context.compressStream2(output, rest, operation);
    if (produced > 0) compressed.push(Buffer.from(output.subarray(0, produced)));
    rest = rest.subarray(consumed);
    if (isLast ? left === 0 : rest.length === 0) return compressed;
  }
}

/** The ciphertext: in memory, or something that begins anew each time it is called, for it is read twice. */
export type ManifestSource = Uint8Array | (() => AsyncIterable<Uint8Array>);

/** @param path absolute. Reading it throws Stop io_error, permission_denied. */
export function manifestFile(path: string): () => AsyncIterable<Uint8Array> {
  return async function* pieces() {
    try {
      for await (const piece of createReadStream(path, { highWaterMark: OUTPUT_BYTES })) yield piece as Buffer;
    } catch (error) {
      throw translateErrno(error, { path });
    }
  };
}

export interface ManifestReading {
  /** Of the object, for messages. */
  readonly name: string;
  /** Whose signature was checked: the manifest must be the one that it names, and say what it says. */
  readonly envelope: Envelope;
  /** `AGE-SECRET-KEY-1…` */
  readonly identities: readonly string[];
}

/**
 * The lines of a manifest, checked one by one. Not a line comes before the ciphertext's digest is the envelope's; `end`
 * comes when everything holds.
 * @throws Stop vault_invalid for whatever is not as the format says; path_unsafe; vault_sealed; what `source` throws
 */
export async function* readManifest(
  source: ManifestSource,
  { name, envelope, identities }: ManifestReading,
): AsyncGenerator<VaultManifestLine, void, undefined> {
  const expected = envelope.manifest;
  // Anyone can seal to the recipient: before its digest is right a line may be anybody's
  await assertIntact(name, source, expected);
  const checker = new ManifestChecker(name, envelope.packs);
  let end: VaultManifestLine | null = null;
  const plain = inflate(name, openPieces(name, intact(name, source, expected), identities));
  for await (const lines of linesOf(checker, plain)) {
    for (const text of lines) {
      const line = checker.accept(parse(checker, text));
      if ('backup' in line) assertSaysTheSame(checker, line.backup, envelope);
      if ('end' in line) end = line;
      else yield line;
    }
  }
  checker.finish(envelope.packs);
  const { files, databases, sizeBytes } = envelope.totals;
  if (canonicalJson(checker.totals) !== canonicalJson({ files, databases, sizeBytes }))
    throw checker.invalid('its totals are not those of the envelope');
  if (end !== null) yield end;
}

/** The pieces of a source, which in the end must have had the length and digest that they should. */
async function* intact(name: string, source: ManifestSource, expected: ObjectFact): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of source instanceof Uint8Array ? [source] : source()) {
    hash.update(piece);
    sizeBytes += piece.length;
    if (sizeBytes > expected.sizeBytes) break;
    yield piece;
  }
  if (sizeBytes !== expected.sizeBytes || hash.digest('hex') !== expected.sha256)
    throw notIntact(name, 'its sha256 or size is not what the envelope says');
}

async function assertIntact(name: string, source: ManifestSource, expected: ObjectFact): Promise<void> {
  const pieces = intact(name, source, expected);
  while ((await pieces.next()).done !== true);
}

/** One zstd frame, and nothing after it. */
async function* inflate(name: string, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const context = new binding.DCtx();
  let isEnded = false;
  for await (const piece of pieces) {
    let rest = piece;
    let isFull = false;
    while (rest.length > 0 || isFull) {
      if (isEnded) throw notIntact(name, 'something follows its zstd frame');
      const output = Buffer.allocUnsafe(OUTPUT_BYTES);
      const [left, produced, consumed] = decompress(name, context, output, rest);
      isEnded = left === 0;
      isFull = produced === output.length && !isEnded;
      rest = rest.subarray(consumed);
      if (produced > 0) yield output.subarray(0, produced);
    }
  }
  if (!isEnded) throw notIntact(name, 'its zstd frame is cut short');
}

function decompress(
  name: string,
  context: binding.DCtx,
  output: Buffer,
  input: Buffer,
): readonly [left: number, produced: number, consumed: number] {
  try {
    return context.decompressStream(output, input);
  } catch (error) {
    throw notIntact(name, 'it holds no zstd frame', error);
  }
}

/** Lines as they come, many at a time; each ends with a newline. */
async function* linesOf(checker: ManifestChecker, pieces: AsyncIterable<Buffer>): AsyncGenerator<string[]> {
  let begun: Buffer[] = [];
  let begunBytes = 0;
  for await (const piece of pieces) {
    const end = piece.lastIndexOf(0x0a) + 1;
    if (end > 0) {
      const whole = Buffer.concat([...begun, piece.subarray(0, end)]);
      if (!isUtf8(whole)) throw checker.invalid('it is not UTF-8');
      begun = [];
      begunBytes = 0;
      const lines = whole.toString('utf8').split('\n');
      lines.pop();
      yield lines;
    }
    if (end < piece.length) begun.push(piece.subarray(end));
    begunBytes += piece.length - end;
    if (tooLong(begunBytes)) throw checker.invalid(`a line is longer than ${LIMITS.vaultManifestLineBytesMax} bytes`);
  }
  if (begunBytes > 0) throw checker.invalid('its last line has no end');
}

function parse(checker: ManifestChecker, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { code, message, details } = checker.invalid(`line ${checker.lines + 1} is not JSON`);
    throw new Stop(code, message, details, { cause: error });
  }
}

function assertSaysTheSame(checker: ManifestChecker, backup: VaultBackupLine, envelope: Envelope): void {
  for (const key of [
    'store',
    'number',
    'backupId',
    'operation',
    'host',
    'createdAt',
    'holdfastVersion',
    'platform',
    'epoch',
  ] as const)
    if (canonicalJson(backup[key]) !== canonicalJson(envelope[key]))
      throw checker.invalid(`${key} is not what the envelope says`);
}
