// The zod schema of manifest.json. A manifest comes from outside: it is parsed strictly before any field of it is used.
import { z } from 'zod';
import { LAYOUT_NAMES } from '../definition.js';
import { MANIFEST_FORMAT } from '../manifest.js';
import type { Manifest } from '../manifest.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const integer = z.string().regex(/^-?\d{1,19}$/);
const count = z.number().int().min(0);
const metadata = {
  mode: z.number().int().min(0).max(0o7777),
  uid: count,
  gid: count,
  // Seconds have 64 bits where the filesystem has them: 2286 and later are beyond 64 bits of nanoseconds
  mtimeNanos: z.string().regex(/^-?\d{1,28}$/),
  xattrs: z.exactOptional(z.record(z.string(), z.base64())),
};
const entry = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('directory'), root: z.string(), path: z.string(), ...metadata }),
  z.strictObject({
    type: z.literal('file'),
    root: z.string(),
    path: z.string(),
    sizeBytes: count,
    sha256,
    ...metadata,
  }),
  z.strictObject({
    type: z.literal('database'),
    root: z.string(),
    path: z.string(),
    sizeBytes: count,
    sha256,
    ...metadata,
  }),
]);
/** Of the entries some at a time: a list of them all would be there twice. */
export const manifestEntriesSchema = z.array(entry);

const facts = {
  pageSizeBytes: count,
  journalMode: z.string(),
  tables: z.array(z.strictObject({ name: z.string(), rows: count })),
  sequences: z.array(z.strictObject({ table: z.string(), column: z.string(), value: integer.nullable() })),
  appendOnly: z.array(
    z.strictObject({ table: z.string(), column: z.string(), upTo: z.string().nullable(), rows: count, sha256 }),
  ),
  migrations: z.strictObject({ table: z.string(), orderBy: z.string(), rowSha256: z.array(sha256) }).nullable(),
  foreignKeys: z.exactOptional(z.strictObject({ violations: count, mismatchedTables: z.array(z.string()) })),
};

export const manifestSchema = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  layout: z.enum(LAYOUT_NAMES),
  backupId: z.uuid(),
  number: z.number().int().min(1),
  operation: z.uuid(),
  store: z.string(),
  createdAt: z.iso.datetime(),
  createdBy: z.string(),
  host: z.string(),
  holdfastVersion: z.string(),
  platform: z.strictObject({
    os: z.string(),
    arch: z.string(),
    endianness: z.enum(['LE', 'BE']),
    sqliteVersion: z.string(),
  }),
  application: z.strictObject({ version: z.string(), modules: z.array(z.string()) }).nullable(),
  epoch: z.strictObject({ id: z.string(), counter: count }).nullable(),
  cut: z.strictObject({
    instant: z.iso.datetime(),
    pauseMillis: z.number().min(0),
    rollbackJournalPauseMillis: z.number().min(0),
    quiescedMillis: z.number().min(0),
    lockTries: count,
    cutTries: count,
    pinMillis: z.number().min(0),
    policies: z.array(
      z.strictObject({
        root: z.string(),
        tree: z.string(),
        policy: z.enum(['verify', 'immutable', 'append', 'quiesced']),
      }),
    ),
  }),
  databases: z.array(
    z.strictObject({
      root: z.string(),
      path: z.string(),
      integrityCheckedAt: z.string(),
      liveStamp: sha256.nullable(),
      ...facts,
    }),
  ),
  entries: manifestEntriesSchema,
  documents: z.exactOptional(z.array(z.strictObject({ name: z.string(), sha256 }))),
}) satisfies z.ZodType<Manifest, unknown>;
