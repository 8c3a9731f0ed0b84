// The zod schema of a store definition, as people write it, and its translation into domain/definition.ts with every
// default filled in. Strict: an unknown key is an error. Source: DESIGN.md "Words", docs/guides/definition.md.
import { isAbsolute, normalize } from 'node:path/posix';
import { z } from 'zod';
import { CONFIRMATIONS, HOOK_NAMES, NEVER_CAPTURED, SCHEDULED_PROTOCOLS } from '../definition.js';
import type {
  HookDefinition,
  HookName,
  LayoutDefinition,
  RootDefinition,
  ScheduleDefinition,
  ScheduledProtocol,
  StoreDefinition,
} from '../definition.js';
import { LIMITS } from '../limits.js';
import { isStoreName } from '../protocol.js';

const storeName = z
  .string()
  .refine(isStoreName, 'must be lower-case letters, digits and hyphens, at most 64')
  .meta({ pattern: '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$' });
const absolutePath = z
  .string()
  .refine((path) => isAbsolute(path), 'must be an absolute path')
  .refine(
    (path) => path === '/' || (!path.endsWith('/') && normalize(path) === path),
    'must be written without `..`, `//` and a final `/`',
  )
  .refine((path) => path !== '/', 'must not be the root of the system')
  .meta({ pattern: '^/.*[^/]$' });
const relativePath = z
  .string()
  .min(1)
  .refine(
    (path) => !isAbsolute(path) && !path.includes('\0') && normalize(path) === path && !/^\.\.(?:\/|$)/.test(path),
    'must be a relative path or glob that stays inside its root',
  );
const columnOf = z.strictObject({
  table: z.string().min(1).describe('name of the table'),
  column: z.string().min(1).describe('the column that orders its rows'),
});
const globs = z.array(z.string().min(1));

const database = z.strictObject({
  path: relativePath.describe('path or glob below the root'),
  requiredTables: z
    .array(z.string().min(1))
    .default([])
    .describe('names, or patterns with `*`; each must match a table, at backup and at restore'),
  sequences: z
    .array(columnOf)
    .default([])
    .describe('integer columns that a restore never lowers below the highest value witnessed'),
  appendOnly: z.array(columnOf).default([]).describe('tables whose rows never change once they are there'),
  migrations: z
    .strictObject({
      table: z.string().min(1).describe('the table of migrations'),
      orderBy: z.string().min(1).describe('the column that orders them'),
    })
    .nullable()
    .default(null)
    .describe("history of migrations: a backup's must be a prefix of the live one's"),
  locking: z
    .enum(['sqlite', 'none'])
    .default('sqlite')
    .describe('none: the application takes no locks on the file; captured only while the quiesce hook holds it'),
  optional: z.boolean().default(false).describe('true: the path may be absent, and a glob may match nothing'),
});

const tree = z.strictObject({
  path: relativePath.default('.').describe('directory below the root; `.` is the root itself'),
  include: globs
    .min(1)
    .default(['**'])
    .describe('globs below the tree: a file that matches one of them and no exclude is captured'),
  exclude: globs.default([]).describe('globs below the tree that are not captured'),
  policy: z
    .enum(['verify', 'immutable', 'append', 'quiesced'])
    .default('verify')
    .describe('what the application may do to the files while they are read'),
});

const root = z.strictObject({
  path: absolutePath.describe('absolute path of the directory that is replaced as a whole'),
  databases: z.array(database).default([]).describe('SQLite databases, captured at one instant'),
  trees: z.array(tree).default([]).describe('files, captured with the databases'),
  drop: globs.default([]).describe('globs of files outside the members that a restore leaves behind'),
});

const hook = z.strictObject({
  argv: z
    .array(z.string())
    .min(1)
    .refine((argv) => isAbsolute(argv[0] ?? ''), 'must begin with an absolute path: hooks run without a shell')
    .describe('the command and its arguments; no shell'),
  timeoutSeconds: z
    .number()
    .int()
    .positive()
    .max(24 * 3600)
    .default(LIMITS.hookTimeoutSeconds)
    .describe('the hook is killed, and has failed, after this'),
});

const schedule = z.strictObject({
  cron: z.string().describe('minute, hour, day of the month, month, day of the week; six fields begin with seconds'),
  timeZone: z.string().default('UTC').describe('name of the IANA data base, as Europe/Berlin'),
  jitterSeconds: z
    .number()
    .int()
    .min(0)
    .max(86_400)
    .default(0)
    .describe('each start is delayed by a random part of it'),
  catchUpSeconds: z
    .number()
    .int()
    .min(10)
    .max(366 * 86_400)
    .default(LIMITS.catchUpSeconds)
    .describe('what was missed while the engine was down is started if it is not older'),
});

const layout = z
  .discriminatedUnion('name', [
    z.strictObject({ name: z.literal('plain') }),
    z.strictObject({
      name: z.literal('helionyx').describe('docs/guides/helionyx.md'),
      environment: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/)
        .describe('the environment, as the application calls it in ENV'),
      directory: absolutePath.describe('where the application runs: relative paths of its settings begin there'),
      settings: absolutePath
        .exactOptional()
        .describe(
          "file of the application's settings, of which only those that are no secrets are read; `<directory>/.env`",
        ),
    }),
  ])
  .describe('how a backup lies on disk');

/** Marks what is wrong with the definition as a whole: it may only follow from a mistake elsewhere in it. */
const WHOLE = { whole: true };

const HELIONYX_ROOTS = ['events', 'projections'];

export const storeDefinitionSchema = z
  .strictObject({
    holdfast: z.literal(1).describe('version of this format'),
    store: storeName.describe('id of the store; its file is called <store>.yaml'),
    roots: z
      .record(storeName, root)
      .refine((roots) => Object.keys(roots).length > 0, 'must name at least one root')
      .describe('directories that are protected, by a name of your own'),
    layout: layout.prefault({ name: 'plain' }),
    confirmation: z
      .enum(CONFIRMATIONS)
      .default('plan')
      .describe(
        'what approves a restore: plan, the digest of its plan; typed, `yes` at a terminal, elsewhere CONFIRM_LIVE=YES; none, asking for it',
      ),
    hooks: z
      .partialRecord(z.enum(HOOK_NAMES), hook)
      .default({})
      .describe(
        'commands that stop, start or ask the application; quiesce and resume, detach and attach come together',
      ),
    schedules: z
      .partialRecord(z.enum(SCHEDULED_PROTOCOLS), schedule)
      .default({})
      .describe('what `holdfast schedule apply` has the engine start by itself'),
    gates: z
      .strictObject({
        version: z
          .enum(['exact', 'same-major', 'not-newer', 'off'])
          .default('off')
          .describe("how the application's version may differ from that of the backup"),
        modules: z
          .enum(['exact', 'superset', 'off'])
          .default('off')
          .describe("how the application's modules may differ from those of the backup"),
      })
      .prefault({})
      .describe('what the version hook must answer before a restore'),
    backup: z
      .strictObject({
        destination: absolutePath
          .nullable()
          .default(null)
          .describe('absolute path of the directory that receives the backups'),
        vault: z
          .exactOptional(storeName)
          .describe('name of the vault that receives the backups, instead of a directory: that of its settings'),
        quiesceTimeoutMillis: z
          .number()
          .int()
          .positive()
          .max(3600_000)
          .default(LIMITS.quiesceTimeoutMillis)
          .describe('how long all write locks are tried for together'),
        cutTriesMax: z
          .number()
          .int()
          .positive()
          .max(100)
          .default(LIMITS.cutTriesMax)
          .describe('how often the cut starts over because a file changed while it was read'),
        pinSecondsMax: z
          .number()
          .positive()
          .max(24 * 3600)
          .default(LIMITS.pinSecondsMax)
          .describe('how long a snapshot may keep the log of a database from being checkpointed'),
        walGrowthBytesMax: z
          .number()
          .int()
          .positive()
          .default(LIMITS.walGrowthBytesMax)
          .describe('how much the log of a database may grow meanwhile'),
      })
      .describe('where backups go, and the limits of the cut'),
    rollback: z
      .strictObject({
        pointsMax: z
          .number()
          .int()
          .min(1)
          .max(100)
          .default(LIMITS.rollbackPointsMax)
          .describe('so many rollback points are kept'),
        daysMax: z.number().positive().default(LIMITS.rollbackDaysMax).describe('for so long; the newest one always'),
        destination: absolutePath
          .nullable()
          .default(null)
          .describe('directory that receives a backup of the present state before a restore replaces it'),
      })
      .prefault({})
      .describe('the states that restores have replaced'),
  })
  .superRefine((definition, context) => {
    const members = Object.values(definition.roots).flatMap((entry) => [...entry.databases, ...entry.trees]);
    if (members.length === 0)
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['roots'],
        message: 'a store has at least one database or tree',
      });
    for (const [name, { databases }] of Object.entries(definition.roots)) {
      for (const [index, { path }] of databases.entries())
        if (databases.findIndex((other) => other.path === path) < index)
          context.addIssue({
            code: 'custom',
            path: ['roots', name, 'databases', index, 'path'],
            message: `${path} is listed twice`,
          });
    }
    const needsPause = Object.values(definition.roots).some(
      (entry) =>
        entry.trees.some((member) => member.policy === 'quiesced') ||
        entry.databases.some((member) => member.locking === 'none'),
    );
    if (needsPause && (definition.hooks.quiesce === undefined || definition.hooks.resume === undefined)) {
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['hooks'],
        message: 'policy `quiesced` and locking `none` need the hooks quiesce and resume',
      });
    }
    for (const [first, second] of [
      ['quiesce', 'resume'],
      ['detach', 'attach'],
    ] as const) {
      if ((definition.hooks[first] === undefined) !== (definition.hooks[second] === undefined)) {
        context.addIssue({
          code: 'custom',
          params: WHOLE,
          path: ['hooks'],
          message: `${first} and ${second} come together`,
        });
      }
    }
    const gated = definition.gates.version !== 'off' || definition.gates.modules !== 'off';
    if (gated && definition.hooks.version === undefined) {
      context.addIssue({ code: 'custom', params: WHOLE, path: ['gates'], message: 'a gate needs the hook `version`' });
    }
    const names = Object.keys(definition.roots).sort().join();
    if (definition.layout.name === 'helionyx' && names !== HELIONYX_ROOTS.join())
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['roots'],
        message: `layout \`helionyx\` has the roots ${HELIONYX_ROOTS.join(' and ')}`,
      });
    const { destination, vault } = definition.backup;
    if ((destination === null) === (vault === undefined))
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['backup'],
        message: 'backups go to a destination or to a vault, to one of them',
      });
    if (vault !== undefined && definition.layout.name !== 'plain')
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['layout'],
        message: `layout \`${definition.layout.name}\` is that of a directory, and backups go to a vault`,
      });
    if (destination !== null && definition.rollback.destination === destination)
      context.addIssue({
        code: 'custom',
        params: WHOLE,
        path: ['rollback', 'destination'],
        message: 'must not be the destination of the backups',
      });
  });

export type StoreDefinitionInput = z.input<typeof storeDefinitionSchema>;

/** What the schema says against a definition. */
export type DefinitionIssue = z.core.$ZodIssue;

/** A node of the JSON Schema, as far as this page's own is made of them. */
export interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly propertyNames?: { readonly enum?: readonly string[] };
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

/** The definition as people write it, as JSON Schema 2020-12: for editors, and for what a key may be called. */
export function definitionJsonSchema(): SchemaNode & Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(storeDefinitionSchema, { io: 'input' });
  return { $schema, title: 'holdfast store definition', ...rest } as SchemaNode & Record<string, unknown>;
}

/** Translates what was parsed into the domain's own type. */
export function toStoreDefinition(parsed: z.output<typeof storeDefinitionSchema>): StoreDefinition {
  const hooks: Partial<Record<HookName, HookDefinition>> = {};
  for (const name of HOOK_NAMES) {
    const given = parsed.hooks[name];
    if (given !== undefined) hooks[name] = given;
  }
  const layout = toLayout(parsed.layout);
  const never = NEVER_CAPTURED[layout.name];
  const roots: RootDefinition[] = Object.entries(parsed.roots).map(([name, entry]) => ({
    name,
    ...entry,
    trees: entry.trees.map((each) => ({ ...each, exclude: [...each.exclude, ...never] })),
    ...(never.length > 0 && { neverCaptured: never }),
  }));
  const schedules: Partial<Record<ScheduledProtocol, ScheduleDefinition>> = {};
  for (const protocol of SCHEDULED_PROTOCOLS) {
    const given = parsed.schedules[protocol];
    if (given !== undefined) schedules[protocol] = given;
  }
  const { store, confirmation, gates, backup, rollback } = parsed;
  return { store, roots, layout, confirmation, hooks, schedules, gates, backup, rollback };
}

function toLayout(parsed: z.output<typeof layout>): LayoutDefinition {
  return parsed.name === 'plain' ? parsed : { ...parsed, settings: parsed.settings ?? `${parsed.directory}/.env` };
}
