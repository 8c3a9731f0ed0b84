// Envelopes: a backup exists when its envelope does. They are committed by one exclusive creation, read as a chain, and
// believed by who signed them, or by who verified them before that key was given up. docs/vault-format.md "Envelope",
// "Signatures and roles", "Reading" 3.
import type { Adopted } from '../domain/adoption.js';
import { isStoreName } from '../domain/protocol.js';
import { objectBytes, parseEnvelope } from '../domain/schema/vault.js';
import { Stop } from '../domain/stop.js';
import { NAMESPACES, numberOfText, OBJECTS } from '../domain/vault.js';
import type { Envelope, Verified } from '../domain/vault.js';
import { adoptionOf } from './adoption.js';
import { BESIDE_ENVELOPE, foreignObject, isOwnFault } from './beside-envelope.js';
import { believedCountersignatures } from './countersignatures.js';
import { judgeSignature, notBelieved, signatureText, signBelieved, SIGNATURE_BYTES_MAX } from './signatures.js';
import { sha256Of } from './trust.js';
import type { OpenVault } from './trust.js';

/** One that names the packs of 8 MiB of 4 TiB has about 50 MB. */
export const ENVELOPE_BYTES_MAX = 64 * 1024 * 1024;
const READ_AT_ONCE = 16;
/** A backup by which a chain is known. */
export interface Head {
  readonly number: number;
  /** Of the envelope's bytes, lower-case hex. */
  readonly sha256: string;
}

/** An envelope without what makes it large: a thousand of them are in memory at once. */
export type EnvelopeSummary = Omit<Envelope, 'packs'>;

/** One number of a store's chain. */
export interface ChainEntry {
  readonly number: number;
  /** null: it is absent, or can't be read as one. */
  readonly envelope: EnvelopeSummary | null;
  /** Of the envelope's bytes, whatever is in them; null: it is absent. */
  readonly sha256: string | null;
  /** Fingerprint of the key that signed it; null: no key did. */
  readonly signedBy: string | null;
  /** Newest countersignature that is believed; looked for only where the host's key alone is not. */
  readonly countersigned: Verified | null;
  /** Why this backup must not be used; null: it is believed, and follows the one before. */
  readonly stop: Stop | null;
}

export interface Chain {
  readonly store: string;
  /** By number, from 1. Numbers that are absent side by side are one entry, of the first of them. */
  readonly entries: readonly ChainEntry[];
  /** The newest that there is, believed or not: what the next one follows. null: there is none. */
  readonly head: Head | null;
  /** The first thing that is wrong with the chain; no backup is added to it. null: all of it is believed. */
  readonly stop: Stop | null;
}

export interface ReadEnvelopes {
  /** RFC 3339: when signatures must be believed. */
  readonly now: string;
  /** Newest backup of the store that this host knows: its own, or what it restored or verified. */
  readonly known?: Head | null;
  /** Fingerprint of a key that a person vouches for, for the one envelope that is asked for; chains know no such thing. */
  readonly adopt?: string | undefined;
}

/** Stores that have backups, sorted. `stop` where something else is there, vault_object_foreign. */
export async function listStores({
  place,
}: OpenVault): Promise<{ readonly stores: readonly string[]; readonly stop: Stop | null }> {
  const names = await place.children('backups');
  const stores = names.filter((name) => isStoreName(name));
  const other = names.find((name) => !stores.includes(name));
  return {
    stores,
    stop: other === undefined ? null : foreignObject(`backups/${other}`),
  };
}

/**
 * Every envelope of a store. Nothing that is wrong with one hides another: each entry has its own `stop`
 * (vault_invalid, vault_newer, vault_object_foreign, vault_object_missing, signature_invalid, signer_unknown,
 * signer_revoked, signer_expired, chain_broken), and the chain has that of the first, or backup_vanished.
 * @throws Stop io_error, permission_denied, ssh_keygen_failed
 */
export async function readChain(open: OpenVault, store: string, { now, known }: ReadEnvelopes): Promise<Chain> {
  const names = await open.place.children(OBJECTS.backups(store));
  const numbers = names.map(numberOfText);
  const other = names.find((_name, index) => numbers[index] === null);
  const there = await mapAtMost(
    READ_AT_ONCE,
    numbers.filter((number) => number !== null),
    (number) => readEntry(open, store, number, now),
  );
  const found = there.filter((entry) => entry !== null);
  const entries = linked(store, found);
  const head = found.at(-1);
  const stop =
    vanished(store, found, known ?? null) ??
    (other === undefined ? null : foreignObject(`${OBJECTS.backups(store)}/${other}`)) ??
    entries.find((entry) => entry.stop !== null)?.stop ??
    null;
  return {
    store,
    entries,
    head: head === undefined || head.sha256 === null ? null : { number: head.number, sha256: head.sha256 },
    stop,
  };
}

function vanished(store: string, found: readonly ChainEntry[], known: Head | null): Stop | null {
  if (known === null) return null;
  const entry = found.find(({ number }) => number === known.number);
  if (entry?.sha256 === known.sha256) return null;
  const what = entry === undefined ? 'is not there any more' : 'is another one than this host knows';
  return new Stop('backup_vanished', `backup ${known.number} of ${store} ${what}`, {
    store,
    number: known.number,
    known: known.sha256,
    found: entry?.sha256 ?? null,
  });
}

/** Holds each envelope against the one before, and puts entries where numbers are absent. */
function linked(store: string, found: readonly ChainEntry[]): readonly ChainEntry[] {
  const entries: ChainEntry[] = [];
  let before: ChainEntry | null = null;
  for (const entry of found) {
    const from: number = (before?.number ?? 0) + 1;
    if (entry.number > from) entries.push(absent(store, from, entry.number - 1));
    const previous: string | null = entry.number > from ? null : (before?.sha256 ?? null);
    const isBroken = entry.envelope !== null && (entry.number > from || entry.envelope.previous !== previous);
    const stop =
      entry.stop ??
      (isBroken
        ? new Stop('chain_broken', `backup ${entry.number} of ${store} does not follow the one before`, {
            store,
            number: entry.number,
            previous: entry.envelope?.previous,
            found: previous,
          })
        : null);
    entries.push({ ...entry, stop });
    before = entry;
  }
  return entries;
}

function absent(store: string, number: number, to: number): ChainEntry {
  const which = number === to ? `backup ${number}` : `backups ${number} to ${to}`;
  const stop = new Stop('chain_broken', `${which} of ${store} is not there`, { store, number, to });
  return { number, envelope: null, sha256: null, signedBy: null, countersigned: null, stop };
}

/**
 * One envelope, believed by itself; whether it follows the one before, its chain says.
 * @param reading `adopt`: fingerprint of a key that is believed for this one, whatever the trust says of it
 * @returns `adopted` null: the trust believes it
 * @throws Stop artefact_missing where there is none; those of an entry but chain_broken; io_error, permission_denied
 */
export async function readEnvelope(
  open: OpenVault,
  store: string,
  number: number,
  { now, adopt }: Pick<ReadEnvelopes, 'now' | 'adopt'>,
): Promise<{ readonly envelope: Envelope; readonly sha256: string; readonly adopted: Adopted | null }> {
  const entry = await readEntry(open, store, number, now);
  if (entry === null) throw new Stop('artefact_missing', `there is no backup ${number} of ${store}`, { store, number });
  const adopted = adoptionOf(entry, store, adopt);
  const name = OBJECTS.envelope(store, number);
  const bytes = await open.place.read(name, ENVELOPE_BYTES_MAX);
  const sha256 = sha256Of(bytes);
  if (sha256 !== entry.sha256) throw new Stop('vault_invalid', `${name} changed while it was read`, { object: name });
  return { envelope: parseEnvelope(name, bytes), sha256, adopted };
}

/** null: nobody committed this number (yet). */
async function readEntry(open: OpenVault, store: string, number: number, now: string): Promise<ChainEntry | null> {
  const { place } = open;
  const directory = OBJECTS.backup(store, number);
  const objects = await place.children(directory);
  if (!objects.includes('envelope.json')) return null;
  const entry = { number, envelope: null, sha256: null, signedBy: null, countersigned: null, stop: null };
  let known: ChainEntry = entry;
  try {
    const bytes = await place.read(OBJECTS.envelope(store, number), ENVELOPE_BYTES_MAX);
    known = { ...known, sha256: sha256Of(bytes) };
    const other = objects.find((name) => !BESIDE_ENVELOPE.test(name));
    const envelope = parseEnvelope(OBJECTS.envelope(store, number), bytes);
    known = { ...known, envelope: summaryOf(envelope) };
    if (other !== undefined) throw foreignObject(`${directory}/${other}`);
    if (envelope.vault !== open.description.vault || envelope.store !== store || envelope.number !== number)
      throw foreignObject(OBJECTS.envelope(store, number), {
        vault: envelope.vault,
        store: envelope.store,
        number: envelope.number,
      });
    if (!open.trust.keys.some((key) => key.number === envelope.keyNumber))
      throw new Stop('vault_invalid', `${OBJECTS.envelope(store, number)} is sealed to a key that the vault has not`, {
        object: OBJECTS.envelope(store, number),
        keyNumber: envelope.keyNumber,
      });
    return { ...known, ...(await believe(open, envelope, { bytes, objects, now })) };
  } catch (error) {
    if (isOwnFault(error)) return { ...known, stop: error };
    throw error;
  }
}

function summaryOf({ packs: _packs, ...summary }: Envelope): EnvelopeSummary {
  return summary;
}

interface Evidence {
  readonly bytes: Uint8Array;
  /** Names in the envelope's directory. */
  readonly objects: readonly string[];
  readonly now: string;
}

/** @throws Stop signature_invalid, vault_object_missing: nobody vouches for these bytes */
async function believe(
  open: OpenVault,
  { store, number, backupId, host }: Envelope,
  { bytes, objects, now }: Evidence,
): Promise<Pick<ChainEntry, 'signedBy' | 'countersigned' | 'stop'>> {
  const name = OBJECTS.signature(store, number, backupId);
  const signature = signatureText(await open.place.read(name, SIGNATURE_BYTES_MAX));
  const signed = {
    name: OBJECTS.envelope(store, number),
    bytes,
    signature,
    namespace: NAMESPACES.backup,
    signers: open.trust.signers,
    principal: host,
    at: now,
  };
  const { verdict, fingerprint } = await judgeSignature(signed);
  if (verdict === 'believed') return { signedBy: fingerprint, countersigned: null, stop: null };
  const stop = notBelieved(signed, verdict, fingerprint);
  if (verdict === 'signer_unknown') return { signedBy: fingerprint, countersigned: null, stop };
  const envelopeSha256 = sha256Of(bytes);
  for (const countersigned of await believedCountersignatures(open, { store, number, envelopeSha256, objects, now })) {
    const { signers } = open.trust;
    // Revoked since: then it was believed, if its time had come and not gone
    const then = await judgeSignature({
      ...signed,
      at: countersigned.verifiedAt,
      signers: { ...signers, revoked: new Set() },
    });
    if (then.verdict === 'believed') return { signedBy: fingerprint, countersigned, stop: null };
  }
  return { signedBy: fingerprint, countersigned: null, stop };
}

/**
 * Commits a backup: signature, then envelope, which takes its number. Packs and manifest are durable before.
 * @param signingKeyFile private key of the host, or the public key of one that an agent has
 * @returns what the next envelope names as `previous`
 * @throws Stop chain_moved where the number is taken; chain_broken where it does not follow the one before; signer_unknown,
 * signer_revoked, signer_expired where nobody would believe it; ssh_keygen_failed, secret_exposed, no_space, io_error
 */
export async function commitEnvelope(open: OpenVault, envelope: Envelope, signingKeyFile: string): Promise<Head> {
  const { place } = open;
  const { store, number, backupId, host, createdAt } = envelope;
  const name = OBJECTS.envelope(store, number);
  const bytes = objectBytes(envelope);
  // What this version would not read back is a defect, and not to be signed
  parseEnvelope(name, bytes);
  await assertFollows(open, envelope);
  const said = { name, bytes, namespace: NAMESPACES.backup, principal: host, at: createdAt };
  const signature = await signBelieved(open.trust.signers, said, signingKeyFile);
  if (!(await place.putNew(OBJECTS.signature(store, number, backupId), Buffer.from(signature))))
    throw new Error('defect: a backup id was used before');
  if (await place.putNew(name, bytes)) return { number, sha256: sha256Of(bytes) };
  throw new Stop('chain_moved', `another backup of ${store} took number ${number} first`, { store, number });
}

async function assertFollows({ place }: OpenVault, { store, number, previous }: Envelope): Promise<void> {
  const name = number === 1 ? null : OBJECTS.envelope(store, number - 1);
  const isThere = name !== null && (await place.sizeOf(name)) !== null;
  const found = isThere ? sha256Of(await place.read(name, ENVELOPE_BYTES_MAX)) : null;
  if ((number === 1 || isThere) && found === previous) return;
  throw new Stop('chain_broken', `backup ${number} of ${store} would not follow the one before`, {
    store,
    number,
    previous,
    found,
  });
}

/** In the order of the items. */
async function mapAtMost<T, R>(
  atOnce: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += atOnce)
    results.push(...(await Promise.all(items.slice(from, from + atOnce).map(work))));
  return results;
}
