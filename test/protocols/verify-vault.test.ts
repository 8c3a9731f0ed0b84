// Backups in a vault are verified in three depths; what is wrong is told with every backup that it harms. Clauses F-14, F-40.
import { cpSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { VerifyOrder, VerifyReport } from '../../domain/protocol.js';
import type { Stop } from '../../domain/stop.js';
import { OBJECTS } from '../../domain/vault.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';

type Depth = Pick<VerifyOrder, 'depth' | 'seed'>;

describe.skipIf(requires('temporal', 'age'))('backups in a vault are verified', () => {
  const engine = useEngine();
  let vault: TestVault;
  let made = 0;
  beforeAll(async () => {
    await anotherVault();
  });

  async function anotherVault(): Promise<void> {
    made += 1;
    vault = await makeVaultFor(engine(), `verified${made}`);
  }

  const storeIn = (purpose: string, options: StoreOptions = {}): TestStore =>
    makeStore(engine(), purpose, { ...options, backup: { vault: vault.name } });
  const verify = async ({ name }: TestStore, backup: string, options: Depth = {}): Promise<VerifyReport> =>
    (await engine().holdfast.verify(name, backup, { requestedBy: 'test', ...options })).result();
  const damageOf = async (store: TestStore, backup: string, options: Depth = {}): Promise<Stop['details']> => {
    const { code, details } = await stopOf(verify(store, backup, options));
    expect(code).toBe('vault_damaged');
    return details;
  };
  const pathOf = (object: string): string => join(vault.directory, object);
  const objects = (): readonly string[] =>
    readdirSync(join(vault.directory, 'packs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.age'))
      .map((name) => `packs/${name}`);
  const flip = (object: string, at: number): void => {
    const bytes = readFileSync(pathOf(object));
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    writeFileSync(pathOf(object), bytes);
  };
  const manifestOf = (store: TestStore, number: number): string => {
    const directory = OBJECTS.backup(store.name, number);
    const name = readdirSync(pathOf(directory)).find((child) => child.endsWith('.manifest.age'));
    return `${directory}/${name}`;
  };

  test('ciphertext: without an identity, every pack and envelope, and nothing is said of what was not opened', async () => {
    const store = storeIn('keyless');
    await store.backup();
    vault.settle({ reads: false });
    try {
      const report = await verify(store, 'latest', { depth: 'ciphertext' });
      expect(report).toMatchObject({ depth: 'ciphertext', backups: 1, files: 3, databases: 1, countersigned: false });
      expect(report.packs).toBeGreaterThan(0);
      expect(report).not.toHaveProperty('foreignKeys');
      expect(report.steps.map(({ step }) => step)).toEqual(['verify.bytes']);
      for (const depth of ['sample', 'full'] as const)
        expect((await stopOf(verify(store, 'latest', { depth }))).code).toBe('identity_missing');
    } finally {
      vault.settle({});
    }
  });

  test('by a time: the newest backup that shows no later state, and no other', async () => {
    const store = storeIn('timed');
    await store.backup();
    const between = new Date().toISOString();
    store.addItem('four');
    await store.backup();
    expect(await verify(store, `at:${between}`)).toMatchObject({ artefact: expect.stringMatching(/\/1$/), backups: 1 });
    expect((await stopOf(verify(store, 'at:2020-01-01T00:00:00Z'))).code).toBe('artefact_missing');
  });

  test('sample: at least sixteen files, told, and the same ones by the same seed', async () => {
    const files = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`files/${index}`, `file ${index}`]));
    const store = storeIn('sampled', { files });
    await store.backup();
    const first = await verify(store, 'latest', { depth: 'sample', seed: 'one' });
    expect(first.sample).toMatchObject({ seed: 'one', files: 16 });
    expect(first.sample?.listed).toHaveLength(16);
    expect((await verify(store, 'latest', { depth: 'sample', seed: 'one' })).sample).toEqual(first.sample);
    expect((await verify(store, 'latest', { depth: 'sample', seed: 'two' })).sample).not.toEqual(first.sample);
    expect((await verify(store, 'latest', { depth: 'sample' })).sample?.seed).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('full: all backups of a store at once, each database with its integrity', async () => {
    const store = storeIn('all');
    await store.backup();
    store.addItem('four');
    store.write('files/three', 'three');
    await store.backup();
    const report = await verify(store, 'all');
    expect(report).toMatchObject({ depth: 'full', backups: 2, files: 3 + 4, databases: 2 });
    expect(report.artefact).toBe(`vault:${vault.name}/${store.name}/2`);
    expect(report.steps.map(({ step }) => step)).toEqual(['verify.bytes', 'verify.databases']);
  });

  test('who has a key for it vouches for what was sound, once', async () => {
    const store = storeIn('countersigned');
    await store.backup();
    const countersignatures = (): readonly string[] =>
      readdirSync(pathOf(OBJECTS.backup(store.name, 1))).filter((name) => name.endsWith('.verified.json'));
    expect((await verify(store, 'latest')).countersigned).toBe(false);
    expect(countersignatures()).toEqual([]);
    vault.settle({ signs: vault.verifier });
    try {
      expect((await verify(store, 'latest', { depth: 'ciphertext' })).countersigned).toBe(false);
      expect((await verify(store, 'latest', { depth: 'sample' })).countersigned).toBe(true);
      expect(countersignatures()).toHaveLength(1);
      expect((await verify(store, 'all')).countersigned).toBe(true);
      expect(countersignatures()).toHaveLength(2);
      expect((await verify(store, 'latest', { depth: 'sample' })).countersigned).toBe(true);
      expect(countersignatures()).toHaveLength(2);
    } finally {
      vault.settle({});
    }
    const [name = ''] = countersignatures();
    flip(`${OBJECTS.backup(store.name, 1)}/${name}`, 20);
    expect(await damageOf(store, 'latest', { depth: 'ciphertext' })).toMatchObject({ objectCount: 1, backupCount: 0 });
    await store.restore();
  });

  test('a pack that two stores have: both are named, and the others can be restored', async () => {
    const one = storeIn('shared', { files: { 'files/one': 'shared by two' }, contents: { 'a.db': ITEMS } });
    await one.backup();
    const known = new Set(objects());
    const two = storeIn('shares', { files: { 'files/two': 'its own' }, contents: { 'a.db': `${ITEMS} SELECT 1` } });
    two.write('files/one', 'shared by two');
    await two.backup();
    one.write('files/one', 'of the first alone');
    one.addItem('four');
    await one.backup();
    // The one that both refer to
    const shared = [...known].filter((object) => {
      flip(object, -3);
      return true;
    });
    const details = await damageOf(one, '1', { depth: 'ciphertext' });
    expect(details['objectCount']).toBeGreaterThan(0);
    expect(details['backups']).toEqual(expect.arrayContaining([`${one.name}/1`, `${two.name}/1`]));
    for (const object of shared) flip(object, -3);
    await verify(one, 'all');
  });

  test.each([
    ['missing', 'vault_object_missing', (object: string) => rmSync(pathOf(object))],
    [
      'cut',
      'vault_invalid',
      (object: string) => writeFileSync(pathOf(object), readFileSync(pathOf(object)).subarray(1)),
    ],
    ['changed', 'checksum_mismatch', (object: string) => flip(object, -1)],
    ['renamed', 'vault_object_missing', (object: string) => renameSync(pathOf(object), `${pathOf(object)}x`)],
  ] as const)('a pack or manifest that is %s: %s, by name, in every depth', async (what, code, damage) => {
    for (const which of ['pack', 'manifest'] as const) {
      await anotherVault();
      const store = storeIn('damaged', { files: { 'files/one': `unlike any ${code}` } });
      await store.backup();
      store.write('files/one', 'another');
      await store.backup();
      const object = which === 'manifest' ? manifestOf(store, 2) : ((await onlyOf(store, 2))[0] ?? '');
      damage(object);
      for (const depth of ['ciphertext', 'sample', 'full'] as const) {
        const details = await damageOf(store, 'all', { depth });
        // What lies beside an envelope is known by name: another is foreign
        const isForeign = what === 'renamed' && which === 'manifest';
        const named = isForeign ? { object: `${object}x`, code: 'vault_object_foreign' } : { object, code };
        expect(details['objects'], `${which}, ${depth}`).toContainEqual(expect.objectContaining(named));
        expect([details['backups'], details['backupCount']]).toEqual([[`${store.name}/2`], 1]);
      }
      // That of the other backup is no reason to refuse this one
      if (what !== 'renamed') await verify(store, '1');
      await store.restore({ kind: 'backup', backup: '1' });
    }
  });

  /** Packs that no other backup of the vault has. */
  async function onlyOf(store: TestStore, number: number): Promise<readonly string[]> {
    const packsOf = (of: number): readonly string[] =>
      (
        JSON.parse(readFileSync(pathOf(OBJECTS.envelope(store.name, of)), 'utf8')) as {
          readonly packs: readonly { readonly sha256: string }[];
        }
      ).packs.map(({ sha256 }) => OBJECTS.pack(sha256));
    const others = new Set(packsOf(number - 1));
    return packsOf(number).filter((object) => !others.has(object));
  }

  test('a backup in the middle that is gone, and one that is swapped for an older copy', async () => {
    await anotherVault();
    const store = storeIn('gone');
    for (const value of ['one', 'two', 'three']) {
      store.write('files/one', value);
      await store.backup();
    }
    const second = pathOf(OBJECTS.backup(store.name, 2));
    const aside = join(store.directory, 'aside');
    renameSync(second, aside);
    const gone = await damageOf(store, 'latest', { depth: 'ciphertext' });
    expect(gone['backups']).toEqual([`${store.name}/2`, `${store.name}/3`]);
    expect(gone['objects']).toContainEqual(
      expect.objectContaining({ object: OBJECTS.envelope(store.name, 2), code: 'chain_broken' }),
    );
    cpSync(pathOf(OBJECTS.backup(store.name, 1)), second, { recursive: true });
    const replayed = await damageOf(store, 'all', { depth: 'ciphertext' });
    expect(replayed['objects']).toContainEqual(expect.objectContaining({ code: 'vault_object_foreign' }));
    rmSync(second, { recursive: true });
    renameSync(aside, second);
    expect((await verify(store, 'all')).backups).toBe(3);
    rmSync(pathOf(OBJECTS.backup(store.name, 3)), { recursive: true });
    const vanished = await damageOf(store, 'latest', { depth: 'ciphertext' });
    expect([vanished['backups'], vanished['objects']]).toEqual([
      [`${store.name}/3`],
      [expect.objectContaining({ code: 'backup_vanished' })],
    ]);
  });

  test('what the format does not know is named, and harms nothing', async () => {
    await anotherVault();
    const store = storeIn('foreign');
    await store.backup();
    writeFileSync(pathOf('notes.txt'), 'who put this here?');
    expect(await damageOf(store, 'latest', { depth: 'ciphertext' })).toMatchObject({
      objects: [{ object: 'notes.txt', code: 'vault_object_foreign' }],
      backupCount: 0,
    });
    await store.restore();
  });

  test('more objects than can be told are counted', async () => {
    await anotherVault();
    const store = storeIn('many');
    await store.backup();
    for (let index = 0; index < 120; index += 1) writeFileSync(pathOf(`intents/x${index}`), '');
    const details = await damageOf(store, 'latest', { depth: 'ciphertext' });
    expect([details['objectCount'], (details['objects'] as unknown[]).length]).toEqual([120, 100]);
  });

  test('a backup in a directory is verified by itself, and in full', async () => {
    const store = makeStore(engine(), 'directory');
    await store.backup();
    expect(await verify(store, 'latest')).toMatchObject({ depth: 'full', backups: 1, countersigned: false });
    expect((await stopOf(verify(store, 'latest', { depth: 'ciphertext' }))).code).toBe('usage');
    expect((await stopOf(verify(store, 'all'))).code).toBe('usage');
  });

  test('an order that asks for no depth there is, for another store, or for nothing, is refused', async () => {
    const store = storeIn('asked');
    expect((await stopOf(verify(store, 'latest', { depth: 'deep' as 'full' }))).code).toBe('usage');
    expect((await stopOf(verify(store, `vault:${vault.name}/other/1`))).code).toBe('store_differs');
    for (const backup of ['latest', 'all', '7'])
      expect((await stopOf(verify(store, backup))).code).toBe('artefact_missing');
  });

  test('a database without a table that it must have is told, of all backups with each that it is in', async () => {
    await anotherVault();
    const store = storeIn('tables', { databases: [{ path: 'a.db', requiredTables: ['item'] }] });
    await store.backup();
    sql(store.path('a.db'), "INSERT INTO item (v) VALUES ('four')");
    await store.backup();
    store.define({ databases: [{ path: 'a.db', requiredTables: ['item', 'order'] }] });
    expect((await stopOf(verify(store, 'latest'))).code).toBe('required_table_missing');
    const details = await damageOf(store, 'all');
    expect(details['backups']).toEqual([`${store.name}/1`, `${store.name}/2`]);
  });
});
