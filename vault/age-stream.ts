// age payloads piece by piece, for what must never be in memory whole: manifests. The format is age-file.ts's.
import { randomBytes } from 'node:crypto';
import {
  BLOCK,
  HEADER_BYTES_MAX,
  notIntact,
  openBlock,
  openHeader,
  payloadKeyOf,
  sealBlock,
  setBlockNonce,
} from './age-file.js';
import type { OpenedHeader, SealedHeader } from './age-file.js';

/** Bytes that wait for the rest of their chunk. */
class Pending {
  readonly #bytes: Buffer;
  #length = 0;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  get isFull(): boolean {
    return this.#length === this.#bytes.length;
  }

  /** @returns how many of `bytes` from `from` on found room */
  fill(bytes: Uint8Array, from: number): number {
    const count = Math.min(bytes.length - from, this.#bytes.length - this.#length);
    this.#bytes.set(bytes.subarray(from, from + count), this.#length);
    this.#length += count;
    return count;
  }

  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return taken;
  }
}

/** Seals what comes in pieces; the pieces that it returns, one after the other, are the age file. */
export class Sealer {
  readonly #key: Buffer;
  readonly #counter = Buffer.alloc(12);
  readonly #pending = new Pending(BLOCK.plainBytes);
  #begin: Buffer | null;
  #chunk = 0;

  constructor({ header, fileKey }: SealedHeader) {
    const nonce = randomBytes(BLOCK.nonceBytes);
    this.#key = payloadKeyOf(fileKey, nonce);
    this.#begin = Buffer.concat([header, nonce]);
  }

  update(plain: Uint8Array): Buffer {
    const sealed: Buffer[] = this.#takeBegin();
    for (let from = 0; from < plain.length;) {
      // A full chunk waits until there is more: the last one is sealed as such
      if (this.#pending.isFull) sealed.push(this.#seal(false));
      from += this.#pending.fill(plain, from);
    }
    return Buffer.concat(sealed);
  }

  final(): Buffer {
    return Buffer.concat([...this.#takeBegin(), this.#seal(true)]);
  }

  #takeBegin(): Buffer[] {
    const begin = this.#begin;
    this.#begin = null;
    return begin === null ? [] : [begin];
  }

  #seal(isLast: boolean): Buffer {
    const plain = this.#pending.take();
    const sealed = Buffer.allocUnsafe(plain.length + BLOCK.tagBytes);
    sealBlock(sealed, 0, this.#key, setBlockNonce(this.#counter, this.#chunk, isLast), plain);
    this.#chunk += 1;
    return sealed;
  }
}

/** Opens a payload that comes in pieces, after its header. What it returns was sealed, but the end may yet be missing. */
class Opener {
  readonly #name: string;
  readonly #fileKey: Uint8Array;
  readonly #counter = Buffer.alloc(12);
  readonly #nonce = new Pending(BLOCK.nonceBytes);
  readonly #pending = new Pending(BLOCK.sealedBytes);
  #key: Buffer | null = null;
  #chunk = 0;

  constructor(name: string, { fileKey }: OpenedHeader) {
    this.#name = name;
    this.#fileKey = fileKey;
  }

  /** @throws Stop vault_invalid */
  update(sealed: Uint8Array): Buffer {
    const plain: Buffer[] = [];
    let from = 0;
    if (this.#key === null) {
      from = this.#nonce.fill(sealed, 0);
      if (!this.#nonce.isFull) return Buffer.alloc(0);
      this.#key = payloadKeyOf(this.#fileKey, this.#nonce.take());
    }
    while (from < sealed.length) {
      if (this.#pending.isFull) plain.push(this.#open(this.#key, false));
      from += this.#pending.fill(sealed, from);
    }
    return Buffer.concat(plain);
  }

  /** @throws Stop vault_invalid where the end is missing, too */
  final(): Buffer {
    if (this.#key === null) throw notIntact(this.#name, 'it is cut short');
    return this.#open(this.#key, true);
  }

  #open(key: Buffer, isLast: boolean): Buffer {
    const sealed = this.#pending.take();
    // The last chunk is empty only where the whole payload is
    if (sealed.length < BLOCK.tagBytes || (sealed.length === BLOCK.tagBytes && this.#chunk > 0))
      throw notIntact(this.#name, 'it is cut short');
    const plain = openBlock(key, setBlockNonce(this.#counter, this.#chunk, isLast), sealed);
    if (plain === null) {
      const from = this.#chunk * BLOCK.sealedBytes;
      throw notIntact(
        this.#name,
        `the sealed bytes from ${from} of the payload on were changed, or its end is missing`,
      );
    }
    this.#chunk += 1;
    return plain;
  }
}

/**
 * The plaintext of an age file that comes in pieces. What was yielded is whole only when the generator has ended.
 * @throws Stop vault_sealed, vault_invalid
 */
export async function* openPieces(
  name: string,
  pieces: AsyncIterable<Uint8Array>,
  identities: readonly string[],
): AsyncGenerator<Buffer> {
  let begin: Buffer = Buffer.alloc(0);
  let opener: Opener | null = null;
  const start = async (): Promise<[Opener, Buffer]> => {
    const opened = await openHeader(name, begin, identities);
    const started = new Opener(name, opened);
    return [started, started.update(begin.subarray(opened.payloadOffset))];
  };
  for await (const piece of pieces) {
    if (opener !== null) yield opener.update(piece);
    else {
      begin = Buffer.concat([begin, piece]);
      if (begin.length < HEADER_BYTES_MAX) continue;
      const [started, plain] = await start();
      opener = started;
      yield plain;
    }
  }
  if (opener === null) {
    const [started, plain] = await start();
    opener = started;
    yield plain;
  }
  yield opener.final();
}
