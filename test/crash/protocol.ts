// One crash point: a store of its own, a protocol under way, the worker killed at its n-th call, recovery by one of the
// two ways there are, and what must hold afterwards whatever the point was (T-7, SM-9).
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { assertTreeMatches, dataPath, readArtefact } from '../../artefacts/artefact.js';
import { artefactNames } from '../../artefacts/names.js';
import { recoverStore } from '../../control/recovery.js';
import { openStoreRoom } from '../../control/store-room.js';
import type { HookName } from '../../domain/definition.js';
import { executionId, requestId } from '../../domain/names.js';
import type { RestoreSource } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { verifyInVault } from '../../control/vault-verify.js';
import type { VaultVerified } from '../../control/vault-verify.js';
import { readChain } from '../../vault/envelopes.js';
import type { Intent } from '../../vault/intents.js';
import { TEST_HOST, eventually } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { column, ITEMS, LATEST, LATEST_POINT, TestStore } from '../support/store.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';
import { Victim } from './victim.js';

export type Protocol = 'backup' | 'restore' | 'rollback';
/** `roots`: there are two, and what a restore replaces is backed up first. `vault`: backups go to one. */
export type Mode = 'root' | 'entries' | 'roots' | 'vault';
/** `recover`: no engine takes part. `compensate`: another worker of the host lets the workflow settle. */
export type Way = 'recover' | 'compensate';

export interface Point {
  readonly protocol: Protocol;
  readonly mode: Mode;
  readonly way: Way;
  /** The call at which the worker dies, from 1; Infinity: it lives. */
  readonly at: number;
}

export interface Outcome {
  readonly calls: readonly string[];
  readonly killed: boolean;
  readonly state: 'old' | 'new';
}

const HOOKS: readonly HookName[] = ['quiesce', 'resume', 'detach', 'attach'];
const REQUESTED = { requestedBy: 'test' } as const;
/** A run whose worker died ends within this, on a machine under load too. */
const RESULT_MILLIS_MAX = 120_000;
let made = 0;

/** Brings a store to where `protocol` can begin, kills it there, recovers, and asserts everything that must hold. */
export async function crashAt(engine: TestEngine, point: Point): Promise<Outcome> {
  made += 1;
  // Processes of the case are found by this name: other files that run at the same time must have others
  const name = `crash-${process.pid}-${made}`;
  const vault = point.mode === 'vault' ? await makeVaultFor(engine, name, [name, TEST_HOST]) : null;
  const store = new TestStore(engine, name, {
    hooks: HOOKS,
    ...(vault !== null && { backup: { vault: name } }),
    databases: [{ path: 'a.db' }, { path: 'sub/b.db' }],
    contents: { 'a.db': ITEMS, 'sub/b.db': ITEMS },
    files: { 'files/one': 'one', 'files/deep/two': 'two', 'keep.env': 'outside' },
    ...(point.mode === 'roots' && {
      more: { one: 'one', two: 'two' },
      rollback: { destination: join(engine.directory, `${name}-kept`) },
    }),
  });
  // Its host is called as its store is: the processes of the case are found by either
  const victim = await Victim.start(engine, name);
  try {
    if (point.mode === 'entries') execFileSync('mount', ['--bind', store.root, store.root]);
    return await crash(engine, store, victim, point, vault);
  } finally {
    await victim.end();
    if (point.mode === 'entries') execFileSync('umount', ['-l', store.root]);
    store.forget();
  }
}

async function crash(
  engine: TestEngine,
  store: TestStore,
  victim: Victim,
  point: Point,
  vault: TestVault | null,
): Promise<Outcome> {
  const { holdfast } = engine;
  const options = { ...REQUESTED, host: victim.host, heartbeatTimeoutMillis: 3_000 };
  const original = contentOf(store);
  if (point.protocol !== 'backup') {
    await store.backup();
    store.addItem('four');
    store.addItem('four', 'sub/b.db');
    store.write('files/one', 'changed');
    store.write('files/three', 'three');
    if (point.mode === 'roots') store.writeMore('one', 'changed');
  }
  const changed = contentOf(store);
  if (point.protocol === 'rollback') await store.restore();
  const source: RestoreSource = point.protocol === 'rollback' ? LATEST_POINT : LATEST;
  const [before, after] = { backup: [original, original], restore: [changed, original], rollback: [original, changed] }[
    point.protocol
  ] as [string, string];
  expect(contentOf(store)).toBe(before);
  const published = store.published().length;
  store.hooksRun();
  const digest =
    point.protocol === 'backup' ? '' : (await (await holdfast.plan(store.name, source, options)).result()).digest;
  let ended: (value: unknown) => void = () => undefined;
  const ends = Promise.race([
    new Promise((resolve) => (ended = resolve)),
    sleep(RESULT_MILLIS_MAX, null, { ref: false }),
  ]);
  let result: Promise<{ readonly error: Error | null }> = Promise.resolve({ error: null });
  let operation = '';
  const { calls, killed } = await victim.killAt(point.at, ends, async () => {
    const started = await (point.protocol === 'backup'
      ? holdfast.backup(store.name, options)
      : holdfast.restore(store.name, source, digest, options));
    operation = started.operation;
    result = started.result().then(
      () => ({ error: null }),
      (error: unknown) => ({ error: error instanceof Error ? error : new Error(String(error)) }),
    );
    void result.then(ended);
  });
  const ending = async (): Promise<Error | null> => {
    const late = sleep(RESULT_MILLIS_MAX, null, { ref: false });
    const settled = await Promise.race([result, late]);
    if (settled === null)
      throw new Error(`the run does not end: ${JSON.stringify(await holdfast.running(store.name))}`);
    return settled.error;
  };
  if (!killed) {
    const error = await ending();
    if (error !== null) throw error;
  } else if (point.way === 'recover') {
    await recoverStore(await openStoreRoom(engine.definitionsDirectory, store.name), 'test');
    for (const id of [executionId(store.name), requestId(store.name, operation)]) await terminate(engine, id);
  } else {
    const other = await Victim.start(engine, victim.host);
    const error = await ending();
    if (error !== null && !(error instanceof Stop)) throw error;
    await other.kill();
  }
  await eventually(
    'no process of the worker is left',
    () => victim.processes().filter(({ pid }) => pid !== victim.pid).length === 0,
    15_000,
  );
  const content = contentOf(store);
  expect([before, after]).toContain(content);
  await assertSound(store);
  if (vault !== null) await assertVaultSound(engine, store, vault);
  // What comes next works, by another worker
  const next = await store.backup();
  if (vault === null) expect(existsSync(join(next.artefact, 'manifest.json'))).toBe(true);
  else expect((await assertVaultSound(engine, store, vault)).artefact).toBe(next.artefact);
  expect(store.published().length - published).toBeLessThanOrEqual(point.protocol === 'backup' ? 2 : 1);
  await assertSound(store);
  expect(contentOf(store)).toBe(content);
  return { calls, killed, state: content === after && before !== after ? 'new' : 'old' };
}

/** Nothing is held, fenced, staged or half-made; the application runs; each published backup is what it says. */
export async function assertSound(store: TestStore): Promise<void> {
  expect(store.leftovers()).toEqual([]);
  const control = readdirSync(store.controlDirectory);
  expect(control.filter((name) => name.endsWith('.tmp'))).toEqual([]);
  const hooks = store.hooksRun();
  for (const [pause, goOn] of [
    ['quiesce', 'resume'],
    ['detach', 'attach'],
  ] as const) {
    expect(hooks.lastIndexOf(goOn), `${goOn} after ${pause} in ${hooks.join(' ')}`).toBeGreaterThanOrEqual(
      hooks.lastIndexOf(pause),
    );
  }
  const places = await Promise.all(
    store.destinations.map(async (path) => (await artefactNames(path)).map((name) => join(path, name))),
  );
  for (const place of places.flat()) {
    const artefact = await readArtefact(place);
    await assertTreeMatches(artefact);
    for (const entry of artefact.manifest.entries) {
      if (entry.type === 'directory') continue;
      expect(
        createHash('sha256')
          .update(readFileSync(dataPath(artefact, entry)))
          .digest('hex'),
      ).toBe(entry.sha256);
    }
  }
  for (const root of store.rollbackPoints().flatMap((point) => point.roots)) expect(existsSync(root.tree)).toBe(true);
}

/**
 * Whatever the vault lists is whole, to each file, and follows what was before; beside it lie nothing but packs that nobody
 * refers to, what is called unfinished, and the intent of whoever was killed.
 */
export async function assertVaultSound(engine: TestEngine, store: TestStore, vault: TestVault): Promise<VaultVerified> {
  const host = {
    definitionsDirectory: engine.definitionsDirectory,
    stateDirectory: join(store.directory, 'verifier'),
  };
  const { place } = vault.open;
  const intents = await Promise.all(
    (await place.children('intents')).map(async (name) =>
      JSON.parse(String(await place.read(`intents/${name}`, 4096))),
    ),
  );
  expect((intents as readonly Intent[]).filter((intent) => intent.store === store.name).length).toBeLessThanOrEqual(1);
  const { entries, head, stop } = await readChain(vault.open, store.name, { now: new Date().toISOString() });
  expect([stop, entries.length]).toEqual([null, head?.number ?? 0]);
  // Whoever is interrupted before the first one leaves none to verify
  if (head === null) return { artefact: '' } as VaultVerified;
  return verifyInVault(host, {
    vault: vault.name,
    store: store.name,
    reference: 'all',
    depth: 'full',
    seed: '',
    witness: () => Promise.resolve(undefined),
    signal: new AbortController().signal,
    report: () => undefined,
  });
}

/** All members by their contents, and what lies outside them. */
export function contentOf(store: TestStore): string {
  const files = readdirSync(store.root, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('/.holdfast') && !/-(?:wal|shm)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(store.root.length + 1))
    .sort();
  const more = existsSync(store.moreRoot) ? readdirSync(store.moreRoot).sort() : [];
  return JSON.stringify([
    ...files.map((path) => [
      path,
      path.endsWith('.db') ? column(store.path(path), 'SELECT v FROM item ORDER BY id') : store.read(path),
    ]),
    ...more.map((path) => [`more/${path}`, readFileSync(join(store.moreRoot, path), 'utf8')]),
  ]);
}

async function terminate(engine: TestEngine, workflowId: string): Promise<void> {
  try {
    await engine.session.client.workflow.getHandle(workflowId).terminate('the test has recovered without the engine');
  } catch (error) {
    if (!(error instanceof Error && /not found|already completed/i.test(error.message))) throw error;
  }
}

/**
 * All points of a protocol, a few at a time; with `every` = k each k-th, the last one always.
 * @returns how many points there are, and what became of those that were tried
 */
export async function crashEverywhere(
  engine: TestEngine,
  protocol: Protocol,
  mode: Mode,
  every: number,
): Promise<{ readonly points: number; readonly tried: number; readonly olds: number; readonly news: number }> {
  const whole = await crashAt(engine, { protocol, mode, way: 'recover', at: Number.POSITIVE_INFINITY });
  expect(whole.killed).toBe(false);
  const points = whole.calls.length;
  const tries = Array.from({ length: points }, (_, index) => index + 1).filter((at) => at % every === points % every);
  // Both ways take turns
  const todo = tries.map((at, index) => ({
    at,
    way: index % 2 === 0 ? ('recover' as const) : ('compensate' as const),
  }));
  const counts = { olds: 0, news: 0, tried: todo.length };
  const failures: string[] = [];
  const one = async (): Promise<void> => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      const { at, way } = next;
      try {
        const { state } = await crashAt(engine, { protocol, mode, way, at });
        if (state === 'old') counts.olds += 1;
        else counts.news += 1;
      } catch (error) {
        const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
        failures.push(
          `${protocol}, ${mode}, killed at ${at} of ${points} (${whole.calls[at - 1] ?? ''}), ${way}: ${reason}`,
        );
      }
    }
  };
  await Promise.all([one(), one(), one()]);
  expect(failures.join('\n\n')).toBe('');
  return { points, ...counts };
}

/** HOLDFAST_CRASH_EVERY=1 tries every point: several minutes a protocol. Where nothing may be skipped, each fourth. */
export function crashEvery(): number {
  return Number(process.env['HOLDFAST_CRASH_EVERY'] ?? (process.env['HOLDFAST_REQUIRE_ALL'] === '1' ? 4 : 8));
}
