// Those who write into one vault at once, and a vault whose disk is full: what it lists afterwards is whole.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { VerifyReport } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { TEST_HOST, useEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { TestStore, makeStore } from '../support/store.js';
import { makeVaultFor } from './vault-of-engine.js';

const KIB = 1024;
const OTHER_HOST = 'other-host';

async function verifyAll({ holdfast }: TestEngine, { name }: TestStore): Promise<VerifyReport> {
  return (await holdfast.verify(name, 'all', { requestedBy: 'test' })).result();
}

/** @returns the code of its STOP; null: it ended well */
async function endOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (error instanceof Stop) return error.code;
    throw error;
  }
}

describe.skipIf(requires('temporal', 'age'))('a vault that several write into', () => {
  const engine = useEngine();
  const otherEngine = useEngine({ HOLDFAST_HOST: OTHER_HOST });

  test('two stores at once, with contents in common', async () => {
    await makeVaultFor(engine(), 'shared');
    const files = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`files/${index}`, `file ${index}`]));
    const stores = ['one', 'two'].map((name) => makeStore(engine(), name, { files, backup: { vault: 'shared' } }));
    for (let round = 1; round <= 3; round += 1) {
      for (const store of stores) store.write('files/round', `round ${round}`);
      await Promise.all(stores.map((store) => store.backup()));
    }
    for (const store of stores) {
      expect((await verifyAll(engine(), store)).backups).toBe(3);
      store.write('files/round', 'another');
      await store.restore();
      expect(store.read('files/round')).toBe('round 3');
    }
  });

  test('chain_moved, or one after the other: two hosts, each of which takes the store for its own', async () => {
    const hosts = [engine(), otherEngine()];
    await makeVaultFor(engine(), 'claimed', [TEST_HOST, OTHER_HOST]);
    const settings = join('vaults', 'claimed.yaml');
    mkdirSync(join(otherEngine().definitionsDirectory, 'vaults'), { mode: 0o755 });
    copyFileSync(join(engine().definitionsDirectory, settings), join(otherEngine().definitionsDirectory, settings));
    const stores = hosts.map((host) => new TestStore(host, 'claimed', { backup: { vault: 'claimed' } }));
    onTestFinished(() => {
      for (const store of stores) store.forget();
    });
    let done = 0;
    for (let round = 0; round < 4; round += 1) {
      const ends = await Promise.all(stores.map((store) => endOf(store.backup())));
      expect([null, 'chain_moved']).toEqual(expect.arrayContaining(ends));
      expect(ends).toContain(null);
      done += ends.filter((end) => end === null).length;
    }
    for (const [index, store] of stores.entries()) {
      const host = hosts[index];
      if (host !== undefined) expect((await verifyAll(host, store)).backups).toBe(done);
      await store.restore();
    }
  });
});

describe.skipIf(requires('temporal', 'age', 'mount'))('a vault on a filesystem that is full (needs root)', () => {
  const engine = useEngine();

  test('no_space at one write after the other: nothing half-made is listed or left', { timeout: 600_000 }, async () => {
    const directory = join(engine().directory, 'vault-small');
    const image = `${directory}.image`;
    writeFileSync(image, '');
    truncateSync(image, 8 * KIB * KIB);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-O', '^has_journal', image], { stdio: 'ignore' });
    mkdirSync(directory);
    execFileSync('mount', ['-o', 'loop', image, directory]);
    onTestFinished(() => {
      execFileSync('umount', ['-l', directory]);
      rmSync(image);
    });
    rmSync(join(directory, 'lost+found'), { recursive: true });
    await makeVaultFor(engine(), 'small');
    const noise = (bytes: number): string =>
      execFileSync('head', ['-c', String(bytes), '/dev/urandom'], { encoding: 'latin1' });
    const store = makeStore(engine(), 'small', { backup: { vault: 'small' }, files: { 'files/one': 'one' } });
    await store.backup();
    const filler = join(directory, '.tmp-filler');
    const codes: (string | null)[] = [];
    for (let freeBytes = 0; codes.at(-1) !== null; freeBytes += 96 * KIB) {
      store.write('files/one', noise(300 * KIB));
      // What was set aside for writes to come is free again once they have come
      const fill = 'for i in 1 2 3 4; do cat /dev/zero 2>/dev/null >> "$0"; sync "$0"; done';
      execFileSync('/bin/sh', ['-c', fill, filler]);
      truncateSync(filler, Math.max(0, statSync(filler).size - freeBytes));
      codes.push(await endOf(store.backup()));
      rmSync(filler);
      const left = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
        name.includes('.tmp-'),
      );
      expect(left, `with ${freeBytes} bytes`).toEqual([]);
      expect((await verifyAll(engine(), store)).backups).toBe(1 + codes.filter((code) => code === null).length);
    }
    expect(codes.length).toBeGreaterThan(2);
    expect(new Set(codes)).toEqual(new Set(['no_space', null]));
  });
});
