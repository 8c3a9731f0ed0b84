// OpenSSH's signatures and public keys as bytes (OpenSSH: PROTOCOL.sshsig; RFC 4253 6.6, RFC 8709). Ed25519, which hosts
// sign with, is verified here: with a process for each, a thousand envelopes take sixteen seconds. Everything else, hardware
// keys among it, is ssh-keygen's.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { Stop } from '../domain/stop.js';

const ARMOR = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n$/;
const ARMOR_LINE = /.{1,70}/g;
const MAGIC = Buffer.from('SSHSIG');
const VERSION = 1;
const ED25519 = 'ssh-ed25519';
const ED25519_KEY_BYTES = 32;
const ED25519_SIGNATURE_BYTES = 64;
/** SubjectPublicKeyInfo of an Ed25519 key, up to the key itself (RFC 8410). */
const ED25519_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** One of an RSA key of 16384 bits has less. */
export const SIGNATURE_BYTES_MAX = 16 * 1024;

export interface SshSignature {
  /** The key that made it, by its own account, as in the second field of a public key file, decoded. */
  readonly key: Buffer;
  readonly keyType: string;
  readonly namespace: string;
  readonly hashAlgorithm: 'sha256' | 'sha512';
  /** As the key type has it. */
  readonly signature: Buffer;
}

/**
 * Takes an armored signature apart; nothing is verified.
 * @param name of the object that holds it
 * @throws Stop signature_invalid where it is none
 */
export function parseSignature(name: string, armored: string): SshSignature {
  const body = ARMOR.exec(armored)?.[1];
  const text = body?.replaceAll('\n', '') ?? '';
  // As ssh-keygen writes it and no other way: no byte of an object may be changed unnoticed
  const bytes = text.match(ARMOR_LINE)?.join('\n') === body ? fromBase64(text) : null;
  const reader = bytes === null ? null : readerOf(bytes);
  if (reader === null || !reader.take(MAGIC.length).equals(MAGIC) || reader.number() !== VERSION)
    throw notASignature(name);
  const key = reader.text();
  const namespace = reader.text().toString('latin1');
  const reserved = reader.text();
  const hashAlgorithm = reader.text().toString('latin1');
  const signature = reader.text();
  const keyType = keyTypeOf(key);
  if (
    !reader.isAtEnd() ||
    reserved.length > 0 ||
    keyType === null ||
    (hashAlgorithm !== 'sha256' && hashAlgorithm !== 'sha512')
  )
    throw notASignature(name);
  return { key, keyType, namespace, hashAlgorithm, signature };
}

/** Whether it is an Ed25519 key's of these bytes. undefined: of another type, which is for ssh-keygen to say. */
export function isSignedBy(
  { key, keyType, namespace, hashAlgorithm, signature }: SshSignature,
  bytes: Uint8Array,
): boolean | undefined {
  if (keyType !== ED25519) return undefined;
  const point = partsOf(key, 2)?.[1];
  const [signatureType, value] = partsOf(signature, 2) ?? [];
  if (
    point?.length !== ED25519_KEY_BYTES ||
    signatureType?.toString('latin1') !== ED25519 ||
    value?.length !== ED25519_SIGNATURE_BYTES
  )
    return false;
  const digest = createHash(hashAlgorithm).update(bytes).digest();
  const signed = Buffer.concat([
    MAGIC,
    ...[Buffer.from(namespace, 'latin1'), Buffer.alloc(0), Buffer.from(hashAlgorithm), digest].map(asText),
  ]);
  const publicKey = createPublicKey({ key: Buffer.concat([ED25519_PREFIX, point]), format: 'der', type: 'spki' });
  return verify(null, signed, publicKey, value);
}

/** Fingerprint of a key, as `ssh-keygen -l` prints it: `SHA256:…`. */
export function fingerprintOfKey(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replaceAll('=', '')}`;
}

/** The key of `<type> <base64> [comment]`, as public key files have it. null: it is none, or a certificate. */
export function parsePublicKey(line: string): Buffer | null {
  const [type, body] = line.trim().split(/[ \t]+/);
  if (type === undefined || body === undefined) return null;
  const key = fromBase64(body);
  if (key === null || keyTypeOf(key) !== type || type.includes('-cert-')) return null;
  return key;
}

/** `<type> <base64>`, as public key files have it. */
export function publicKeyText(key: Buffer): string {
  return `${keyTypeOf(key) ?? ''} ${key.toString('base64')}`;
}

function keyTypeOf(key: Buffer): string | null {
  const type = readerOf(key).text().toString('latin1');
  return /^[a-z0-9@.-]+$/.test(type) && !type.includes('-cert-') ? type : null;
}

function notASignature(name: string): Stop {
  return new Stop('signature_invalid', `${name} is no SSH signature`, { object: name });
}

/** null where it is not the base64 of any bytes, written as one writes it. */
function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** RFC 4251 5, `string`. */
function asText(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Exactly so many strings, and nothing after them. */
function partsOf(bytes: Buffer, count: number): readonly Buffer[] | null {
  const reader = readerOf(bytes);
  const parts = Array.from({ length: count }, () => reader.text());
  return reader.isAtEnd() ? parts : null;
}

/** Reads past the end as nothing; whoever has reached exactly the end has not read past it. */
function readerOf(bytes: Buffer) {
  let at = 0;
  const take = (length: number): Buffer => {
    const part = bytes.subarray(at, at + length);
    at += length;
    return part;
  };
  const number = (): number => {
    const part = take(4);
    return part.length === 4 ? part.readUInt32BE() : bytes.length + 1;
  };
  return { take, number, text: () => take(number()), isAtEnd: () => at === bytes.length };
}
