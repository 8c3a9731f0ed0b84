// The database file of the embedded engine while it runs. Removed or replaced under it, the engine would go on in a file
// without a name: what it answers then, nobody finds again once it has ended.
import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { asEnvironmentStop } from '../client/state-directory.js';
import { Stop } from '../domain/stop.js';

/** Which file a path leads to; `none` where there is none. */
export type FileIdentity = string;

export function fileIdentity(path: string): FileIdentity {
  try {
    const facts = statSync(path, { bigint: true, throwIfNoEntry: false });
    return facts === undefined ? 'none' : `${facts.dev}:${facts.ino}`;
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
}

/** @throws Stop engine_database_lost where the path leads to another file by now, or to none */
export function assertSameFile(path: string, identity: FileIdentity): void {
  const now = fileIdentity(path);
  if (now === identity && now !== 'none') return;
  throw new Stop(
    'engine_database_lost',
    `the database file of the running engine was ${now === 'none' ? 'removed' : 'replaced'}`,
    { path },
  );
}

/** Looks every second, from when the engine is up for the first time, until the signal. STOP engine_database_lost. */
export async function watchDatabase(
  path: string,
  identity: () => FileIdentity | undefined,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delay(ENGINE_LIMITS.databaseCheckMillis, undefined, { ref: false });
    const known = identity();
    if (known !== undefined && !signal.aborted) assertSameFile(path, known);
  }
}
