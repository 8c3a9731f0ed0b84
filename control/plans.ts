// Plans that were shown to people, kept by their digest: whoever confirms a digest confirms that very plan, also when
// the store is written to meanwhile and would be planned a little differently now (F-29).
import { createHash } from 'node:crypto';
import { readFile, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../domain/canonical.js';
import type { StoreDefinition } from '../domain/definition.js';
import { LIMITS } from '../domain/limits.js';
import { planBytes } from '../domain/plan.js';
import type { RestorePlan } from '../domain/plan.js';
import { planSchema } from '../domain/schema/order.js';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, writeFileDurable } from '../files/durable.js';
import { now } from './clock.js';
import { ensureControlDirectory } from './store-room.js';
import type { StoreRoom } from './store-room.js';

const plansOf = (room: StoreRoom): string => join(room.controlDirectory, 'plans');

/** sha256 of the canonical plan, lower-case hex: what people approve. */
export function planDigest(plan: RestorePlan): string {
  return createHash('sha256').update(planBytes(plan)).digest('hex');
}

/** What a plan binds of the store definition: all that a restore goes by, defaults filled in; not when backups are made. */
export function definitionDigest({ store, roots, layout, hooks, gates, backup, rollback }: StoreDefinition): string {
  const bound = { store, roots, layout, hooks, gates, backup, rollback };
  return createHash('sha256').update(canonicalJson(bound)).digest('hex');
}

/** Keeps a plan for as long as it may be confirmed, and forgets older ones. @returns its digest */
export async function keepPlan(room: StoreRoom, plan: RestorePlan): Promise<string> {
  const digest = planDigest(plan);
  const directory = plansOf(room);
  await ensureControlDirectory(room.controlDirectory);
  await ensureDirectory(directory, 0o700);
  const oldest = Date.parse(now()) - LIMITS.approvalDeadlineMillis;
  for (const name of await readdir(directory)) {
    await forgetIfOlder(join(directory, name), oldest);
  }
  await writeFileDurable(join(directory, `${digest}.json`), planBytes(plan), 0o600);
  return digest;
}

/** Others keep plans at the same moment: what one of them has renamed or removed meanwhile is not ours to look at. */
async function forgetIfOlder(path: string, oldest: number): Promise<void> {
  try {
    if ((await stat(path)).mtimeMs < oldest) await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/**
 * The plan with this digest; undefined when none was kept, or what was kept is not that plan any more.
 * @throws Stop plan_stale when it is of another version, which knew other facts
 */
export async function keptPlan(room: StoreRoom, digest: string): Promise<RestorePlan | undefined> {
  if (!/^[0-9a-f]{64}$/.test(digest)) return undefined;
  let text: string;
  try {
    text = await readFile(join(plansOf(room), `${digest}.json`), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (createHash('sha256').update(text).digest('hex') !== digest) return undefined;
  const plan = planSchema.safeParse(JSON.parse(text));
  if (plan.success) return plan.data;
  throw new Stop('plan_stale', 'the plan was made by another version of holdfast', {
    digest,
    key: plan.error.issues[0]?.path.join('.') ?? '',
  });
}
