// The zod schemas of orders: the first activity of a protocol parses its input, because orders also come as JSON that
// a person or a program wrote for `temporal workflow start`.
import { z } from 'zod';
import { ADOPTABLE, FINGERPRINT } from '../adoption.js';
import { LIMITS } from '../limits.js';
import { isStoreName } from '../protocol.js';
import type { PlanOrder, RestoreSource } from '../protocol.js';
import { PLAN_FORMAT } from '../plan.js';
import type { RestorePlan } from '../plan.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().min(0);

const databases = z.strictObject({ count, first: z.array(z.string()).max(LIMITS.databasesNamedMax), sha256 });

export const sourceSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('backup'),
    backup: z.string().min(1).max(4096),
    from: z.exactOptional(z.string().refine(isStoreName)),
    adopt: z.exactOptional(z.string().regex(FINGERPRINT)),
  }),
  z.strictObject({ kind: z.literal('rollback'), point: z.string().min(1).max(64) }),
]) satisfies z.ZodType<RestoreSource, unknown>;

const order = {
  operation: z.uuid(),
  store: z.string().refine(isStoreName),
  host: z.string().min(1).max(255),
  requestedBy: z.string().min(1).max(255),
  heartbeatTimeoutMillis: z.exactOptional(z.number()),
};

export const planOrderSchema = z.object({ ...order, source: sourceSchema }) satisfies z.ZodType<PlanOrder, unknown>;

export const planSchema = z.strictObject({
  format: z.literal(PLAN_FORMAT),
  protocol: z.enum(['restore', 'rollback']),
  store: z.string(),
  host: z.string(),
  source: z.strictObject({
    kind: z.enum(['backup', 'rollback']),
    id: z.string(),
    path: z.string(),
    createdAt: z.string(),
    store: z.exactOptional(z.string()),
    host: z.string(),
    adopted: z.exactOptional(z.strictObject({ signer: z.string().regex(FINGERPRINT), reason: z.enum(ADOPTABLE) })),
    sha256,
    files: count,
    sizeBytes: count,
    databasesUnreadable: databases,
    foreignKeys: z.exactOptional(z.strictObject({ violations: count, mismatchedTables: count, databases })),
  }),
  roots: z.array(
    z.strictObject({ root: z.string(), path: z.string(), mode: z.enum(['root', 'entries']), why: z.string() }),
  ),
  keep: z.exactOptional(z.strictObject({ destination: z.string() })),
  hooks: z.array(z.string()),
  gates: z.strictObject({ version: z.string(), modules: z.string() }),
  definitionSha256: sha256,
  bounds: z.strictObject({
    rowsFewerMax: count,
    databasesChanged: databases,
    filesNewerMax: count,
    filesCarriedOverMax: count,
    databasesUnreadable: databases,
  }),
  sentence: z.string(),
}) satisfies z.ZodType<RestorePlan, unknown>;

export const approvedSchema = z.strictObject({ digest: sha256, plan: planSchema, lockId: z.string() });
