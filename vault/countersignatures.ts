// Countersignatures: who has verified a backup, and when. They are the trusted time for a key of its host that is given up
// later. docs/vault-format.md "Signatures and roles".
import { objectBytes, parseVerified } from '../domain/schema/vault.js';
import type { Stop } from '../domain/stop.js';
import { NAMESPACES, OBJECTS, VERIFIED_FORMAT } from '../domain/vault.js';
import type { Envelope, Verified } from '../domain/vault.js';
import { BESIDE_ENVELOPE, foreignObject, isOwnFault } from './beside-envelope.js';
import { judgeSignature, notBelieved, signatureText, signBelieved, SIGNATURE_BYTES_MAX } from './signatures.js';
import type { OpenVault } from './trust.js';

const VERIFIED_BYTES_MAX = 64 * 1024;

export interface CountersignedPlace {
  readonly store: string;
  readonly number: number;
  readonly envelopeSha256: string;
  /** Names in the envelope's directory. */
  readonly objects: readonly string[];
  readonly now: string;
}

/** Those that are believed, the newest first. Others vouch for nothing, and harm nothing. */
export async function believedCountersignatures(
  open: OpenVault,
  place: CountersignedPlace,
): Promise<readonly Verified[]> {
  const all = await readAllCountersignatures(open, place);
  return all
    .flatMap(({ verified, stop }) => (verified === null || stop !== null ? [] : [verified]))
    .sort((left, right) => (left.verifiedAt < right.verifiedAt ? 1 : -1));
}

/** One of a backup's countersignatures. */
export interface Countersignature {
  readonly object: string;
  /** null: it can't be read as one. */
  readonly verified: Verified | null;
  /** Fingerprint; null: no key signed it. */
  readonly signedBy: string | null;
  /** Why it vouches for nothing; null: it is believed. */
  readonly stop: Stop | null;
}

/**
 * Every countersignature of a backup, believed or not.
 * @param envelopeSha256 of the bytes that they must speak of
 * @throws Stop io_error, permission_denied, ssh_keygen_failed
 */
export async function readCountersignatures(
  open: OpenVault,
  { store, number }: Pick<Envelope, 'store' | 'number'>,
  envelopeSha256: string,
  now: string,
): Promise<readonly Countersignature[]> {
  const objects = await open.place.children(OBJECTS.backup(store, number));
  return readAllCountersignatures(open, { store, number, envelopeSha256, objects, now });
}

async function readAllCountersignatures(
  open: OpenVault,
  place: CountersignedPlace,
): Promise<readonly Countersignature[]> {
  const found: Countersignature[] = [];
  for (const object of place.objects) {
    const [, id, kind] = BESIDE_ENVELOPE.exec(object) ?? [];
    if (id !== undefined && kind === 'verified.json') found.push(await readCountersignature(open, place, id));
  }
  return found;
}

async function readCountersignature(
  { place, description, trust }: OpenVault,
  { store, number, envelopeSha256, now }: CountersignedPlace,
  id: string,
): Promise<Countersignature> {
  const object = OBJECTS.verified(store, number, id);
  let known: Countersignature = { object, verified: null, signedBy: null, stop: null };
  try {
    const bytes = await place.read(object, VERIFIED_BYTES_MAX);
    const verified = parseVerified(object, bytes);
    known = { ...known, verified };
    if (verified.vault !== description.vault || verified.store !== store || verified.number !== number)
      throw foreignObject(object);
    if (verified.envelopeSha256 !== envelopeSha256)
      throw foreignObject(object, { envelopeSha256: verified.envelopeSha256 });
    const name = OBJECTS.verifiedSignature(store, number, id);
    const signed = {
      name: object,
      bytes,
      signature: signatureText(await place.read(name, SIGNATURE_BYTES_MAX)),
      namespace: NAMESPACES.verify,
      signers: trust.signers,
      principal: null,
      at: now,
    };
    const { verdict, fingerprint } = await judgeSignature(signed);
    return {
      ...known,
      signedBy: fingerprint,
      stop: verdict === 'believed' ? null : notBelieved(signed, verdict, fingerprint),
    };
  } catch (error) {
    if (isOwnFault(error)) return { ...known, stop: error };
    throw error;
  }
}

/**
 * Vouches for a backup that was verified: the trusted time for a key of its host that is revoked or expires later.
 * @param verified without what the vault knows itself; `envelopeSha256` is that of the bytes that were verified
 * @throws Stop signer_unknown, signer_revoked, signer_expired where nobody would believe it; ssh_keygen_failed and the like
 */
export async function countersign(
  open: OpenVault,
  verified: Omit<Verified, 'format' | 'vault'>,
  { id, signingKeyFile }: { readonly id: string; readonly signingKeyFile: string },
): Promise<void> {
  const { place, description } = open;
  const { store, number, verifiedAt } = verified;
  const name = OBJECTS.verified(store, number, id);
  const bytes = objectBytes({ format: VERIFIED_FORMAT, vault: description.vault, ...verified });
  parseVerified(name, bytes);
  const said = { name, bytes, namespace: NAMESPACES.verify, principal: null, at: verifiedAt };
  const signature = await signBelieved(open.trust.signers, said, signingKeyFile);
  await place.putNew(OBJECTS.verifiedSignature(store, number, id), Buffer.from(signature));
  if (!(await place.putNew(name, bytes))) throw new Error('defect: an id of a countersignature was used before');
}
