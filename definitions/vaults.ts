// vaults/<name>.yaml beside the store definitions: a vault as this host knows it, and what it believes of it. The same rules
// as for definitions: whoever can write here decides what is believed, and whither backups go.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { isStoreName } from '../domain/protocol.js';
import { toVaultSettings, vaultSettingsJsonSchema, vaultSettingsSchema } from '../domain/schema/vault.js';
import { Stop } from '../domain/stop.js';
import type { VaultSettings } from '../domain/vault.js';
import { ensureDirectory, writeNewDurable } from '../files/durable.js';
import { hasErrno, translateErrno, translating } from '../files/errors.js';
import { assertTrusted, parseYaml, readTrusted } from './yaml-file.js';

const SUFFIX = '.yaml';
const directoryOf = (definitionsDirectory: string): string => join(definitionsDirectory, 'vaults');
const pathOf = (definitionsDirectory: string, name: string): string =>
  join(directoryOf(definitionsDirectory), name + SUFFIX);

/**
 * Reads the settings of one vault.
 * @throws Stop usage, definition_missing, definition_invalid, definition_untrusted
 */
export async function loadVaultSettings(definitionsDirectory: string, name: string): Promise<VaultSettings> {
  assertVaultName(name);
  const names = await vaultNames(definitionsDirectory);
  const path = pathOf(definitionsDirectory, name);
  if (!names.includes(name))
    throw new Stop('definition_missing', `there is no vaults/${name}.yaml in ${definitionsDirectory}`, {
      directory: definitionsDirectory,
      vault: name,
      vaults: names,
    });
  // Whoever can write the directory of definitions can put another `vaults` there
  for (const directory of [definitionsDirectory, directoryOf(definitionsDirectory)]) await assertTrusted(directory);
  return parseVaultSettings(name, await translating({ path }, () => readTrusted(path)), path);
}

/** Names of the vaults that this host knows, sorted, whatever is in their files. @throws Stop permission_denied, io_error */
export async function vaultNames(definitionsDirectory: string): Promise<readonly string[]> {
  const path = directoryOf(definitionsDirectory);
  try {
    const names = await readdir(path);
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .sort();
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw translateErrno(error, { path });
  }
}

/**
 * @param path only for messages
 * @throws Stop definition_invalid with `problems`: line, key and what is expected
 */
export function parseVaultSettings(name: string, text: string, path: string): VaultSettings {
  return parseYaml(text, path, {
    schema: vaultSettingsSchema,
    jsonSchema: vaultSettingsJsonSchema,
    complete: (parsed) => ({ value: toVaultSettings(name, parsed), issues: [] }),
  });
}

/** The settings as text: what is absent is left out. */
export function writeVaultSettings({ name: _name, ...settings }: VaultSettings): string {
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));
  return stringify({ holdfast: 1, ...given }, { lineWidth: 0 });
}

/**
 * @returns the path that the settings of a new vault will have, in a directory that was made for it
 * @throws Stop usage, target_exists, definition_untrusted
 */
export async function assertNewVault(definitionsDirectory: string, name: string): Promise<string> {
  assertVaultName(name);
  await ensureDirectory(directoryOf(definitionsDirectory), 0o755);
  await assertTrusted(directoryOf(definitionsDirectory));
  const path = pathOf(definitionsDirectory, name);
  if ((await vaultNames(definitionsDirectory)).includes(name))
    throw new Stop('target_exists', `${path} exists`, { path });
  return path;
}

/**
 * Adds the settings of a vault to those of this host.
 * @returns their path
 * @throws Stop those of assertNewVault; definition_invalid where they would not be read back
 */
export async function addVaultSettings(definitionsDirectory: string, settings: VaultSettings): Promise<string> {
  const path = await assertNewVault(definitionsDirectory, settings.name);
  const text = writeVaultSettings(settings);
  parseVaultSettings(settings.name, text, path);
  await writeNewDurable(path, text, 0o644);
  return path;
}

function assertVaultName(name: string): void {
  if (!isStoreName(name))
    throw new Stop('usage', `${JSON.stringify(name)} is no name of a vault: lower-case letters, digits and hyphens`, {
      vault: name,
    });
}
