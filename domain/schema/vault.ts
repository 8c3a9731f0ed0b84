// The zod schemas of a vault's objects in clear, and of vaults/<name>.yaml. docs/vault-format.md says what they mean. Objects
// come from outside: they are parsed strictly, and must be the canonical bytes, so that nothing can be read in two ways.
import { isAbsolute } from 'node:path/posix';
import { z } from 'zod';
import { FINGERPRINT } from '../adoption.js';
import { canonicalJson } from '../canonical.js';
import { isStoreName } from '../protocol.js';
import { Stop } from '../stop.js';
import { ENVELOPE_FORMAT, TRUST_FORMAT, VAULT_FORMAT, VERIFIED_FORMAT } from '../vault.js';
import type { Envelope, TrustDescription, VaultDescription, VaultSettings, Verified } from '../vault.js';
import type { SchemaNode } from './definition.js';
import { manifestSchema } from './manifest.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().min(0);
const number = z.number().int().min(1);
/** The format has them in lower case; a path is made of them. */
const uuid = z.uuid().regex(/^[0-9a-f-]+$/, 'must be in lower case');
const instant = z.iso.datetime();
const store = z.string().refine(isStoreName, 'must be a store id');
const fingerprint = z.string().regex(FINGERPRINT, 'must be a fingerprint as `ssh-keygen -l` prints it: SHA256:…');
const recipient = z.string().regex(/^age1[02-9ac-hj-np-z]{58}$/);
const object = z.strictObject({ sha256, sizeBytes: count });
const place = { root: z.string(), path: z.string() };
const facts = manifestSchema.shape.databases.element.shape;

export const vaultSchema = z.strictObject({
  format: z.literal(VAULT_FORMAT),
  vault: uuid,
  createdAt: instant,
  admin: fingerprint,
}) satisfies z.ZodType<VaultDescription, unknown>;

export const trustSchema = z.strictObject({
  format: z.literal(TRUST_FORMAT),
  vault: uuid,
  number,
  createdAt: instant,
  keys: z
    .array(z.strictObject({ number, recipient }))
    .min(1)
    .refine((keys) => keys.every((key, index) => key.number === index + 1), 'must be numbered from 1, without gaps'),
}) satisfies z.ZodType<TrustDescription, unknown>;

export const envelopeSchema = z.strictObject({
  format: z.literal(ENVELOPE_FORMAT),
  vault: uuid,
  store,
  number,
  backupId: uuid,
  operation: uuid,
  host: z.string().min(1).max(255),
  createdAt: instant,
  holdfastVersion: z.string(),
  platform: manifestSchema.shape.platform,
  epoch: manifestSchema.shape.epoch,
  previous: sha256.nullable(),
  keyNumber: number,
  manifest: object,
  packs: z
    .array(object)
    .refine((packs) => new Set(packs.map((pack) => pack.sha256)).size === packs.length, 'must name each pack once'),
  totals: z.strictObject({ files: count, databases: count, sizeBytes: count, addedBytes: count }),
  witnesses: z.strictObject({
    sequences: z.array(facts.sequences.element.extend(place)),
    appendOnly: z.array(facts.appendOnly.element.extend(place)),
  }),
  generation: count,
}) satisfies z.ZodType<Envelope, unknown>;

export const verifiedSchema = z.strictObject({
  format: z.literal(VERIFIED_FORMAT),
  vault: uuid,
  store,
  number,
  envelopeSha256: sha256,
  verifiedAt: instant,
  depth: z.enum(['sample', 'full']),
}) satisfies z.ZodType<Verified, unknown>;

/**
 * @param name of the object, for messages
 * @throws Stop vault_newer where its format is another; vault_invalid where it isn't what the format says, byte for byte
 */
export const parseVault = (name: string, bytes: Uint8Array): VaultDescription =>
  parseObject(name, bytes, vaultSchema, VAULT_FORMAT);

/** As parseVault. */
export const parseTrust = (name: string, bytes: Uint8Array): TrustDescription =>
  parseObject(name, bytes, trustSchema, TRUST_FORMAT);

/** As parseVault. */
export const parseEnvelope = (name: string, bytes: Uint8Array): Envelope =>
  parseObject(name, bytes, envelopeSchema, ENVELOPE_FORMAT);

/** As parseVault. */
export const parseVerified = (name: string, bytes: Uint8Array): Verified =>
  parseObject(name, bytes, verifiedSchema, VERIFIED_FORMAT);

/** The bytes of an object: canonical JSON and a newline. */
export function objectBytes(value: VaultDescription | TrustDescription | Envelope | Verified): Buffer {
  return Buffer.from(`${canonicalJson(value)}\n`);
}

function parseObject<T>(name: string, bytes: Uint8Array, schema: z.ZodType<T, unknown>, format: string): T {
  const text = decode(bytes);
  const value = text === null ? undefined : parseJson(text);
  if (value === undefined) throw new Stop('vault_invalid', `${name} is not JSON in UTF-8`, { object: name });
  const found = (value as { readonly format?: unknown } | null)?.format;
  if (typeof found === 'string' && found !== format)
    throw new Stop('vault_newer', `${name} has a format that this version does not know`, {
      object: name,
      format: found.slice(0, 100),
      known: format,
    });
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue?.path.map(String).join('.') ?? '';
    throw new Stop('vault_invalid', `${name} is not what the format says: ${key}: ${issue?.message ?? ''}`, {
      object: name,
      key,
    });
  }
  if (!isCanonical(value, text)) throw new Stop('vault_invalid', `${name} is not canonical JSON`, { object: name });
  return parsed.data;
}

function decode(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** undefined: no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isCanonical(value: unknown, text: string | null): boolean {
  try {
    return `${canonicalJson(value)}\n` === text;
  } catch (error) {
    // Lone surrogates, which JSON can write and canonical JSON can't
    if (error instanceof TypeError) return false;
    throw error;
  }
}

const path = z.string().refine((text) => isAbsolute(text), 'must be an absolute path');

/** vaults/<name>.yaml as people write it. */
export const vaultSettingsSchema = z.strictObject({
  holdfast: z.literal(1).describe('version of this format'),
  directory: path.describe('where the vault lies'),
  vault: uuid.describe('id that the vault must have'),
  admin: fingerprint.describe('fingerprint of the admin key, by which everything else is believed'),
  signingKeyFile: path
    .nullable()
    .default(null)
    .describe(
      'private SSH key of this host, or the public key of one that an agent has; without it nothing is written',
    ),
  identityFile: path
    .nullable()
    .default(null)
    .describe('age identities, for reading; only on the recovery host, never on one that only writes'),
  identityCommand: z
    .array(z.string())
    .min(1)
    .refine((argv) => isAbsolute(argv[0] ?? ''), 'must begin with an absolute path: it runs without a shell')
    .nullable()
    .default(null)
    .describe('prints age identities; instead of identityFile'),
});

/** As JSON Schema 2020-12: for what a key may be called. */
export function vaultSettingsJsonSchema(): SchemaNode {
  return z.toJSONSchema(vaultSettingsSchema, { io: 'input' }) as SchemaNode;
}

export function toVaultSettings(name: string, parsed: z.output<typeof vaultSettingsSchema>): VaultSettings {
  const { directory, vault, admin, signingKeyFile, identityFile, identityCommand } = parsed;
  return { name, directory, vault, admin, signingKeyFile, identityFile, identityCommand };
}
