// Signatures of a vault's objects: made by ssh-keygen, so that agents and hardware keys work as they are; verified against
// who may sign what (signers.ts), or against one fingerprint. docs/vault-format.md "Signatures and roles".
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Stop } from '../domain/stop.js';
import { translating } from '../files/errors.js';
import { runSshKeygen } from './ssh-keygen.js';
import { fingerprintOfKey, isSignedBy, parsePublicKey, parseSignature } from './ssh-signature.js';
import type { SshSignature } from './ssh-signature.js';
import { judge } from './signers.js';
import type { Signers, Verdict } from './signers.js';

export { SIGNATURE_BYTES_MAX } from './ssh-signature.js';

/**
 * An armored signature (`ssh-keygen -Y sign`).
 * @param keyFile a private key, or the public key of one that an agent has
 * @throws Stop ssh_keygen_failed; secret_exposed where others can read the private key
 */
export async function sign(keyFile: string, namespace: string, bytes: Uint8Array): Promise<string> {
  await assertNotExposed(keyFile);
  const { status, stdout, said } = await runSshKeygen(['-Y', 'sign', '-f', keyFile, '-n', namespace], bytes);
  if (status !== 0 || !stdout.startsWith('-----BEGIN SSH SIGNATURE-----'))
    throw new Stop('ssh_keygen_failed', `ssh-keygen did not sign: ${said}`, { path: keyFile, namespace });
  return stdout;
}

/** ssh-keygen refuses such a key too, but in words that only a person understands. */
async function assertNotExposed(path: string): Promise<void> {
  const { mode, begin } = await translating({ path }, async () => {
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(11), 0, 11, 0);
      return { mode: (await file.stat()).mode, begin: buffer.subarray(0, bytesRead).toString('latin1') };
    } finally {
      await file.close();
    }
  });
  if (begin === '-----BEGIN ' && (mode & 0o077) !== 0)
    throw new Stop('secret_exposed', `${path} is a private key that others can read`, {
      path,
      mode: (mode & 0o7777).toString(8),
    });
}

/** `SHA256:…` of `<type> <base64> [comment]`. @throws Stop usage where it is no public key */
export function fingerprintOf(publicKeyText: string): string {
  return fingerprintOfKey(keyOf(publicKeyText));
}

function keyOf(publicKeyText: string): Buffer {
  const key = parsePublicKey(publicKeyText);
  if (key === null) throw new Stop('usage', 'it is no SSH public key', {});
  return key;
}

const KEY_FILE_BYTES_MAX = 64 * 1024;

/**
 * The public key of a key file as one line without comment: of a public key, or of a private one with its `.pub` beside it
 * or without a passphrase.
 * @throws Stop usage where it is none; ssh_keygen_failed; permission_denied, io_error
 */
export async function publicKeyOf(keyFile: string): Promise<string> {
  const line = (text: string): string => {
    const [type, body] = text.trim().split(/[ \t]+/);
    keyOf(text);
    return `${type} ${body}`;
  };
  const text = await readKeyFile(keyFile);
  if (!text.startsWith('-----BEGIN ')) return line(text);
  await assertNotExposed(keyFile);
  const { status, stdout, said } = await runSshKeygen(['-y', '-f', keyFile], new Uint8Array(0));
  if (status !== 0) throw new Stop('ssh_keygen_failed', `${keyFile} can't be read: ${said}`, { path: keyFile });
  return line(stdout);
}

async function readKeyFile(path: string): Promise<string> {
  return translating({ path }, async () => {
    const bytes = await readFile(path);
    if (bytes.length > KEY_FILE_BYTES_MAX) throw new Stop('usage', `${path} is no SSH key`, { path });
    return bytes.toString('utf8');
  });
}

/** What was signed, and by what it is said to be. */
export interface Signed {
  /** Of the object, for messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Armored. */
  readonly signature: string;
  readonly namespace: string;
}

/** Verified signatures by digest: a list of a thousand envelopes is looked at again and again. */
const VERIFIED = new Map<string, string>();
const VERIFIED_MAX = 20_000;

/**
 * Which key signed these bytes in this namespace; whether anyone believes it is another question.
 * @returns its fingerprint
 * @throws Stop signature_invalid; ssh_keygen_failed
 */
export async function signingKeyOf({ name, bytes, signature, namespace }: Signed): Promise<string> {
  const digest = createHash('sha256').update(bytes).digest('hex');
  const cacheKey = createHash('sha256').update(`${namespace}\n${digest}\n${signature}`).digest('base64');
  const known = VERIFIED.get(cacheKey);
  if (known !== undefined) return known;
  const parsed = parseSignature(name, signature);
  const isValid =
    parsed.namespace === namespace && (isSignedBy(parsed, bytes) ?? (await check(parsed, bytes, signature)));
  if (!isValid)
    throw new Stop('signature_invalid', `the signature of ${name} is not one of these bytes`, {
      object: name,
      namespace,
      ...(parsed.namespace !== namespace && { signedFor: parsed.namespace.slice(0, 100) }),
    });
  const fingerprint = fingerprintOfKey(parsed.key);
  if (VERIFIED.size >= VERIFIED_MAX) VERIFIED.clear();
  VERIFIED.set(cacheKey, fingerprint);
  return fingerprint;
}

/** By ssh-keygen, which verifies against the key in the signature and says which that is. */
async function check({ key, namespace }: SshSignature, bytes: Uint8Array, signature: string): Promise<boolean> {
  const directory = await translating({ path: tmpdir() }, () => mkdtemp(join(tmpdir(), 'holdfast-signature-')));
  try {
    const path = join(directory, 'signature');
    await translating({ path }, () => writeFile(path, signature, { mode: 0o600 }));
    const parameters = ['-Y', 'check-novalidate', '-n', namespace, '-s', path];
    const { status, stdout } = await runSshKeygen(parameters, bytes);
    return status === 0 && stdout.trimEnd().endsWith(` key ${fingerprintOfKey(key)}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export interface SignedBy extends Signed {
  readonly signers: Signers;
  /** null: whoever has the namespace. */
  readonly principal: string | null;
  /** RFC 3339: when it must be believed. */
  readonly at: string;
}

/** @throws Stop signature_invalid, signer_unknown, signer_revoked, signer_expired; ssh_keygen_failed */
export async function verifySignature(signed: SignedBy): Promise<void> {
  const { verdict, fingerprint } = await judgeSignature(signed);
  if (verdict !== 'believed') throw notBelieved(signed, verdict, fingerprint);
}

/** As verifySignature, for whoever has something to say to a key that is not believed any more. */
export async function judgeSignature(
  signed: SignedBy,
): Promise<{ readonly verdict: Verdict; readonly fingerprint: string }> {
  const { signers, principal, namespace, at } = signed;
  const fingerprint = await signingKeyOf(signed);
  return { verdict: judge(signers, { principal, namespace, fingerprint, at }), fingerprint };
}

const VERDICTS: Readonly<Record<Exclude<Verdict, 'believed'>, string>> = {
  signer_unknown: 'which may not sign this for',
  signer_revoked: 'which was revoked, of',
  signer_expired: 'which has expired, of',
};

export function notBelieved(
  { name, principal, namespace, at }: SignedBy,
  verdict: Exclude<Verdict, 'believed'>,
  fingerprint: string,
): Stop {
  return new Stop(verdict, `${name} is signed by key ${fingerprint}, ${VERDICTS[verdict]} ${principal ?? namespace}`, {
    object: name,
    key: fingerprint,
    principal,
    namespace,
    at,
  });
}

/** A signature that others believe: nothing is written that nobody would. @throws Stop of sign and verifySignature */
export async function signBelieved(
  signers: Signers,
  said: Omit<SignedBy, 'signature' | 'signers'>,
  signingKeyFile: string,
): Promise<string> {
  const signature = await sign(signingKeyFile, said.namespace, said.bytes);
  await verifySignature({ ...said, signature, signers });
  return signature;
}

/**
 * Verifies against one key alone, as that of the admin is pinned.
 * @throws Stop signature_invalid, signer_unknown; ssh_keygen_failed
 */
export async function verifyPinned(signed: Signed, pinned: string): Promise<void> {
  const fingerprint = await signingKeyOf(signed);
  if (fingerprint !== pinned)
    throw new Stop('signer_unknown', `${signed.name} is signed by key ${fingerprint}, not by the admin key`, {
      object: signed.name,
      key: fingerprint,
      admin: pinned,
    });
}

/** The text of a signature's object. */
export function signatureText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
