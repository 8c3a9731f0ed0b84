// The vault's language: what its objects say (docs/vault-format.md). Pure types and rules, no I/O.
import type {
  AppendOnlyFact,
  DirectoryEntry,
  Epoch,
  FileEntry,
  Manifest,
  ManifestDatabase,
  SequenceFact,
} from './manifest.js';

export const VAULT_FORMAT = 'holdfast-vault-1';
export const ENVELOPE_FORMAT = 'holdfast-envelope-1';
export const TRUST_FORMAT = 'holdfast-trust-1';
export const VERIFIED_FORMAT = 'holdfast-verified-1';
export const VAULT_MANIFEST_FORMAT = 'holdfast-manifest-2';

/** Namespaces of signatures: one a role, so that no signature can be taken for another's. */
export const NAMESPACES = {
  backup: 'holdfast',
  verify: 'holdfast-verify',
  retain: 'holdfast-retain',
  admin: 'holdfast-admin',
} as const;
export type Role = keyof typeof NAMESPACES;

/** vault.json: written once. What may change is in trust. */
export interface VaultDescription {
  readonly format: typeof VAULT_FORMAT;
  /** UUID. */
  readonly vault: string;
  readonly createdAt: string;
  /** Fingerprint of the admin key: `SHA256:…`. */
  readonly admin: string;
}

/** trust/<number>/trust.json: what binds the files beside it to this vault and this number. */
export interface TrustDescription {
  readonly format: typeof TRUST_FORMAT;
  readonly vault: string;
  readonly number: number;
  readonly createdAt: string;
  /** From number 1 on, without gaps; the last one serves new packs and manifests. */
  readonly keys: readonly VaultKey[];
}

export interface VaultKey {
  readonly number: number;
  /** `age1…` */
  readonly recipient: string;
}

/** An object with its digest (lower-case hex) and length. */
export interface ObjectFact {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/**
 * Some frames of a pack that are, decompressed, consecutive bytes of a file: index into the envelope's packs, offset and
 * length in the pack's plaintext, and what the frames decompress to, bytes.
 */
export type RunTuple = readonly [pack: number, offset: number, length: number, size: number];

export type VaultFileEntry = FileEntry & { readonly runs: readonly RunTuple[] };

/** The `backup` line of a manifest. */
export type VaultBackupLine = Omit<Manifest, 'databases' | 'entries' | 'format' | 'documents'> & {
  readonly format: typeof VAULT_MANIFEST_FORMAT;
};

/** A line of a manifest: exactly one key. */
export type VaultManifestLine =
  | { readonly backup: VaultBackupLine }
  | { readonly database: ManifestDatabase }
  | { readonly directory: Omit<DirectoryEntry, 'type'> }
  | { readonly file: VaultFileEntry }
  | { readonly end: { readonly lines: number } };

/** Which database a witnessed fact is of. */
export interface WitnessPlace {
  readonly root: string;
  readonly path: string;
}

export interface Envelope {
  readonly format: typeof ENVELOPE_FORMAT;
  readonly vault: string;
  readonly store: string;
  readonly number: number;
  readonly backupId: string;
  readonly operation: string;
  readonly host: string;
  readonly createdAt: string;
  readonly holdfastVersion: string;
  readonly platform: Manifest['platform'];
  readonly epoch: Epoch | null;
  /** sha256 of the envelope before, lower-case hex. */
  readonly previous: string | null;
  readonly keyNumber: number;
  readonly manifest: ObjectFact;
  readonly packs: readonly ObjectFact[];
  readonly totals: {
    readonly files: number;
    readonly databases: number;
    readonly sizeBytes: number;
    /** New packs and the manifest. */
    readonly addedBytes: number;
  };
  readonly witnesses: {
    readonly sequences: readonly (WitnessPlace & SequenceFact)[];
    readonly appendOnly: readonly (WitnessPlace & AppendOnlyFact)[];
  };
  /** Highest number in condemned/ that the writer had read; 0: none. */
  readonly generation: number;
}

/** `<id>.verified.json` */
export interface Verified {
  readonly format: typeof VERIFIED_FORMAT;
  readonly vault: string;
  readonly store: string;
  readonly number: number;
  readonly envelopeSha256: string;
  readonly verifiedAt: string;
  readonly depth: 'sample' | 'full';
}

const NUMBER_DIGITS = 16;
const NUMBER = /^\d{16}$/;

/** As names have it. */
export const numberText = (number: number): string => String(number).padStart(NUMBER_DIGITS, '0');

/** null: no number of a name; numbers begin with 1. */
export function numberOfText(text: string): number | null {
  const number = NUMBER.test(text) ? Number(text) : 0;
  return number >= 1 && Number.isSafeInteger(number) ? number : null;
}

/** Names of objects; `/` between parts, relative to the vault. */
export const OBJECTS = {
  vault: 'vault.json',
  vaultSignature: 'vault.json.sig',
  recover: 'recover.sh',
  key: (number: number): string => `keys/${number}.age`,
  pack: (sha256: string): string => `packs/${sha256.slice(0, 2)}/${sha256}.age`,
  backups: (store: string): string => `backups/${store}`,
  backup: (store: string, number: number): string => `backups/${store}/${numberText(number)}`,
  envelope: (store: string, number: number): string => `${OBJECTS.backup(store, number)}/envelope.json`,
  manifest: (store: string, number: number, id: string): string =>
    `${OBJECTS.backup(store, number)}/${id}.manifest.age`,
  signature: (store: string, number: number, id: string): string =>
    `${OBJECTS.backup(store, number)}/${id}.envelope.sig`,
  verified: (store: string, number: number, id: string): string =>
    `${OBJECTS.backup(store, number)}/${id}.verified.json`,
  verifiedSignature: (store: string, number: number, id: string): string =>
    `${OBJECTS.backup(store, number)}/${id}.verified.sig`,
  trusts: 'trust',
  trust: (number: number): string => `trust/${numberText(number)}`,
  intent: (id: string): string => `intents/${id}.json`,
  condemned: (number: number): string => `condemned/${numberText(number)}.json`,
} as const;

/** `vaults/<name>.yaml` beside the store definitions: a vault, as this host knows it. What it trusts is here, not in the vault. */
export interface VaultSettings {
  /** Name of the file. */
  readonly name: string;
  /** Absolute path. */
  readonly directory: string;
  /** UUID that vault.json must have. */
  readonly vault: string;
  /** Fingerprint of the admin key: `SHA256:…`. */
  readonly admin: string;
  /** File of the private SSH key with which this host signs, or of a public key that an agent has; null: it writes nothing. */
  readonly signingKeyFile: string | null;
  /** File of age identities; null: none, as on a host that only writes. */
  readonly identityFile: string | null;
  /** Prints age identities, no shell; null: none. */
  readonly identityCommand: readonly string[] | null;
}
