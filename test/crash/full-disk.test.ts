// A filesystem that is full, with a little more room each time until there is enough: root, control directory and backups
// on one small ext4. Whatever write finds no room, the store is the old or the new one, and nothing is left.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, TestStore } from '../support/store.js';
import { assertSound, contentOf } from './protocol.js';

const KIB = 1024;
const STEP_BYTES = 192 * KIB;

describe.skipIf(requires('temporal', 'mount'))('a filesystem that is full (needs root)', () => {
  const engine = useEngine();
  let made = 0;

  /** A store whose directory is an ext4 of its own. */
  function storeOnSmallDisk(): TestStore {
    made += 1;
    const name = `full-${made}`;
    const directory = join(engine().directory, name);
    const image = `${directory}.image`;
    writeFileSync(image, '');
    truncateSync(image, 24 * KIB * KIB);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-J', 'size=4', image], { stdio: 'ignore' });
    mkdirSync(directory);
    execFileSync('mount', ['-o', 'loop', image, directory]);
    rmSync(join(directory, 'lost+found'), { recursive: true });
    const store = new TestStore(engine(), name, {
      contents: { 'a.db': `${ITEMS} INSERT INTO item (v) VALUES (hex(randomblob(200000)))` },
      files: { 'files/one': 'x'.repeat(300 * KIB), 'files/deep/two': 'y'.repeat(200 * KIB) },
    });
    onTestFinished(() => {
      store.forget();
      execFileSync('umount', ['-l', directory]);
      rmSync(image);
    });
    return store;
  }

  /** Leaves so much room, or less. @returns how to give the rest back */
  function fill(store: TestStore, freeBytes: number): () => void {
    const filler = join(store.directory, 'filler');
    // Until there is no room at all, then so much less
    execFileSync('/bin/sh', ['-c', 'cat /dev/zero 2>/dev/null > "$0"; sync "$0"', filler]);
    truncateSync(filler, Math.max(0, statSync(filler).size - freeBytes));
    return () => rmSync(filler, { force: true });
  }

  /** What needs room to be undone waits for it: after some seconds there is some. */
  async function endOf(work: Promise<unknown>, giveBack: () => void): Promise<Stop | null> {
    const ended = work.then(
      () => null,
      (error: unknown) => {
        if (error instanceof Stop) return error;
        throw error;
      },
    );
    await Promise.race([ended, sleep(8_000)]);
    giveBack();
    return ended;
  }

  test.each(['backup', 'restore'] as const)(
    'SM-9: a %s finds no room at one write after the other: no_space, and the store is the old or the new one',
    { timeout: 900_000 },
    async (protocol) => {
      const store = storeOnSmallDisk();
      const original = contentOf(store);
      await store.backup();
      if (protocol === 'restore') store.write('files/one', 'changed');
      const before = contentOf(store);
      const codes: string[] = [];
      const others: Stop[] = [];
      for (let freeBytes = 0; codes.at(-1) !== 'done'; freeBytes += STEP_BYTES) {
        const { digest } = protocol === 'restore' ? await store.plan() : { digest: '' };
        const giveBack = fill(store, freeBytes);
        const stop = await endOf(
          protocol === 'backup'
            ? store.backup()
            : engine()
                .holdfast.restore(store.name, { kind: 'backup', backup: 'latest' }, digest, { requestedBy: 'test' })
                .then((run) => run.result()),
          giveBack,
        );
        codes.push(stop?.code ?? 'done');
        if (stop !== null && stop.code !== 'no_space') others.push(stop);
        expect(contentOf(store)).toBe(stop === null && protocol === 'restore' ? original : before);
        await assertSound(store);
      }
      // With what each of them says of itself
      expect(others.map(({ code, message, details }) => ({ code, message, details }))).toEqual([]);
      expect(codes.length).toBeGreaterThan(4);
    },
  );
});
