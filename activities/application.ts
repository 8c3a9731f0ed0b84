// The steps that speak with the application through its hooks. What is owed is journaled before a hook is run, so
// that a crash in the middle of it is paid by settling.
import { runHook } from '../control/hooks.js';
import { dismissGuard, startGuard } from '../control/guard.js';
import { withControlDatabase } from '../control/control-database.js';
import { critical, journal } from '../control/lock.js';
import type { StoreRoom } from '../control/store-room.js';
import { debtsOf } from '../domain/journal.js';
import type { LockGrant } from '../domain/protocol.js';
import { assertNotInUse } from '../files/in-use.js';
import { databasePaths, livePath } from './members.js';
import { millisBetween, now } from '../control/clock.js';
import { applicationSchema } from '../domain/schema/application.js';
import { Stop } from '../domain/stop.js';
import { compensation, step } from './step.js';
import type { ActivityDependencies, GrantedInput } from './step.js';

export interface Quiesced {
  /** RFC 3339; null: the definition has no quiesce hook. */
  readonly at: string | null;
}

/** Step backup.quiesce: the guard watches before the hook is run. */
export const quiesce = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput, { room, signal }): Promise<Quiesced> => {
    return { at: await quiesceApplication(room, input.grant, signal) };
  });

/** Lets the application hold still. @returns since when; null without the hook */
export async function quiesceApplication(
  room: StoreRoom,
  grant: LockGrant,
  signal: AbortSignal,
): Promise<string | null> {
  const hook = room.definition.hooks.quiesce;
  if (hook === undefined) return null;
  await journal(room, grant, { event: 'quiescing' });
  await startGuard(room, grant);
  const at = now();
  await runHook('quiesce', hook, { store: room.definition.store, operation: grant.operation, signal });
  return at;
}

/** Lets the application go on, once, however often it is called. */
export async function resumeApplication(room: StoreRoom, grant: LockGrant): Promise<void> {
  const hook = room.definition.hooks.resume;
  const owed = await critical(room, grant, (database) => debtsOf(database.events(grant.operation)).resume);
  if (owed && hook !== undefined) {
    await runHook('resume', hook, { store: room.definition.store, operation: grant.operation });
    await journal(room, grant, { event: 'resumed', by: 'protocol' });
  }
  dismissGuard(grant.operation);
}

/** Step backup.resume: a no-op when the snapshot step has already let the application go on. */
export const resume = (dependencies: ActivityDependencies) =>
  compensation(dependencies, async (input: GrantedInput & { readonly quiesced: Quiesced }, { room }) => {
    await resumeApplication(room, input.grant);
    const resumedAt = await withControlDatabase(room.controlDirectory, (database) =>
      database.timeOf(input.operation, 'resumed'),
    );
    return { quiescedMillis: millisBetween(input.quiesced.at, resumedAt ?? now()) };
  });

/** Steps restore.in-use, rollback.in-use. */
export const inUse = (dependencies: ActivityDependencies) =>
  step(dependencies, async (_input: GrantedInput, { room }) => {
    await assertStoreNotInUse(room, room.definition.hooks.detach !== undefined);
  });

/** @throws Stop store_in_use, cannot_tell_in_use */
export async function assertStoreNotInUse(room: StoreRoom, detachConfirmed: boolean): Promise<void> {
  const roots = room.roots.map((root) => root.definition.path);
  await assertNotInUse(roots, await databasesUnder(room), { detachConfirmed });
}

async function databasesUnder(room: StoreRoom): Promise<string[]> {
  const paths: string[] = [];
  for (const root of room.roots) for (const path of await databasePaths(root)) paths.push(livePath(root, path));
  return paths;
}

/** Steps restore.attach, rollback.attach. */
export const attach = (dependencies: ActivityDependencies) =>
  compensation(dependencies, async (input: GrantedInput, { room }) => {
    const hook = room.definition.hooks.attach;
    const owed = await critical(room, input.grant, (database) => debtsOf(database.events(input.operation)).attach);
    if (!owed || hook === undefined) return;
    await runHook('attach', hook, { store: input.store, operation: input.operation });
    await journal(room, input.grant, { event: 'attached', by: 'protocol' });
  });

/** Step restore.rebuild: migrations of the application first, then its caches. */
export const rebuild = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput, { room, signal }) => {
    for (const name of ['migrate', 'caches'] as const) {
      const hook = room.definition.hooks[name];
      if (hook !== undefined) await runHook(name, hook, { store: input.store, operation: input.operation, signal });
    }
  });

/**
 * What the version hook says of the application: one JSON object `{"version": "...", "modules": [...]}` on stdout.
 * @returns null without the hook
 * @throws Stop hook_failed
 */
export async function applicationOf(
  room: StoreRoom,
  operation: string,
  signal: AbortSignal,
): Promise<{ readonly version: string; readonly modules: readonly string[] } | null> {
  const hook = room.definition.hooks.version;
  if (hook === undefined) return null;
  const output = await runHook('version', hook, { store: room.definition.store, operation, signal });
  const parsed = applicationSchema.safeParse(parseJson(output));
  if (!parsed.success)
    throw new Stop('hook_failed', 'hook version did not print {"version": "...", "modules": [...]}', {
      hook: 'version',
      output: output.slice(0, 500),
    });
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Stop(
      'hook_failed',
      'hook version did not print JSON',
      { hook: 'version', output: text.slice(0, 500) },
      { cause: error },
    );
  }
}
