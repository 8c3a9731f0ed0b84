// age files (age-encryption.org/v1): headers by age-encryption, payloads by node:crypto, which is an order of magnitude
// faster. Whatever is written here the `age` tool reads, and the other way round. Source: the age specification, "Payload".
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Decrypter, Encrypter } from 'age-encryption';
import { Stop } from '../domain/stop.js';

const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;
const NONCE_BYTES = 16;
const FILE_KEY_BYTES = 16;
const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
/** The parts in which age seals a payload. */
export const BLOCK = {
  plainBytes: CHUNK_BYTES,
  sealedBytes: SEALED_CHUNK_BYTES,
  tagBytes: TAG_BYTES,
  nonceBytes: NONCE_BYTES,
} as const;
/** A header with one stanza has 200 bytes; one of many recipients, a few thousand. */
export const HEADER_BYTES_MAX = 64 * 1024;

/** What an age file begins with, and the key of what follows. A file key seals one file: its header is for that one. */
export interface SealedHeader {
  readonly header: Uint8Array;
  readonly fileKey: Uint8Array;
}

/** Headers to an `age1…` recipient, each with a fresh file key. */
export async function makeHeader(recipient: string): Promise<SealedHeader> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const holder: { fileKey?: Uint8Array } = {};
  // A second recipient that adds no stanza: it is told the file key
  encrypter.addRecipient({
    wrapFileKey: (fileKey) => {
      holder.fileKey = Uint8Array.from(fileKey);
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array(0));
  if (holder.fileKey === undefined) throw new Error('defect: an age header without a file key');
  return { header: empty.subarray(0, empty.length - NONCE_BYTES - TAG_BYTES), fileKey: holder.fileKey };
}

/** Length of the age file of a plaintext, bytes. */
export function sealedSize(headerBytes: number, plainBytes: number): number {
  const chunks = Math.max(1, Math.ceil(plainBytes / CHUNK_BYTES));
  return headerBytes + NONCE_BYTES + plainBytes + chunks * TAG_BYTES;
}

/**
 * Writes the age file of `plain` into `target`, which has room for sealedSize.
 * @returns its length, bytes
 */
export function sealInto(target: Uint8Array, { header, fileKey }: SealedHeader, plain: Uint8Array): number {
  const nonce = randomBytes(NONCE_BYTES);
  const key = payloadKeyOf(fileKey, nonce);
  target.set(header, 0);
  target.set(nonce, header.length);
  let at = header.length + NONCE_BYTES;
  const counter = Buffer.alloc(12);
  for (let from = 0, chunk = 0; chunk === 0 || from < plain.length; chunk += 1) {
    const to = Math.min(plain.length, from + CHUNK_BYTES);
    at = sealBlock(target, at, key, setBlockNonce(counter, chunk, to === plain.length), plain.subarray(from, to));
    from = to;
  }
  return at;
}

/** Writes a chunk and its tag into `target` from `at` on. @returns where they end */
export function sealBlock(
  target: Uint8Array,
  at: number,
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
): number {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
  target.set(cipher.update(plain), at);
  cipher.final();
  target.set(cipher.getAuthTag(), at + plain.length);
  return at + plain.length + TAG_BYTES;
}

/** The age file of `plain`. */
export async function seal(recipient: string, plain: Uint8Array): Promise<Buffer> {
  const header = await makeHeader(recipient);
  const target = Buffer.allocUnsafeSlow(sealedSize(header.header.length, plain.length));
  return target.subarray(0, sealInto(target, header, plain));
}

/** Where the payload of an age file begins, and its key. Small enough to be handed to a thread. */
export interface OpenedHeader {
  readonly payloadOffset: number;
  readonly fileKey: Uint8Array;
}

/**
 * @param identities `AGE-SECRET-KEY-1…`
 * @throws Stop vault_sealed where no identity opens it; vault_invalid where it is no age file
 */
export async function openHeader(name: string, file: Uint8Array, identities: readonly string[]): Promise<OpenedHeader> {
  const payloadOffset = headerLength(name, file);
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  try {
    return { payloadOffset, fileKey: await decrypter.decryptHeader(file.subarray(0, payloadOffset)) };
  } catch (error) {
    throw new Stop('vault_sealed', `${name} opens to none of the identities`, { object: name }, { cause: error });
  }
}

/** A header ends with a line that begins with `---`. */
function headerLength(name: string, file: Uint8Array): number {
  const begin = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, HEADER_BYTES_MAX));
  const isAge = begin.subarray(0, 22).toString('latin1') === 'age-encryption.org/v1\n';
  const last = isAge ? begin.indexOf('\n---') : -1;
  const end = last === -1 ? -1 : begin.indexOf('\n', last + 1);
  if (end === -1) throw notIntact(name, 'it has no age header');
  return end + 1;
}

/** @param sealed a chunk and its tag @returns null: it is not what was sealed */
export function openBlock(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array): Buffer | null {
  const bodyEnd = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(bodyEnd));
  const plain = decipher.update(sealed.subarray(0, bodyEnd));
  try {
    decipher.final();
  } catch {
    // Another tag: all that it can refuse here
    return null;
  }
  return plain;
}

/** The key of a payload. */
export function payloadKeyOf(fileKey: Uint8Array, nonce: Uint8Array): Buffer {
  if (fileKey.length !== FILE_KEY_BYTES) throw new Error('defect: a file key of another length');
  return Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
}

/** Eleven bytes of counter, big-endian, and one that says whether it is the last chunk. */
export function setBlockNonce(nonce: Buffer, chunk: number, isLast: boolean): Buffer {
  nonce.writeUIntBE(chunk, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

export function notIntact(name: string, why: string, cause?: unknown): Stop {
  return new Stop('vault_invalid', `${name} is not intact: ${why}`, { object: name }, { cause });
}
