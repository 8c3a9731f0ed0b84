// What a host's worker and its clients must agree on: the host's name, which names its task queue, and the
// directory of store definitions. DESIGN "Workflows" (definitions belong to the worker's user or root).
import { homedir, hostname, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { isRoot, setting } from './state-directory.js';
import type { Environment } from './state-directory.js';

/** $HOLDFAST_HOST, else the system's host name. */
export function hostName(environment: Environment = process.env): string {
  return setting(environment, 'HOLDFAST_HOST') ?? hostname();
}

/** $HOLDFAST_DEFINITIONS_DIRECTORY, else /etc/holdfast/stores for root, else ~/.config/holdfast/stores. */
export function definitionsDirectory(environment: Environment = process.env): string {
  const given = setting(environment, 'HOLDFAST_DEFINITIONS_DIRECTORY');
  if (given !== undefined) return resolve(given);
  if (isRoot()) return '/etc/holdfast/stores';
  return join(setting(environment, 'XDG_CONFIG_HOME') ?? join(homedir(), '.config'), 'holdfast', 'stores');
}

/** null: the user id has no entry in the user database, as in a container. */
export function userName(): string | null {
  try {
    return userInfo().username;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_SYSTEM_ERROR') return null;
    throw error;
  }
}
