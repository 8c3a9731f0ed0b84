// What a host believes: a vault is opened by what it was given beforehand, its id and the fingerprint of the admin key, and
// everything else is believed because the admin key signed it. docs/vault-format.md "Reading" 1 and 2, "Orders of writing".
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isStoreName } from '../domain/protocol.js';
import { objectBytes, parseTrust, parseVault } from '../domain/schema/vault.js';
import { Stop } from '../domain/stop.js';
import { NAMESPACES, numberOfText, numberText, OBJECTS, TRUST_FORMAT, VAULT_FORMAT } from '../domain/vault.js';
import type { TrustDescription, VaultDescription, VaultKey } from '../domain/vault.js';
import { makeVaultKey } from './keys.js';
import type { Place } from './place.js';
import { fingerprintOf, publicKeyOf, sign, signatureText, SIGNATURE_BYTES_MAX, verifyPinned } from './signatures.js';
import { parseSigners } from './signers.js';
import type { Signers } from './signers.js';

const DESCRIPTION_BYTES_MAX = 64 * 1024;
const TRUST_FILE_BYTES_MAX = 1024 * 1024;
const DEFINITIONS_MAX = 10_000;
const DEFINITION = /^definitions\/([a-z0-9-]+)\.yaml$/;

/** What a host was given beforehand. */
export interface VaultPin {
  /** UUID. */
  readonly vault: string;
  /** Fingerprint of the admin key. */
  readonly admin: string;
}

/** A trust by which a host knows what is newer. */
export interface TrustSeen {
  readonly number: number;
  /** Of its digests, lower-case hex: two of one number are not the same, even if the admin key signed both. */
  readonly sha256: string;
}

/** What the admin key says, as of one number. */
export interface Trust extends TrustSeen {
  readonly createdAt: string;
  /** From number 1 on; the last one serves new packs and manifests. */
  readonly keys: readonly VaultKey[];
  /** Texts of the files. */
  readonly allowedSigners: string;
  readonly revokedKeys: string;
  /** Store definitions, for an empty host, by store. */
  readonly definitions: ReadonlyMap<string, string>;
  /** What the two texts mean. */
  readonly signers: Signers;
}

/** A vault whose description and trust are believed. */
export interface OpenVault {
  readonly place: Place;
  readonly description: VaultDescription;
  readonly trust: Trust;
}

/** The key that serves new packs and manifests. */
export function currentKey({ trust }: OpenVault): VaultKey {
  const key = trust.keys.at(-1);
  if (key === undefined) throw new Error('defect: trust without a key passed the schema');
  return key;
}

/**
 * Opens a vault: Reading, steps 1 and 2.
 * @param seen `trustSeen`: the newest trust that this host has ever believed; null: none
 * @throws Stop vault_missing, vault_invalid, vault_newer, vault_differs, vault_object_missing, vault_object_foreign,
 * signature_invalid, signer_unknown, trust_rewound
 */
export async function openVault(
  place: Place,
  pin: VaultPin,
  { trustSeen }: { readonly trustSeen: TrustSeen | null },
): Promise<OpenVault> {
  const description = await readDescription(place, pin);
  const trust = await readTrust(place, description);
  if (trustSeen !== null) assertNotRewound(place, trust, trustSeen);
  return { place, description, trust };
}

function assertNotRewound({ location }: Place, { number, sha256 }: Trust, seen: TrustSeen): void {
  if (number > seen.number || (number === seen.number && sha256 === seen.sha256)) return;
  const what = number === seen.number ? `another trust ${number} than` : `trust ${number}, older than`;
  throw new Stop('trust_rewound', `the vault offers ${what} this host has seen`, { vault: location, number, seen });
}

async function readDescription(place: Place, pin: VaultPin): Promise<VaultDescription> {
  const name = OBJECTS.vault;
  if ((await place.sizeOf(name)) === null)
    throw new Stop('vault_missing', `there is no vault at ${place.location}`, { vault: place.location });
  const bytes = await place.read(name, DESCRIPTION_BYTES_MAX);
  const signature = signatureText(await place.read(OBJECTS.vaultSignature, SIGNATURE_BYTES_MAX));
  try {
    await verifyPinned({ name, bytes, signature, namespace: NAMESPACES.admin }, pin.admin);
  } catch (error) {
    // Another vault has another admin: who was given the wrong settings is told so, not that somebody forges
    if (error instanceof Stop && error.code === 'signer_unknown') assertSame(place, parseVault(name, bytes), pin);
    throw error;
  }
  const description = parseVault(name, bytes);
  assertSame(place, description, pin);
  return description;
}

function assertSame(place: Place, description: VaultDescription, pin: VaultPin): void {
  if (description.vault === pin.vault && description.admin === pin.admin) return;
  throw new Stop('vault_differs', `the vault at ${place.location} is another one than this host was given`, {
    place: place.location,
    given: { vault: pin.vault, admin: pin.admin },
    found: { vault: description.vault, admin: description.admin },
  });
}

interface TrustNumber {
  readonly number: number;
  readonly isSigned: boolean;
}

/** Numbers of trust that there are, the highest first. */
async function trustNumbers(place: Place): Promise<readonly TrustNumber[]> {
  const numbers: TrustNumber[] = [];
  for (const text of await place.children(OBJECTS.trusts)) {
    const number = numberOfText(text);
    if (number === null) throw foreign(place, `${OBJECTS.trusts}/${text}`);
    const isSigned = (await place.sizeOf(`${OBJECTS.trust(number)}/digests.sig`)) !== null;
    numbers.push({ number, isSigned });
  }
  return numbers.sort((left, right) => right.number - left.number);
}

async function readTrust(place: Place, description: VaultDescription): Promise<Trust> {
  for (const { number, isSigned } of await trustNumbers(place)) {
    if (!isSigned) continue;
    const trust = await readTrustOf(place, description, number);
    if (trust !== 'abandoned') return trust;
  }
  throw new Stop('vault_invalid', `the vault at ${place.location} has no trust that was finished`, {
    vault: place.location,
  });
}

const abandonedLine = (vault: string, number: number): Buffer =>
  Buffer.from(`abandoned ${vault} ${numberText(number)}\n`);

async function readTrustOf(
  place: Place,
  { vault, admin }: VaultDescription,
  number: number,
): Promise<Trust | 'abandoned'> {
  const directory = OBJECTS.trust(number);
  const name = `${directory}/digests`;
  const signature = signatureText(await place.read(`${name}.sig`, SIGNATURE_BYTES_MAX));
  const namespace = NAMESPACES.admin;
  if (await isAbandoned(signature, { name, vault, admin, number })) return 'abandoned';
  const digests = await place.read(name, TRUST_FILE_BYTES_MAX);
  await verifyPinned({ name, bytes: digests, signature, namespace }, admin);
  const files = await readDigested(place, directory, digests);
  const text = (file: string): string => textOf(directory, file, files.get(file));
  const about = parseTrust(`${directory}/trust.json`, files.get('trust.json') ?? new Uint8Array(0));
  if (about.vault !== vault || about.number !== number)
    throw foreign(place, `${directory}/trust.json`, { vault: about.vault, number: about.number });
  const definitions = [...files.keys()].flatMap((file) => {
    const store = DEFINITION.exec(file)?.[1];
    return store === undefined ? [] : [[store, text(file)] as const];
  });
  return toTrust(about, sha256Of(digests), {
    allowedSigners: text('allowed_signers'),
    revokedKeys: text('revoked_keys'),
    definitions: new Map(definitions),
  });
}

async function isAbandoned(
  signature: string,
  { name, vault, admin, number }: VaultPin & { readonly name: string; readonly number: number },
): Promise<boolean> {
  const bytes = abandonedLine(vault, number);
  try {
    await verifyPinned({ name, bytes, signature, namespace: NAMESPACES.admin }, admin);
    return true;
  } catch (error) {
    if (error instanceof Stop && (error.code === 'signature_invalid' || error.code === 'signer_unknown')) return false;
    throw error;
  }
}

function toTrust({ number, createdAt, keys }: TrustDescription, sha256: string, texts: TrustTexts): Trust {
  const { allowedSigners, revokedKeys } = texts;
  return { number, sha256, createdAt, keys, ...texts, signers: parseSigners(allowedSigners, revokedKeys) };
}

function textOf(directory: string, file: string, bytes: Uint8Array | undefined): string {
  if (bytes === undefined)
    throw new Stop('vault_invalid', `${directory}/digests does not name ${file}`, { object: `${directory}/digests` });
  return Buffer.from(bytes).toString('utf8');
}

/** Files that the digests name, each with that digest; there are no others. */
async function readDigested(
  place: Place,
  directory: string,
  digests: Uint8Array,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const object = `${directory}/digests`;
  const files = new Map<string, Uint8Array>();
  const lines = Buffer.from(digests).toString('utf8').split('\n');
  if (lines.pop() !== '' || lines.length > DEFINITIONS_MAX)
    throw new Stop('vault_invalid', `${object} does not end with a line`, { object });
  for (const line of lines) {
    const [, sha256, file] = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line) ?? [];
    if (sha256 === undefined || file === undefined || !isTrustFile(file) || files.has(file))
      throw new Stop('vault_invalid', `${object} has a line that is no digest of a file of trust`, { object });
    const bytes = await place.read(`${directory}/${file}`, TRUST_FILE_BYTES_MAX);
    if (sha256Of(bytes) !== sha256)
      throw new Stop('vault_invalid', `${directory}/${file} is not what ${object} says`, {
        object: `${directory}/${file}`,
      });
    files.set(file, bytes);
  }
  for (const { name } of await place.list(directory)) {
    const file = name.slice(directory.length + 1);
    if (!files.has(file) && file !== 'digests' && file !== 'digests.sig') throw foreign(place, name);
  }
  return files;
}

function isTrustFile(file: string): boolean {
  const store = DEFINITION.exec(file)?.[1];
  return file === 'trust.json' || file === 'allowed_signers' || file === 'revoked_keys' || isStoreName(store);
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function foreign(place: Place, name: string, found: object = {}): Stop {
  return new Stop('vault_object_foreign', `${name} does not belong there`, {
    vault: place.location,
    object: name,
    ...found,
  });
}

export interface TrustTexts {
  readonly allowedSigners: string;
  readonly revokedKeys: string;
  readonly definitions: ReadonlyMap<string, string>;
}

/** What trust says next; what is absent stays. */
export type TrustChange = Partial<TrustTexts & { readonly keys: readonly VaultKey[] }>;

export interface AdminAct {
  /** Private key, or the public key of one that an agent has. */
  readonly adminKeyFile: string;
  /** RFC 3339. */
  readonly now: string;
}

/**
 * Publishes the next trust. Its number is taken by the first file: two admins can't both publish one.
 * @returns the vault, as whoever opens it from now on sees it
 * @throws Stop trust_moved where another has published it, or has begun to; usage where a line of allowed_signers would
 * not count; vault_invalid, ssh_keygen_failed, secret_exposed, signer_unknown where the key is not the admin's
 */
export async function publishTrust(open: OpenVault, change: TrustChange, act: AdminAct): Promise<OpenVault> {
  const { place, description, trust } = open;
  const texts: TrustTexts = {
    allowedSigners: change.allowedSigners ?? trust.allowedSigners,
    revokedKeys: change.revokedKeys ?? trust.revokedKeys,
    definitions: change.definitions ?? trust.definitions,
  };
  const about: TrustDescription = {
    format: TRUST_FORMAT,
    vault: description.vault,
    number: await nextNumber(open),
    createdAt: act.now,
    keys: change.keys ?? trust.keys,
  };
  return { place, description, trust: await writeTrust(place, description, about, texts, act) };
}

/**
 * Makes a new vault key, to which everything is sealed from now on. What was written so far stays sealed to those before.
 * Killed in between it leaves `keys/<n>.age`, which no trust names.
 * @param recipients of the people who may read, `age1…`
 * @throws Stop trust_moved where such a file is there: another admin is at it, or was killed; usage where a recipient is
 * none; those of publishTrust
 */
export async function renewVaultKey(
  open: OpenVault,
  recipients: readonly string[],
  act: AdminAct,
): Promise<{ readonly open: OpenVault; readonly key: VaultKey }> {
  const { place, trust } = open;
  const { key, sealed } = await makeVaultKey(trust.keys.length + 1, recipients);
  const object = OBJECTS.key(key.number);
  // A key that can't sign leaves nothing begun
  await signAsAdmin(object, sealed, { adminKeyFile: act.adminKeyFile, admin: open.description.admin });
  if (!(await place.putNew(object, sealed)))
    throw new Stop('trust_moved', `vault key ${key.number} was begun, and no trust names it`, {
      vault: place.location,
      object,
      ifNobodyIsAtIt: 'remove the object, and try again',
    });
  return { open: await publishTrust(open, { keys: [...trust.keys, key] }, act), key };
}

async function nextNumber({ place, description, trust }: OpenVault): Promise<number> {
  const [highest] = await trustNumbers(place);
  if (highest === undefined || highest.number === trust.number) return trust.number + 1;
  if (!highest.isSigned) throw begun(place, highest.number);
  // Higher ones that are signed may have been abandoned
  const newest = await readTrust(place, description);
  if (newest.number !== trust.number) throw moved(place, newest.number);
  return highest.number + 1;
}

/**
 * Gives up a number of trust that was begun and never ended, so that the next one can be published. Whoever ends it in the
 * same moment wins.
 * @throws Stop trust_moved where it was ended; usage where nothing was begun
 */
export async function abandonTrust({ place, description }: OpenVault, { adminKeyFile }: AdminAct): Promise<number> {
  const [highest] = await trustNumbers(place);
  if (highest === undefined || highest.isSigned)
    throw new Stop('usage', 'no trust was begun that did not end', { vault: place.location });
  const name = `${OBJECTS.trust(highest.number)}/digests.sig`;
  const bytes = abandonedLine(description.vault, highest.number);
  const signature = await signAsAdmin(name, bytes, { adminKeyFile, admin: description.admin });
  if (!(await place.putNew(name, Buffer.from(signature)))) throw moved(place, highest.number);
  return highest.number;
}

async function writeTrust(
  place: Place,
  { admin }: VaultDescription,
  about: TrustDescription,
  texts: TrustTexts,
  { adminKeyFile }: AdminAct,
): Promise<Trust> {
  const directory = OBJECTS.trust(about.number);
  const files = filesOf(about, texts);
  const digests = Buffer.from(files.map(([file, bytes]) => `${sha256Of(bytes)}  ${file}\n`).join(''));
  const trust = toTrust(about, sha256Of(digests), texts);
  const [ignored] = trust.signers.ignored;
  if (ignored !== undefined)
    throw new Stop('usage', `line ${ignored.line} of allowed_signers would not count: ${ignored.why}`, ignored);
  const name = `${directory}/digests`;
  // Signed first: a key that can't sign leaves nothing begun
  const signature = await signAsAdmin(name, digests, { adminKeyFile, admin });
  // The first file takes the number
  const [first, ...others] = [...files].sort(([file]) => (file === 'trust.json' ? -1 : 0));
  for (const [file, bytes] of [...(first === undefined ? [] : [first]), ...others, ['digests', digests] as const])
    if (!(await place.putNew(`${directory}/${file}`, bytes))) throw begun(place, about.number);
  if (!(await place.putNew(`${name}.sig`, Buffer.from(signature)))) throw moved(place, about.number);
  return trust;
}

function filesOf(about: TrustDescription, texts: TrustTexts): readonly (readonly [string, Buffer])[] {
  const definitions = [...texts.definitions].map(([store, text]) => {
    if (!isStoreName(store)) throw new Stop('usage', `${JSON.stringify(store)} is not a store id`, { store });
    return [`definitions/${store}.yaml`, Buffer.from(text)] as const;
  });
  const files = [
    ['trust.json', objectBytes(about)] as const,
    ['allowed_signers', Buffer.from(texts.allowedSigners)] as const,
    ['revoked_keys', Buffer.from(texts.revokedKeys)] as const,
    ...definitions,
  ];
  return files.sort(([left], [right]) => (left < right ? -1 : 1));
}

/** @throws Stop signer_unknown where the key is not that of the admin */
async function signAsAdmin(
  name: string,
  bytes: Uint8Array,
  { adminKeyFile, admin }: { readonly adminKeyFile: string; readonly admin: string },
): Promise<string> {
  const signature = await sign(adminKeyFile, NAMESPACES.admin, bytes);
  await verifyPinned({ name, bytes, signature, namespace: NAMESPACES.admin }, admin);
  return signature;
}

export interface InitVault extends AdminAct {
  /** UUID of the new vault. */
  readonly vault: string;
  /** `age1…` of the people who may read. */
  readonly recipients: readonly string[];
  readonly texts: TrustTexts;
}

/**
 * Makes a vault in an empty place. `vault.json` is its commit marker; the signature of it, written first, is the claim.
 * @throws Stop target_exists where anything is there; usage where a recipient is none; those of publishTrust
 */
export async function initVault(place: Place, init: InitVault): Promise<OpenVault> {
  const { vault, recipients, texts, adminKeyFile, now } = init;
  const admin = fingerprintOf(await publicKeyOf(adminKeyFile));
  const description: VaultDescription = { format: VAULT_FORMAT, vault, createdAt: now, admin };
  const key = await makeVaultKey(1, recipients);
  const bytes = objectBytes(description);
  const signature = await signAsAdmin(OBJECTS.vault, bytes, { adminKeyFile, admin });
  const found = await place.children('');
  if (found.length > 0 || !(await place.putNew(OBJECTS.vaultSignature, Buffer.from(signature))))
    throw new Stop('target_exists', `${place.location} is not empty`, {
      path: place.location,
      found: found.slice(0, 10),
    });
  await place.putNew(OBJECTS.key(1), key.sealed);
  const about = { format: TRUST_FORMAT, vault, number: 1, createdAt: now, keys: [key.key] } as const;
  const trust = await writeTrust(place, description, about, texts, init);
  const recover = recoverScript();
  if (recover !== null) await place.replace(OBJECTS.recover, recover);
  await place.putNew(OBJECTS.vault, bytes);
  return { place, description, trust };
}

/** What lies beside this module in a build. null: it is none. */
function recoverScript(): Buffer | null {
  const path = fileURLToPath(new URL('./recover.sh', import.meta.url));
  return existsSync(path) ? readFileSync(path) : null;
}

function begun(place: Place, number: number): Stop {
  return new Stop('trust_moved', `trust ${number} was begun and has not ended`, {
    vault: place.location,
    number,
    ifItNeverEnds: 'holdfast keys abandon',
  });
}

function moved(place: Place, number: number): Stop {
  return new Stop('trust_moved', `trust ${number} was published meanwhile`, { vault: place.location, number });
}
