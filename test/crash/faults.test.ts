// The system refuses the n-th read, write or rename of a protocol, for n = 1, 2, … until none is refused any more: each
// time the protocol ends in a STOP with the store as it was, or as it should be; never in a defect, never in between.
import { describe, expect, test } from 'vitest';
import type { RestoreReport } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { TEST_HOST, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST, TestStore } from '../support/store.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';
import { assertSound, assertVaultSound, contentOf } from './protocol.js';
import { Victim } from './victim.js';

/** Calls that only files are asked for: the loop that the worker itself runs on must go on. */
const CALLS = {
  EIO: 'pread64,pwrite64,fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,rmdir,getdents64',
  ENOSPC: 'pwrite64,ftruncate,rename,renameat,renameat2,link,linkat,mkdir',
} as const;

/** HOLDFAST_FAULT_EVERY=1 tries each n of up to 340 in each thread: an hour. */
const EVERY = Number(process.env['HOLDFAST_FAULT_EVERY'] ?? 40);

type Place = 'directory' | 'vault';

/** SQLite takes some pages that the disk does not give for corrupt (SQLITE_IOERR_CORRUPTFS), and says no more. */
const EXPECTED = {
  EIO: ['done', 'io_error', 'integrity_failed', 'lock_damaged', 'backup_not_noted'],
  ENOSPC: ['done', 'no_space', 'backup_not_noted'],
} as const;

/** Not what the tracer stands in the way of, and how long that takes. */
const PATIENCE = { requestedBy: 'test', heartbeatTimeoutMillis: 30_000 } as const;

describe.skipIf(requires('temporal', 'strace'))('a system that refuses', () => {
  const engine = useEngine();

  /** @returns the STOP, or what was reported */
  async function endOf<T>(work: Promise<T>): Promise<T | Stop> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof Stop) return error;
      throw error;
    }
  }

  /** Tries each k-th n, from 1, until a run in which nothing was refused. */
  async function refuseEverywhere(
    protocol: 'backup' | 'restore',
    error: keyof typeof CALLS,
    place: Place,
  ): Promise<{ readonly stops: Map<string, number>; readonly tried: number }> {
    const name = `fault-${protocol}-${error.toLowerCase()}-${place}`;
    const victim = await Victim.start(engine(), name);
    const vault = place === 'vault' ? await makeVaultFor(engine(), name, [TEST_HOST, victim.host]) : null;
    const stops = new Map<string, number>();
    try {
      for (let nth = 1; ; nth += EVERY) {
        const store = new TestStore(engine(), `${name}-${nth}`, {
          hooks: ['detach', 'attach', 'quiesce', 'resume'],
          contents: { 'a.db': ITEMS },
          files: { 'files/one': 'one', 'keep.env': 'outside' },
          ...(vault !== null && { backup: { vault: name } }),
        });
        const wanted = await begin(store, protocol);
        const before = contentOf(store);
        const { result, failed } = await victim.failing({ calls: CALLS[error], error, nth }, () =>
          endOf(wanted.start(victim.host)),
        );
        const tried = `${protocol}, ${error} at ${nth}: ${failed.join('\n')}\n${result instanceof Stop ? result.message : 'done'}`;
        await expectSound({ store, vault }, before, wanted, result, tried);
        store.forget();
        if (failed.length === 0) return { stops, tried: Math.ceil(nth / EVERY) };
        const code = result instanceof Stop ? result.code : 'done';
        // SQLite does not say why the index of a log can't grow; that the disk is full is asked of the disk, which is not
        const isUntold = failed.some((line) => line.includes('.db-shm>'));
        expect([...EXPECTED[error], ...(isUntold ? ['io_error'] : [])], tried).toContain(code);
        stops.set(code, (stops.get(code) ?? 0) + 1);
      }
    } finally {
      await victim.end();
    }
  }

  interface Wanted {
    readonly start: (host: string) => Promise<RestoreReport | object>;
    readonly after: string | null;
  }

  async function begin(store: TestStore, protocol: 'backup' | 'restore'): Promise<Wanted> {
    const { holdfast } = engine();
    if (protocol === 'backup')
      return {
        start: async (host) => (await holdfast.backup(store.name, { ...PATIENCE, host })).result(),
        after: null,
      };
    const after = contentOf(store);
    await store.backup();
    store.addItem('four');
    store.write('files/two', 'two');
    const start = async (host: string): Promise<object> => {
      const { digest } = await (await holdfast.plan(store.name, LATEST, { ...PATIENCE, host })).result();
      return (await holdfast.restore(store.name, LATEST, digest, { ...PATIENCE, host })).result();
    };
    return { start, after };
  }

  async function expectSound(
    { store, vault }: { readonly store: TestStore; readonly vault: TestVault | null },
    before: string,
    { after }: Wanted,
    result: object,
    tried: string,
  ): Promise<void> {
    const finished = !(result instanceof Stop) || result.details['settled'] === 'finished';
    expect(contentOf(store), tried).toBe(after !== null && finished ? after : before);
    try {
      await assertSound(store);
      await store.backup();
      await assertSound(store);
      if (vault !== null) await assertVaultSound(engine(), store, vault);
    } catch (error) {
      throw new Error(tried, { cause: error });
    }
  }

  test.each([
    ['backup', 'EIO', 'directory'],
    ['backup', 'ENOSPC', 'directory'],
    ['restore', 'EIO', 'directory'],
    ['restore', 'ENOSPC', 'directory'],
    ['backup', 'EIO', 'vault'],
    ['backup', 'ENOSPC', 'vault'],
    ['restore', 'EIO', 'vault'],
    ['restore', 'ENOSPC', 'vault'],
  ] as const)(
    'SM-9: the n-th call of a %s refused with %s, for each n, backups in a %s: a STOP, and the store is the old or the new one',
    { timeout: 1_800_000 },
    async (protocol, error, place) => {
      const { stops, tried } = await refuseEverywhere(protocol, error, place);
      console.log(`${protocol}, ${error}, ${place}: ${tried} tried: ${JSON.stringify(Object.fromEntries(stops))}`);
      expect([...stops.keys()].filter((code) => code !== 'done')).not.toEqual([]);
    },
  );
});
