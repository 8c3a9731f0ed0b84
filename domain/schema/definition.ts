// The zod schema of a store definition, as people write it, and its translation into domain/definition.ts with every
// default filled in. Strict: an unknown key is an error. Source: DESIGN.md "Words", docs/guides/definition.md.
import { isAbsolute, normalize } from 'node:path/posix';
import { z } from 'zod';
import { HOOK_NAMES } from '../definition.js';
import type { HookDefinition, HookName, RootDefinition, StoreDefinition } from '../definition.js';
import { LIMITS } from '../limits.js';
import { isStoreName } from '../protocol.js';

const storeName = z.string().refine(isStoreName, 'lower-case letters, digits and hyphens, at most 64');
const absolutePath = z
  .string()
  .refine((path) => isAbsolute(path), 'an absolute path')
  .refine(
    (path) => path === '/' || (!path.endsWith('/') && normalize(path) === path),
    'a path without `..`, `//` or a final `/`',
  )
  .refine((path) => path !== '/', 'not the root of the system');
const relativePath = z
  .string()
  .min(1)
  .refine(
    (path) => !isAbsolute(path) && !path.includes('\0') && normalize(path) === path && !path.startsWith('..'),
    'a relative path or glob that stays inside its root',
  );
const columnOf = z.strictObject({ table: z.string().min(1), column: z.string().min(1) });

const database = z.strictObject({
  path: relativePath,
  requiredTables: z.array(z.string().min(1)).default([]),
  sequences: z.array(columnOf).default([]),
  appendOnly: z.array(columnOf).default([]),
  migrations: z
    .strictObject({ table: z.string().min(1), orderBy: z.string().min(1) })
    .nullable()
    .default(null),
  locking: z.enum(['sqlite', 'none']).default('sqlite'),
  optional: z.boolean().default(false),
});

const tree = z.strictObject({
  path: relativePath.default('.'),
  include: z.array(z.string().min(1)).min(1).default(['**']),
  exclude: z.array(z.string().min(1)).default([]),
  policy: z.enum(['verify', 'immutable', 'append', 'quiesced']).default('verify'),
});

const root = z.strictObject({
  path: absolutePath,
  databases: z.array(database).default([]),
  trees: z.array(tree).default([]),
  drop: z.array(z.string().min(1)).default([]),
});

const hook = z.strictObject({
  argv: z
    .array(z.string())
    .min(1)
    .refine((argv) => isAbsolute(argv[0] ?? ''), 'argv[0] is an absolute path: hooks run without a shell'),
  timeoutSeconds: z
    .number()
    .int()
    .positive()
    .max(24 * 3600)
    .default(LIMITS.hookTimeoutSeconds),
});

export const storeDefinitionSchema = z
  .strictObject({
    holdfast: z.literal(1),
    store: storeName,
    roots: z.record(storeName, root).refine((roots) => Object.keys(roots).length > 0, 'at least one root'),
    hooks: z.partialRecord(z.enum(HOOK_NAMES), hook).default({}),
    gates: z
      .strictObject({
        version: z.enum(['exact', 'same-major', 'not-newer', 'off']).default('off'),
        modules: z.enum(['exact', 'superset', 'off']).default('off'),
      })
      .prefault({}),
    backup: z.strictObject({
      destination: absolutePath,
      quiesceTimeoutMillis: z.number().int().positive().max(3600_000).default(LIMITS.quiesceTimeoutMillis),
      cutTriesMax: z.number().int().positive().max(100).default(LIMITS.cutTriesMax),
      pinSecondsMax: z
        .number()
        .positive()
        .max(24 * 3600)
        .default(LIMITS.pinSecondsMax),
      walGrowthBytesMax: z.number().int().positive().default(LIMITS.walGrowthBytesMax),
    }),
    rollback: z
      .strictObject({
        pointsMax: z.number().int().min(1).max(100).default(LIMITS.rollbackPointsMax),
        daysMax: z.number().positive().default(LIMITS.rollbackDaysMax),
      })
      .prefault({}),
  })
  .superRefine((definition, context) => {
    const members = Object.values(definition.roots).flatMap((entry) => [...entry.databases, ...entry.trees]);
    if (members.length === 0)
      context.addIssue({ code: 'custom', path: ['roots'], message: 'a store has at least one database or tree' });
    const needsPause = Object.values(definition.roots).some(
      (entry) =>
        entry.trees.some((member) => member.policy === 'quiesced') ||
        entry.databases.some((member) => member.locking === 'none'),
    );
    if (needsPause && (definition.hooks.quiesce === undefined || definition.hooks.resume === undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['hooks'],
        message: 'policy `quiesced` and locking `none` need the hooks quiesce and resume',
      });
    }
    for (const [first, second] of [
      ['quiesce', 'resume'],
      ['detach', 'attach'],
    ] as const) {
      if ((definition.hooks[first] === undefined) !== (definition.hooks[second] === undefined)) {
        context.addIssue({ code: 'custom', path: ['hooks'], message: `${first} and ${second} come together` });
      }
    }
    const gated = definition.gates.version !== 'off' || definition.gates.modules !== 'off';
    if (gated && definition.hooks.version === undefined) {
      context.addIssue({ code: 'custom', path: ['gates'], message: 'a gate needs the hook `version`' });
    }
  });

export type StoreDefinitionInput = z.input<typeof storeDefinitionSchema>;

/** Translates what was parsed into the domain's own type. */
export function toStoreDefinition(parsed: z.output<typeof storeDefinitionSchema>): StoreDefinition {
  const hooks: Partial<Record<HookName, HookDefinition>> = {};
  for (const name of HOOK_NAMES) {
    const given = parsed.hooks[name];
    if (given !== undefined) hooks[name] = given;
  }
  const roots: RootDefinition[] = Object.entries(parsed.roots).map(([name, entry]) => ({ name, ...entry }));
  return { store: parsed.store, roots, hooks, gates: parsed.gates, backup: parsed.backup, rollback: parsed.rollback };
}
