// Backups in a vault, by the protocols themselves: what comes back is what was there, what has not changed is not read
// again, and a host without an identity writes what it can't read. Clauses F-10, F-36, SM-11.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, column, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';

const objectsOf = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(directory, name)).isFile(),
  );

describe.skipIf(requires('temporal', 'age'))('a store whose backups go to a vault', () => {
  const engine = useEngine();
  let vault: TestVault;
  beforeAll(async () => {
    vault = await makeVaultFor(engine(), 'main');
  });
  const storeIn = (purpose: string, options: StoreOptions = {}): TestStore =>
    makeStore(engine(), purpose, { ...options, backup: { vault: vault.name } });
  const packs = (): readonly string[] => objectsOf(join(vault.directory, 'packs'));

  test('backup.package, restore.stage: is restored as it was, with odd names, empty and large files', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024, 'large').toString('latin1');
    const store = storeIn('vaulted', {
      files: { 'files/one': 'one', 'files/empty': '', 'files/a b\n"c"': 'odd', 'files/large': large },
    });
    const before = await store.digest('a.db');
    const report = await store.backup();
    expect(report).toMatchObject({ artefact: `vault:main/${store.name}/1`, files: 5, databases: 1 });
    sql(store.path('a.db'), "INSERT INTO item (v) VALUES ('four')");
    writeFileSync(store.path('files/one'), 'changed');
    const restored = await store.restore(LATEST);
    expect(restored).toMatchObject({ files: 5 });
    expect(await store.digest('a.db')).toEqual(before);
    expect(column(store.path('a.db'), 'SELECT count(*) FROM item')).toEqual([3]);
  });

  test('F-10: what has not changed is not written again, and each backup restores on its own', async () => {
    const store = storeIn('incremental');
    await store.backup();
    const [first, before] = [packs(), await store.digest('a.db')];
    const again = await store.backup();
    expect(again.artefact).toBe(`vault:main/${store.name}/2`);
    expect(packs()).toEqual(first);
    expect(again.cut.pauseMillis).toBe(0);
    writeFileSync(store.path('files/one'), 'another');
    sql(store.path('a.db'), "INSERT INTO item (v) VALUES ('four')");
    await store.backup();
    expect(packs().length).toBeGreaterThan(first.length);
    for (const number of ['1', '2']) {
      await store.restore({ kind: 'backup', backup: number });
      expect(await store.digest('a.db')).toEqual(before);
    }
    await store.restore({ kind: 'backup', backup: '3' });
    expect(readFileSync(store.path('files/one'), 'utf8')).toBe('another');
    expect(column(store.path('a.db'), 'SELECT count(*) FROM item')).toEqual([4]);
  });

  test('F-36: nothing of what was backed up is in the vault in clear, and its names are not either', async () => {
    const store = storeIn('sealed', { files: { 'files/telling-name': 'a telling sentence' } });
    await store.backup();
    for (const name of objectsOf(vault.directory)) {
      const bytes = readFileSync(join(vault.directory, name));
      for (const clear of ['a telling sentence', 'telling-name', 'CREATE TABLE'])
        expect(bytes.includes(clear), name).toBe(false);
    }
  });

  test('F-36: a host without an identity backs up, and reads nothing of what it wrote', async () => {
    const store = storeIn('write-only');
    vault.settle({ reads: false });
    try {
      await store.backup();
      await store.backup();
      expect((await stopOf(store.plan(LATEST))).code).toBe('identity_missing');
    } finally {
      vault.settle({});
    }
    await store.restore(LATEST);
  });

  test('SM-11: one byte of a pack that was changed is refused, and the store is as it was', async () => {
    const store = storeIn('flipped', { files: { 'files/one': 'unlike any other' } });
    const known = new Set(packs());
    await store.backup();
    const [pack = ''] = packs().filter((name) => !known.has(name));
    const path = join(vault.directory, 'packs', pack);
    const bytes = readFileSync(path);
    bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const before = await store.digest('a.db');
    expect((await stopOf(store.restore(LATEST))).code).toBe('vault_invalid');
    expect(await store.digest('a.db')).toEqual(before);
    const verify = (await engine().holdfast.verify(store.name, 'latest', { requestedBy: 'test' })).result();
    const stop = await stopOf(verify);
    expect([stop.code, stop.details['objects']]).toEqual([
      'vault_damaged',
      [expect.objectContaining({ object: `packs/${pack}` })],
    ]);
  });

  test('verify.bytes, verify.databases: a sound backup passes', async () => {
    const store = storeIn('verified');
    await store.backup();
    const report = await (await engine().holdfast.verify(store.name, 'latest', { requestedBy: 'test' })).result();
    expect(report).toMatchObject({ artefact: `vault:main/${store.name}/1`, databases: 1 });
  });

  test('is restored by recover.sh alone', async () => {
    const store = storeIn('recovered', { files: { 'files/one': 'one', 'files/deep/two': 'two', 'files/empty': '' } });
    await store.backup();
    const target = join(store.directory, 'recovered');
    execFileSync('sh', [
      join(vault.directory, 'recover.sh'),
      '-i',
      vault.person.identityFile,
      vault.directory,
      'restore',
      store.name,
      'latest',
      target,
    ]);
    expect(readFileSync(join(target, 'data/files/deep/two'), 'utf8')).toBe('two');
    expect(column(join(target, 'data/a.db'), 'SELECT count(*) FROM item')).toEqual([3]);
  });
});
