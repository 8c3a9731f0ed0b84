// Store definitions are read from a directory that belongs to the user of the worker or root and that nobody else
// can write: orders name a store, never a definition, because the embedded engine has no authentication on loopback.
import { lstat, readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreDefinition } from '../domain/definition.js';
import { isStoreName } from '../domain/protocol.js';
import type { DefinitionIssue } from '../domain/schema/definition.js';
import { definitionJsonSchema, storeDefinitionSchema, toStoreDefinition } from '../domain/schema/definition.js';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, writeNewDurable } from '../files/durable.js';
import { translateErrno, translating } from '../files/errors.js';
import { cronProblem } from './cron.js';
import { assertTrusted, parseYaml, readText, readTrusted } from './yaml-file.js';

const READ_TRIES = 10;
const READ_PAUSE_MILLIS = 10;

/**
 * Reads the definition of one store, and holds its roots against those of all others.
 * @throws Stop definition_missing, definition_invalid, definition_untrusted, roots_overlap
 */
export async function loadDefinition(directory: string, store: string): Promise<StoreDefinition> {
  assertStoreName(store);
  const all = await loadDefinitions(directory);
  const found = all.find((definition) => definition.store === store);
  if (found !== undefined) return found;
  throw notDefined(
    directory,
    store,
    all.map((definition) => definition.store),
  );
}

/**
 * Reads the definition of one store and no other, for what must come about: the application of this store waits, and
 * does not care whether that of another store can be read. Overlap was ruled out when the lock was taken.
 * @throws Stop definition_missing, definition_invalid, definition_untrusted
 */
export async function loadDefinitionAlone(directory: string, store: string): Promise<StoreDefinition> {
  assertStoreName(store);
  await assertTrusted(directory);
  const path = pathOf(directory, store);
  const definition = await translating({ path }, () => readUnlessRemoved(path));
  if (definition !== null) return definition;
  throw notDefined(directory, store, await namesOfFiles(directory));
}

function assertStoreName(store: string): void {
  if (!isStoreName(store)) throw new Stop('usage', `${JSON.stringify(store)} is not a store id`, { store });
}

const SUFFIX = '.yaml';
const pathOf = (directory: string, store: string): string => join(directory, store + SUFFIX);

/** @param stores those that there are: one of them may have been meant */
function notDefined(directory: string, store: string, stores: readonly string[]): Stop {
  return new Stop('definition_missing', `there is no ${store}.yaml in ${directory}`, { directory, store, stores });
}

export interface LoadedAlone {
  /** The name of its file without `.yaml`. */
  readonly store: string;
  /** A STOP where it can't be read. */
  readonly definition: StoreDefinition | Stop;
}

/**
 * Reads every definition by itself, as loadDefinitionAlone does: one that can't be read is told, and stops no other.
 * @throws Stop definition_missing, definition_untrusted of the directory
 */
export async function loadDefinitionsAlone(directory: string): Promise<readonly LoadedAlone[]> {
  await assertTrusted(directory);
  const loaded: LoadedAlone[] = [];
  for (const store of await namesOfFiles(directory)) {
    const path = pathOf(directory, store);
    try {
      const definition = await translating({ path }, () => readUnlessRemoved(path));
      if (definition !== null) loaded.push({ store, definition });
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      loaded.push({ store, definition: error });
    }
  }
  return loaded;
}

/**
 * Reads every definition. One that can't be read stops them all: overlap with it could not be ruled out.
 * @throws Stop definition_missing, definition_invalid, definition_untrusted, roots_overlap
 */
export async function loadDefinitions(directory: string): Promise<readonly StoreDefinition[]> {
  await assertTrusted(directory);
  const definitions: StoreDefinition[] = [];
  for (const name of await namesOfFiles(directory)) {
    const definition = await readUnlessRemoved(pathOf(directory, name));
    if (definition !== null) definitions.push(definition);
  }
  await assertRootsApart(definitions);
  return definitions;
}

/** The stores that files are called after, whatever is in them. */
async function namesOfFiles(directory: string): Promise<readonly string[]> {
  const names = await translating({ path: directory }, () => readdir(directory));
  return names
    .filter((name) => name.endsWith(SUFFIX))
    .sort()
    .map((name) => name.slice(0, -SUFFIX.length));
}

/** null: removed since the directory was listed. A link that leads nowhere is there, and stops. */
async function readUnlessRemoved(path: string): Promise<StoreDefinition | null> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await readDefinition(path);
    } catch (error) {
      if (!(await isListed(path))) return null;
      // It may have gone and come back meanwhile, as files that are replaced do
      const isAbsence =
        (error instanceof Stop && error.code === 'definition_missing') ||
        (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isAbsence || tries === READ_TRIES) throw error;
      await sleep(READ_PAUSE_MILLIS);
    }
  }
}

async function isListed(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw translateErrno(error, { path });
  }
}

async function readDefinition(path: string): Promise<StoreDefinition> {
  return parseNamed(await readTrusted(path), path);
}

function parseNamed(text: string, path: string): StoreDefinition {
  const definition = parseDefinition(text, path);
  const name = `${definition.store}.yaml`;
  if (basename(path) !== name)
    throw new Stop('definition_invalid', `${path} defines store ${definition.store}; its file is called ${name}`, {
      path,
    });
  return definition;
}

/**
 * The definition of a store as it was written.
 * @throws Stop usage, definition_missing, definition_untrusted
 */
export async function definitionText(directory: string, store: string): Promise<string> {
  assertStoreName(store);
  await assertTrusted(directory);
  const path = pathOf(directory, store);
  return translating({ path }, () => readTrusted(path));
}

/**
 * Parses a file that need not be anybody's definition yet: in a repository, or just written.
 * @throws Stop definition_missing, definition_invalid
 */
export async function parseDefinitionFile(path: string): Promise<StoreDefinition> {
  try {
    return parseNamed(await readText(path), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('definition_missing', `${path} does not exist`, { path });
    throw translateErrno(error, { path });
  }
}

/** @returns the path that the definition of the store will have. @throws Stop target_exists */
export async function assertUndefined(directory: string, store: string): Promise<string> {
  const path = pathOf(directory, store);
  if (await isListed(path)) throw new Stop('target_exists', `${path} exists`, { path });
  return path;
}

/**
 * Adds a definition to the directory, after it was held against all that are there.
 * @returns its path
 * @throws Stop target_exists, and those of loadDefinitions
 */
export async function addDefinition(directory: string, text: string): Promise<string> {
  const definition = parseDefinition(text, 'the new definition');
  await ensureDirectory(directory, 0o755);
  const path = await assertUndefined(directory, definition.store);
  await assertRootsApart([...(await loadDefinitions(directory)), definition]);
  await writeNewDurable(path, text, 0o644);
  return path;
}

/**
 * Parses one definition.
 * @param path only for messages
 * @throws Stop definition_invalid with `problems`: line, key and what is expected
 */
export function parseDefinition(text: string, path: string): StoreDefinition {
  return parseYaml(text, path, {
    schema: storeDefinitionSchema,
    jsonSchema: definitionJsonSchema,
    complete: (parsed) => {
      const definition = toStoreDefinition(parsed);
      return { value: definition, issues: scheduleIssues(definition) };
    },
  });
}

function scheduleIssues({ schedules }: StoreDefinition): DefinitionIssue[] {
  return Object.entries(schedules).flatMap(([protocol, { cron, timeZone }]) => {
    const message = cronProblem(cron, timeZone);
    return message === null ? [] : [{ code: 'custom', path: ['schedules', protocol], message, input: cron } as const];
  });
}

async function assertRootsApart(definitions: readonly StoreDefinition[]): Promise<void> {
  const places: { readonly owner: string; readonly path: string; readonly isDestination: boolean }[] = [];
  for (const definition of definitions) {
    for (const root of definition.roots)
      places.push({ owner: `${definition.store}/${root.name}`, path: await resolved(root.path), isDestination: false });
    for (const section of ['backup', 'rollback'] as const) {
      const { destination } = definition[section];
      if (destination !== null)
        places.push({
          owner: `${definition.store} ${section}.destination`,
          path: await resolved(destination),
          isDestination: true,
        });
    }
  }
  for (const { owner, path } of places) {
    if (path.split('/').includes('.holdfast'))
      throw new Stop('roots_overlap', `${owner} lies in a control directory`, { first: path });
  }
  for (const [index, first] of places.entries()) {
    for (const second of places.slice(index + 1)) {
      if (first.isDestination && second.isDestination) continue;
      if (
        first.path === second.path ||
        first.path.startsWith(`${second.path}/`) ||
        second.path.startsWith(`${first.path}/`)
      ) {
        throw new Stop('roots_overlap', `${first.owner} and ${second.owner} overlap`, {
          first: first.path,
          second: second.path,
        });
      }
    }
  }
}

/** A path that does not exist yet is resolved as far as it exists. */
async function resolved(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw translateErrno(error, { path });
    const cut = path.lastIndexOf('/');
    return cut <= 0 ? path : `${await resolved(path.slice(0, cut))}${path.slice(cut)}`;
  }
}
