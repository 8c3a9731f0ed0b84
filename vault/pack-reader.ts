// Reads parts of a pack: age seals 64 KiB at a time, so what is wanted can be opened without the rest. That the bytes are
// those of a backup is not for the seal to say, which anybody can make: it is the digest of each file that says it.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { BLOCK, notIntact, openBlock, openHeader, payloadKeyOf, setBlockNonce } from './age-file.js';

/** Blocks that are opened at once, at most. */
const WINDOW_BLOCKS = 8;
const HEADER_READ_BYTES = 4096;

export class PackReader {
  readonly #name: string;
  readonly #descriptor: number;
  readonly #key: Buffer;
  /** Of the first block, in the file. */
  readonly #begin: number;
  readonly #sizeBytes: number;
  readonly #nonce = Buffer.alloc(12);
  readonly #sealed = Buffer.allocUnsafeSlow(WINDOW_BLOCKS * BLOCK.sealedBytes);
  readonly #plain = Buffer.allocUnsafeSlow(WINDOW_BLOCKS * BLOCK.plainBytes);
  /** What #plain holds: bytes of the pack's plaintext. */
  #from = 0;
  #to = 0;

  private constructor(name: string, descriptor: number, key: Buffer, begin: number, sizeBytes: number) {
    this.#name = name;
    this.#descriptor = descriptor;
    this.#key = key;
    this.#begin = begin;
    this.#sizeBytes = sizeBytes;
  }

  /** @throws Stop vault_object_missing, vault_sealed, vault_invalid, io_error */
  static async open(name: string, path: string, identities: readonly string[]): Promise<PackReader> {
    const descriptor = openObject(name, path);
    try {
      const { size } = fstatSync(descriptor);
      const head = Buffer.allocUnsafe(Math.min(size, HEADER_READ_BYTES));
      readWhole(name, descriptor, head, 0);
      const { payloadOffset, fileKey } = await openHeader(name, head, identities);
      const begin = payloadOffset + BLOCK.nonceBytes;
      if (size < begin + BLOCK.tagBytes || head.length < begin) throw notIntact(name, 'it is cut short');
      const key = payloadKeyOf(fileKey, head.subarray(payloadOffset, begin));
      return new PackReader(name, descriptor, key, begin, size);
    } catch (error) {
      closeSync(descriptor);
      throw translateErrno(error, { path });
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /**
   * Bytes of the plaintext from `offset` on: at least one, at most `length`. Valid until the next call.
   * @throws Stop vault_invalid where they are not there, or not what was sealed
   */
  slice(offset: number, length: number): Buffer {
    if (offset < this.#from || offset >= this.#to) this.#fill(offset, length);
    return this.#plain.subarray(offset - this.#from, Math.min(this.#to, offset + length) - this.#from);
  }

  #fill(offset: number, length: number): void {
    // Until it is filled it holds nothing
    this.#to = this.#from;
    const first = Math.floor(offset / BLOCK.plainBytes);
    const wanted = Math.ceil((offset + length) / BLOCK.plainBytes) - first;
    const at = this.#begin + first * BLOCK.sealedBytes;
    const there = this.#sizeBytes - at;
    if (there <= BLOCK.tagBytes) throw notIntact(this.#name, `it ends before byte ${offset}`);
    const sealed = this.#sealed.subarray(0, Math.min(there, Math.min(wanted, WINDOW_BLOCKS) * BLOCK.sealedBytes));
    readWhole(this.#name, this.#descriptor, sealed, at);
    let filled = 0;
    for (let from = 0, block = first; from < sealed.length; block += 1) {
      const to = Math.min(sealed.length, from + BLOCK.sealedBytes);
      filled += this.#openBlock(sealed.subarray(from, to), block, at + to === this.#sizeBytes, filled);
      from = to;
    }
    this.#from = first * BLOCK.plainBytes;
    this.#to = this.#from + filled;
    if (offset >= this.#to) throw notIntact(this.#name, `it ends before byte ${offset}`);
  }

  #openBlock(sealed: Buffer, block: number, isLast: boolean, at: number): number {
    if (sealed.length < BLOCK.tagBytes) throw notIntact(this.#name, 'it is cut short');
    const plain = openBlock(this.#key, setBlockNonce(this.#nonce, block, isLast), sealed);
    if (plain === null)
      throw notIntact(this.#name, `bytes ${block * BLOCK.plainBytes} and following are not what was sealed`);
    this.#plain.set(plain, at);
    return plain.length;
  }
}

function openObject(name: string, path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR'))
      throw new Stop('vault_object_missing', `${name} is missing`, { object: name });
    if (hasErrno(error, 'ELOOP')) throw notIntact(name, 'it is a symbolic link');
    throw translateErrno(error, { path });
  }
}

/** read(2) may give less than it was asked for. */
function readWhole(name: string, descriptor: number, target: Buffer, position: number): void {
  for (let filled = 0; filled < target.length;) {
    const read = readSync(descriptor, target, filled, target.length - filled, position + filled);
    if (read === 0) throw notIntact(name, 'it is cut short');
    filled += read;
  }
}
