// Backups in a vault, by the protocols themselves: what comes back is what was there, what has not changed is not read
// again, and a host without an identity writes what it can't read. Clauses F-10, F-36, SM-11.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { noting } from '../../activities/vault-package.js';
import { Stop } from '../../domain/stop.js';
import { OBJECTS } from '../../domain/vault.js';
import type { Envelope } from '../../domain/vault.js';
import { publishTrust, renewVaultKey } from '../../vault/trust.js';
import { TEST_HOST, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { LATEST, column, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';
import { allow, makeSshKey } from '../vault/trust-room.js';
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

  test('F-14: what verify finds damaged is never reused: the next backup is sound', async () => {
    const store = storeIn('mended', { files: { 'files/one': 'unlike any other, again' } });
    const known = new Set(packs());
    await store.backup();
    for (const name of packs().filter((pack) => !known.has(pack))) {
      const path = join(vault.directory, 'packs', name);
      writeFileSync(path, Buffer.alloc(statSync(path).size));
    }
    const verify = async () => (await engine().holdfast.verify(store.name, 'latest', { requestedBy: 'test' })).result();
    expect((await stopOf(verify())).code).toBe('vault_damaged');
    await store.backup();
    expect(await verify()).toMatchObject({ artefact: `vault:main/${store.name}/2` });
  });

  test('a key of the host that was revoked keeps no backup from being made with its new key', async () => {
    const changed = await makeVaultFor(engine(), 'rotated');
    const store = makeStore(engine(), 'rotated', { backup: { vault: changed.name } });
    await store.backup();
    const next = makeSshKey(store.directory, 'next');
    await publishTrust(
      changed.open,
      {
        allowedSigners: changed.open.trust.allowedSigners + allow(TEST_HOST, 'holdfast', next),
        revokedKeys: `${changed.host.publicKey}\n`,
      },
      { adminKeyFile: changed.admin.file, now: new Date().toISOString() },
    );
    expect((await stopOf(store.plan({ kind: 'backup', backup: '1' }))).code).toBe('signer_revoked');
    for (const suffix of ['', '.pub']) cpSync(next.file + suffix, changed.host.file + suffix);
    expect((await store.backup()).artefact).toBe(`vault:rotated/${store.name}/2`);
    await store.restore(LATEST);
  });

  test('a new vault key serves what is written from then on, and what the old one has sealed is restored all the same', async () => {
    const own = await makeVaultFor(engine(), 'renewed');
    const store = makeStore(engine(), 'renewed', { backup: { vault: own.name } });
    await store.backup();
    const act = { adminKeyFile: own.admin.file, now: new Date().toISOString() };
    const { open, key } = await renewVaultKey(own.open, [own.person.recipient], act);
    expect(open.trust.keys).toEqual([...own.open.trust.keys, key]);
    store.write('files/two', 'written since');
    const before = await store.digest('a.db');
    await store.backup();
    const envelopes = [1, 2].map(
      (number) =>
        JSON.parse(readFileSync(join(own.directory, OBJECTS.envelope(store.name, number)), 'utf8')) as Envelope,
    );
    expect(envelopes.map(({ keyNumber }) => keyNumber)).toEqual([1, 2]);
    // Both backups name the packs of the first
    expect(envelopes[1]?.packs).toEqual(expect.arrayContaining([...(envelopes[0]?.packs ?? [])].slice(0, 1)));
    await store.restore({ kind: 'backup', backup: '1' });
    await store.restore({ kind: 'backup', backup: '2' });
    expect(await store.digest('a.db')).toEqual(before);
  });

  test('backup.plan: a host that may not write is told before anything is packed', async () => {
    const own = await makeVaultFor(engine(), 'strange');
    const store = makeStore(engine(), 'strange', { backup: { vault: own.name } });
    own.settle({ signs: makeSshKey(store.directory, 'strange') });
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['step']]).toEqual(['signer_unknown', 'backup.plan']);
    expect(readdirSync(own.directory)).not.toContain('packs');
  });

  test('backup_vanished: nothing is added where a backup that this host knows is gone, although a later one is there', async () => {
    const store = storeIn('gap');
    for (const _time of [1, 2]) await store.backup();
    const [first, second] = [1, 2].map((number) => join(vault.directory, OBJECTS.envelope(store.name, number)));
    renameSync(second ?? '', `${second}.away`);
    cpSync(first ?? '', second ?? '');
    expect((await stopOf(store.backup())).code).toBe('vault_object_foreign');
    rmSync(second ?? '');
    expect((await stopOf(store.backup())).code).toBe('backup_vanished');
  });

  test('backup_not_noted: what fails after the envelope says that the backup was made', async () => {
    const failing = noting('vault:main/shop/1', () => Promise.reject(new Stop('no_space', 'no space is left')));
    expect(await stopOf(failing)).toMatchObject({
      code: 'backup_not_noted',
      message: 'vault:main/shop/1 was made: no space is left',
      details: { reason: 'no_space' },
    });
    await expect(noting('x', () => Promise.reject(new TypeError('a defect')))).rejects.toThrow(TypeError);
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
