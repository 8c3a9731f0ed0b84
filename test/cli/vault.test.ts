// What the command line says of a store whose backups go to a vault: as it should be, and where the vault, the identity, or
// what lies between is not.
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { TEST_HOST, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';
import { fingerprintOf } from '../../vault/signatures.js';
import { publishTrust } from '../../vault/trust.js';
import { ChunkIndex } from '../../vault/chunk-index.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';
import { jsonLines, run } from './room.js';

describe.skipIf(requires('temporal', 'age'))('a store whose backups go to a vault', () => {
  const engine = useEngine();
  let vault: TestVault;
  beforeAll(async () => {
    vault = await makeVaultFor(engine(), 'main');
  });
  const storeIn = (purpose: string): TestStore => makeStore(engine(), purpose, { backup: { vault: vault.name } });
  const holdfast = (...argv: readonly string[]) => run(engine().environment, ...argv);
  const json = async (...argv: readonly string[]) => jsonLines(await holdfast(...argv, '--json'));

  test('is listed, shown, and told of by number, id and place', async () => {
    const store = storeIn('told');
    const reports = [await store.backup(), await store.backup()];
    const { lines, last } = await json('list', store.name);
    expect(lines.slice(0, -1)).toEqual(
      reports.map(({ backupId, artefact, sizeBytes, files }, index) =>
        expect.objectContaining({
          type: 'backup',
          number: index + 1,
          backupId,
          path: artefact,
          host: TEST_HOST,
          sizeBytes,
          files,
        }),
      ),
    );
    expect(last).toMatchObject({ destination: 'vault:main', count: 2 });
    expect((await holdfast('list', store.name)).stdout).toMatch(/\n2 [0-9a-f]{8} +\S+ +test-host .* readable\n$/);
    for (const name of ['2', 'latest', reports[1]?.backupId ?? '', reports[1]?.artefact ?? ''])
      expect((await json('show', store.name, name)).last).toMatchObject({ number: 2, path: reports[1]?.artefact });
    expect((await holdfast('status', store.name)).stdout).toMatch(/\n {2}backup {4}2 [0-9a-f]{8}, readable\n/);
    const doctor = await json('doctor', store.name);
    expect(doctor.lines).toContainEqual(
      expect.objectContaining({
        state: 'good',
        what: expect.stringContaining(`backup 2 of ${store.name} is the newest`),
      }),
    );
  });

  test('is completed by number and id, the newest first', async () => {
    const store = storeIn('completed');
    const ids = [(await store.backup()).backupId, (await store.backup()).backupId];
    const candidates = async (...words: readonly string[]) =>
      (await holdfast('complete', '--', ...words)).stdout.split('\n').flatMap((line) => line.split('\t', 1)[0] || []);
    expect(await candidates('restore', store.name, '')).toEqual(['latest', '2', '1', ids[1], ids[0]]);
    expect(await candidates('diff', store.name, '1', ids[1]?.slice(0, 8) ?? '')).toEqual([ids[1]]);
    expect(await candidates('find', store.name, 'x', '--backup', '2')).toContain('2');
    expect(await candidates('cat', '--output', '')).toEqual([':files']);
    renameSync(vault.directory, `${vault.directory}-away`);
    try {
      expect(await candidates('restore', store.name, '')).toEqual([]);
    } finally {
      renameSync(`${vault.directory}-away`, vault.directory);
    }
  });

  test('whose vault is not there: vault_missing, wherever it is looked at', async () => {
    const store = storeIn('missing');
    await store.backup();
    renameSync(vault.directory, `${vault.directory}-away`);
    try {
      for (const command of ['list', 'show', 'backup', 'plan'])
        expect((await json(command, store.name)).last, command).toMatchObject({ code: 'vault_missing', exit: 65 });
      await toldBy(store, 'vault_missing');
    } finally {
      renameSync(`${vault.directory}-away`, vault.directory);
    }
    await store.backup();
  });

  test('whose vault is another one: vault_differs', async () => {
    const store = storeIn('differs');
    await store.backup();
    const settings = join(engine().definitionsDirectory, 'vaults', 'main.yaml');
    const text = readFileSync(settings, 'utf8');
    writeFileSync(settings, text.replace(vault.open.description.vault, '0d7f2c9e-8f0b-4f8e-9b1a-0a4f5b6c7d8e'));
    try {
      for (const command of ['list', 'show', 'backup', 'plan'])
        expect((await json(command, store.name)).last, command).toMatchObject({ code: 'vault_differs' });
      await toldBy(store, 'vault_differs');
    } finally {
      vault.settle({});
    }
  });

  test('whose newest backup was removed: backup_vanished', async () => {
    const store = storeIn('vanished');
    await store.backup();
    await store.backup();
    const newest = join(vault.directory, 'backups', store.name, '0000000000000002');
    rmSync(newest, { recursive: true });
    expect((await json('show', store.name)).last).toMatchObject({ code: 'backup_vanished' });
    await toldBy(store, 'backup_vanished');
    const { lines } = await json('list', store.name);
    expect(lines).toContainEqual(
      expect.objectContaining({ stop: expect.objectContaining({ code: 'backup_vanished' }) }),
    );
  });

  test('whose identity others may read: secret_exposed, and nothing is read with it', async () => {
    const store = storeIn('exposed');
    await store.backup();
    chmodSync(vault.person.identityFile, 0o644);
    try {
      for (const argv of [
        ['show', store.name],
        ['ls', store.name, 'latest'],
        ['cat', store.name, 'latest', 'data/files/one', '--output', join(store.directory, 'never')],
        ['find', store.name, '*'],
      ])
        expect((await json(...argv)).last, argv.join(' ')).toMatchObject({ code: 'secret_exposed' });
      expect(await holdfast('list', store.name)).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('readable'),
      });
    } finally {
      chmodSync(vault.person.identityFile, 0o600);
    }
  });

  test('on a host without an identity is listed and backed up, and not looked into', async () => {
    const store = storeIn('write-only');
    await store.backup();
    vault.settle({ reads: false });
    try {
      expect((await json('backup', store.name)).last).toMatchObject({ artefact: `vault:main/${store.name}/2` });
      expect((await json('list', store.name)).last).toMatchObject({ count: 2 });
      expect((await holdfast('status', store.name)).stdout).toMatch(/backup {4}2 [0-9a-f]{8}, readable/);
      for (const argv of [
        ['show', store.name],
        ['ls', store.name, '1'],
        ['diff', store.name, '1', '2'],
      ])
        expect((await json(...argv)).last, argv.join(' ')).toMatchObject({ code: 'identity_missing' });
      expect((await json('doctor', store.name)).lines).toContainEqual(
        expect.objectContaining({ state: 'note', what: expect.stringContaining('has no identity') }),
      );
    } finally {
      vault.settle({});
    }
  });

  test('signed by a key that was revoked is planned and restored with --adopt, by that very key', async () => {
    const theirs = await makeVaultFor(engine(), 'adopted');
    const store = makeStore(engine(), 'adopted', { backup: { vault: theirs.name } });
    await store.backup();
    await publishTrust(
      theirs.open,
      { revokedKeys: `${theirs.host.publicKey}\n` },
      { adminKeyFile: theirs.admin.file, now: new Date().toISOString() },
    );
    expect((await json('plan', store.name)).last).toMatchObject({ code: 'signer_revoked', exit: 77 });
    const key = fingerprintOf(theirs.host.publicKey);
    const plan = await holdfast('plan', store.name, '--adopt', key);
    expect(plan).toMatchObject({ status: 0 });
    expect(plan.stdout).toContain(`signed by ${key}, whom this vault does not trust (signer_revoked), and adopted`);
    expect(plan.stdout).toContain(`\n  signer  ${key}, adopted although signer_revoked\n`);
    const carryOut = /To carry it out: holdfast (.*)\n/.exec(plan.stdout)?.[1]?.split(' ') ?? [];
    expect(carryOut).toEqual([
      'restore',
      store.name,
      `vault:adopted/${store.name}/1`,
      '--adopt',
      key,
      '--confirm',
      expect.stringMatching(/^[0-9a-f]{64}$/),
    ]);
    const refused = await json('restore', store.name, 'latest', '--adopt', key);
    expect(refused.last).toMatchObject({
      code: 'approval_missing',
      details: { confirm: expect.stringContaining(`--adopt ${key} --confirm`) },
    });
    const restored = await holdfast(...carryOut);
    expect(restored).toMatchObject({ status: 0 });
    expect(restored.stdout).toContain(`\n  signer    ${key}, adopted although signer_revoked\n`);

    for (const argv of [
      ['plan', store.name, '--adopt', 'SHA256:short'],
      ['restore', store.name, '1', '--adopt', theirs.host.publicKey],
    ])
      expect((await json(...argv)).last, argv.join(' ')).toMatchObject({ code: 'usage', exit: 64 });
    expect((await json('plan', store.name, '--rollback', 'latest', '--adopt', key)).last).toMatchObject({
      code: 'ambiguous_intent',
    });
    const other = fingerprintOf(theirs.admin.publicKey);
    expect((await json('plan', store.name, '--adopt', other)).last).toMatchObject({ code: 'signer_unknown', exit: 77 });
    const plain = storeIn('believed');
    await plain.backup();
    expect((await json('plan', plain.name, '--adopt', key)).last).toMatchObject({
      code: 'adoption_not_needed',
      exit: 64,
    });
  });

  test('backup --rehash reads what seems unchanged, and so finds bytes that changed behind its back', async () => {
    const store = storeIn('rehashed');
    const contentOf = async (number: number) =>
      (await holdfast('cat', store.name, String(number), 'data/files/one')).stdout;
    store.write('files/one', 'first');
    await delay(100);
    await store.backup();
    const first = indexed(store);
    store.write('files/one', 'other');
    await delay(100);
    await store.backup();
    // The index takes the file as it is now for the first one: as if the bytes had changed and nothing of its stat
    indexed(store, { ...first, stamp: indexed(store).stamp });
    await holdfast('backup', store.name);
    expect(await contentOf(3)).toBe('first');
    expect((await json('backup', store.name, '--rehash')).last).toMatchObject({ type: 'result' });
    expect(await contentOf(4)).toBe('other');
    // And it stays found
    await holdfast('backup', store.name);
    expect(await contentOf(5)).toBe('other');
  });

  test('backup --rehash into a directory is the backup that it always is', async () => {
    const store = makeStore(engine(), 'plain', { hooks: [] });
    expect((await json('backup', store.name, '--rehash')).last).toMatchObject({ protocol: 'backup', files: 3 });
  });

  type Known = NonNullable<ReturnType<ChunkIndex['file']>>;

  /** What the index knows of a file, after it was told otherwise. */
  function indexed(store: TestStore, known?: Known): Known {
    const id = vault.open.description.vault;
    const index = new ChunkIndex(join(engine().directory, 'state', 'vaults', id, 'index.db'), id);
    try {
      const place = { root: 'data', path: 'files/one' };
      if (known !== undefined) index.commit(store.name, [{ ...place, ...known }]);
      const found = index.file(store.name, place);
      if (found === null || found.stamp === '') throw new Error('the index does not know the file');
      return found;
    } finally {
      index.close();
    }
  }

  /** Status and doctor go on, and say what is wrong. */
  async function toldBy(store: TestStore, code: string): Promise<void> {
    expect((await holdfast('status', store.name)).stdout).toContain(`STOP ${code}: `);
    const { lines, last } = await json('doctor', store.name);
    expect(lines).toContainEqual(expect.objectContaining({ state: 'stop', what: expect.stringContaining(code) }));
    expect(lines.filter(({ state }) => state === 'stop')).toHaveLength(1);
    expect(last).toMatchObject({ code: 'not_ready', details: { stops: 1 } });
  }
});
