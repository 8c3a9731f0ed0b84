// The documents of a layout: what stands beside the roots of an artefact, made from the application's settings. Only
// settings that are named here are read, and none that looks like a secret is written down (clauses H-2, H-3, H-6).
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, dirname, relative, resolve } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import type { Document } from '../artefacts/artefact.js';
import type { LayoutDefinition, RootDefinition, StoreDefinition } from '../domain/definition.js';
import { LIMITS } from '../domain/limits.js';
import { compactInstant } from '../domain/names.js';
import { findSecret } from '../domain/secrets.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { listedBy } from '../files/members.js';

type Helionyx = Extract<LayoutDefinition, { name: 'helionyx' }>;

/** What config.json holds, in this order; of the last three the application knows what to do without. */
const SETTINGS = ['ENV', 'EVENT_STORE_PATH', 'PROJECTIONS_DB_PATH', 'API_HOST', 'API_PORT', 'LOG_LEVEL'] as const;
const REQUIRED = ['ENV', 'EVENT_STORE_PATH', 'PROJECTIONS_DB_PATH'] as const;
/** What each may look like: nothing else is written down. Paths are held against the definition. */
const SHAPES: Readonly<Record<(typeof SETTINGS)[number], RegExp>> = {
  ENV: /^[\w.-]{1,64}$/,
  EVENT_STORE_PATH: /^[^\0\n]{1,4096}$/,
  PROJECTIONS_DB_PATH: /^[^\0\n]{1,4096}$/,
  API_HOST: /^(?:[A-Za-z0-9.-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?)$/,
  API_PORT: /^\d{1,5}$/,
  LOG_LEVEL: /^[A-Za-z]{1,16}$/,
};
type Settings = Readonly<Record<(typeof SETTINGS)[number], string | null>>;

/**
 * The documents of a backup that was made at an instant; none for layout `plain`.
 * @throws Stop settings_invalid, secret_found
 */
export async function documentsOf(definition: StoreDefinition, createdAt: string): Promise<readonly Document[]> {
  const { layout } = definition;
  if (layout.name === 'plain') return [];
  const settings = await settingsOf(definition, layout);
  const meta = {
    env: layout.environment,
    backup_id: compactInstant(createdAt),
    created_at_utc: createdAt,
    git_commit: await commitOf(layout.directory),
  };
  return [
    { name: 'meta.json', text: `${JSON.stringify(meta, null, 2)}\n` },
    { name: 'config.json', text: `${JSON.stringify(settings, null, 2)}\n` },
  ];
}

/**
 * That there are documents for a backup that is made now.
 * @throws Stop settings_invalid, secret_found
 */
export async function assertSettings(definition: StoreDefinition): Promise<void> {
  if (definition.layout.name === 'helionyx') await settingsOf(definition, definition.layout);
}

async function settingsOf(definition: StoreDefinition, layout: Helionyx): Promise<Settings> {
  const settings = await readSettings(layout);
  assertSameStore(definition, layout, settings);
  return settings;
}

async function readSettings({ settings: path }: Helionyx): Promise<Settings> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('settings_invalid', `${path} does not exist`, { path });
    throw translateErrno(error, { path });
  }
  const given = parseEnv(text);
  const settings = Object.fromEntries(SETTINGS.map((name) => [name, given[name] ?? null])) as Settings;
  for (const name of REQUIRED)
    if (settings[name] === null || settings[name] === '')
      throw new Stop('settings_invalid', `${path} does not say ${name}`, { path, setting: name });
  const secret = findSecret(settings);
  if (secret !== null)
    throw new Stop('secret_found', `${secret.name} of ${path} looks like a secret: ${secret.why}`, {
      path,
      setting: secret.name,
    });
  const shapeless = SETTINGS.find((name) => settings[name] !== null && !SHAPES[name].test(settings[name] ?? ''));
  // Never with the value: it may be a secret in the wrong place
  if (shapeless !== undefined)
    throw new Stop('settings_invalid', `${shapeless} of ${path} is not of the shape that it has`, {
      path,
      setting: shapeless,
    });
  return settings;
}

/** A backup that says it is of one environment and holds another's files would be restored over the wrong one. */
function assertSameStore({ roots }: StoreDefinition, layout: Helionyx, settings: Settings): void {
  const rootOf = (name: string): RootDefinition => {
    const root = roots.find((each) => each.name === name);
    if (root === undefined) throw new Error(`defect: layout helionyx without root ${name} passed the schema`);
    return root;
  };
  const [events, projections] = [rootOf('events'), rootOf('projections')];
  const database = resolve(layout.directory, settings.PROJECTIONS_DB_PATH ?? '');
  const facts: readonly [name: keyof Settings, expected: string, found: string][] = [
    ['ENV', layout.environment, settings.ENV ?? ''],
    ['EVENT_STORE_PATH', events.path, resolve(layout.directory, settings.EVENT_STORE_PATH ?? '')],
    ['PROJECTIONS_DB_PATH', projections.path, dirname(database)],
  ];
  for (const [setting, expected, found] of facts)
    if (found !== expected)
      throw new Stop('settings_invalid', `${setting} of ${layout.settings} is not what the definition says`, {
        path: layout.settings,
        setting,
        expected,
      });
  if (listedBy(projections)(relative(projections.path, database))) return;
  throw new Stop('settings_invalid', `the definition does not list the database ${basename(database)}`, {
    path: layout.settings,
    setting: 'PROJECTIONS_DB_PATH',
  });
}

/** null where it can't be told: the application may have been deployed without its repository. */
async function commitOf(directory: string): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)('git', ['-C', directory, 'rev-parse', '--verify', 'HEAD'], {
      timeout: LIMITS.gitTimeoutMillis,
      env: {
        PATH: process.env['PATH'],
        // The repository of the application, which may be another user's, and not one that lies above it
        GIT_CEILING_DIRECTORIES: dirname(directory),
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: directory,
      },
    });
    return /^[0-9a-f]{40,64}$/.test(stdout.trim()) ? stdout.trim() : null;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return null;
    throw error;
  }
}
