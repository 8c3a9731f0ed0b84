// The zod schemas of a vault manifest's lines (docs/vault-format.md "Manifest"). A manifest comes from outside, even if
// sealed: each line is parsed strictly before any field of it is used.
import { z } from 'zod';
import type { DirectoryEntry, ManifestDatabase } from '../manifest.js';
import { VAULT_MANIFEST_FORMAT } from '../vault.js';
import type { VaultBackupLine, VaultFileEntry } from '../vault.js';
import { manifestSchema } from './manifest.js';

const { databases, entries } = manifestSchema.shape;
const [directory, file, database] = entries.element.options;
const count = z.number().int().min(0);
const runs = { runs: z.array(z.tuple([count, count, count.min(1), count.min(1)])) };

const backupLineSchema = manifestSchema
  .omit({ databases: true, entries: true, documents: true })
  .extend({ format: z.literal(VAULT_MANIFEST_FORMAT) }) satisfies z.ZodType<VaultBackupLine, unknown>;

const databaseLineSchema = databases.element satisfies z.ZodType<ManifestDatabase, unknown>;

const directoryLineSchema = directory.omit({ type: true }) satisfies z.ZodType<Omit<DirectoryEntry, 'type'>, unknown>;

const fileLineSchema = z.discriminatedUnion('type', [file.extend(runs), database.extend(runs)]) satisfies z.ZodType<
  VaultFileEntry,
  unknown
>;

const endLineSchema = z.strictObject({ lines: count });

/** By the one key of a line: what is under it. */
export const MANIFEST_LINES = {
  backup: backupLineSchema,
  database: databaseLineSchema,
  directory: directoryLineSchema,
  file: fileLineSchema,
  end: endLineSchema,
} as const;
