// Every object of a small vault, changed in one byte, cut, deleted, exchanged with another: whoever verifies is told, in the
// depth that the format says, and whoever restores gets a STOP or the very bytes (docs/vault-format.md "Threats").
import { randomInt } from 'node:crypto';
import { renameSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import { temporaryDirectory } from '../files/temporary.js';
import { GoldenVault } from './golden-vault.js';

/** HOLDFAST_BYTE_EVERY=1 tries all, in some minutes. Else it is every so many, from a random one on. */
const EVERY = Number(process.env['HOLDFAST_BYTE_EVERY'] ?? 16);
/** Sealed to people: nobody without an identity can know what is in it. */
const ONLY_WITH_IDENTITY = /^keys\//;

type Codes = Readonly<Record<'ciphertext' | 'full', string>>;
type Picture = Readonly<Record<number, Readonly<Record<string, string>>>>;

describe('a vault of which one object is not as it was', () => {
  const stopOf = async (work: Promise<unknown>): Promise<Stop | null> => {
    try {
      await work;
      return null;
    } catch (error) {
      if (error instanceof Stop) return error;
      throw error;
    }
  };
  const pictureOf = async (vault: GoldenVault): Promise<Picture> => ({
    1: await vault.restore(1),
    2: await vault.restore(2),
  });

  /** @returns codes by depth; '' where nothing was noticed */
  async function lookAt(vault: GoldenVault, before: Picture, what: string): Promise<Codes> {
    const codes = { ciphertext: '', full: '' };
    for (const depth of ['ciphertext', 'full'] as const) {
      vault.forget();
      codes[depth] = (await stopOf(vault.verify('all', depth)))?.code ?? '';
    }
    for (const number of [1, 2]) {
      vault.forget();
      const restored = await vault.restore(number).catch((error: unknown) => {
        if (error instanceof Stop) return null;
        throw error;
      });
      if (restored !== null) expect(restored, `${what}: backup ${number}`).toEqual(before[number]);
    }
    return codes;
  }

  function expectNoticed(codes: Codes, object: string, what: string): void {
    expect(codes.full, what).not.toBe('');
    if (!ONLY_WITH_IDENTITY.test(object)) expect(codes.ciphertext, what).not.toBe('');
  }

  test(
    'F-14: each byte of each object that is changed is noticed, and nothing wrong is restored',
    { timeout: 1_800_000 },
    async () => {
      const vault = new GoldenVault(temporaryDirectory());
      const before = await pictureOf(vault);
      const beginning = randomInt(EVERY);
      const seen = new Map<string, number>();
      let flips = 0;
      for (const object of vault.objects()) {
        const bytes = vault.read(object);
        for (let offset = beginning; offset < bytes.length; offset += EVERY) {
          const changed = Buffer.from(bytes);
          changed[offset] = (bytes[offset] ?? 0) ^ (1 << (offset % 8));
          vault.write(object, changed);
          const what = `bit ${offset % 8} of byte ${offset} of ${object}`;
          const codes = await lookAt(vault, before, what);
          expectNoticed(codes, object, what);
          seen.set(codes.full, (seen.get(codes.full) ?? 0) + 1);
          flips += 1;
        }
        vault.write(object, bytes);
      }
      console.log(`${flips} bytes, every ${EVERY} from ${beginning} on: ${JSON.stringify(Object.fromEntries(seen))}`);
      vault.forget();
      // What was put back is whole: the refusals were about the bytes
      await vault.verify('all', 'full');
      expect(seen.get('vault_damaged')).toBeGreaterThan(1);
    },
  );

  test('any object that is cut short, emptied or given one byte more is noticed', { timeout: 600_000 }, async () => {
    const vault = new GoldenVault(temporaryDirectory());
    const before = await pictureOf(vault);
    for (const object of vault.objects()) {
      const bytes = vault.read(object);
      const changes = [bytes.subarray(0, -1), bytes.subarray(0, bytes.length >> 1), Buffer.alloc(0)];
      for (const changed of [...changes, Buffer.concat([bytes, Buffer.from('\n')])]) {
        if (changed.equals(bytes) || bytes.length === 0) continue;
        vault.write(object, changed);
        const what = `${object} of ${bytes.length} bytes with ${changed.length}`;
        expectNoticed(await lookAt(vault, before, what), object, what);
      }
      vault.write(object, bytes);
    }
  });

  test('any object that is deleted is noticed by a host that knows the vault', { timeout: 600_000 }, async () => {
    const vault = new GoldenVault(temporaryDirectory());
    const unnoticed: string[] = [];
    for (const object of vault.objects()) {
      vault.forget();
      await vault.verify('all', 'ciphertext');
      const bytes = vault.read(object);
      vault.remove(object);
      if ((await stopOf(vault.verify('all', 'ciphertext'))) === null) unnoticed.push(object);
      vault.write(object, bytes);
    }
    // It vouches for nothing any more, and its name is not written down anywhere
    expect(
      unnoticed.every((object) => object.endsWith('.verified.json')),
      unnoticed.join(),
    ).toBe(true);
    expect(unnoticed).toHaveLength(1);
  });

  test('any two objects that are exchanged are noticed', { timeout: 1_800_000 }, async () => {
    const vault = new GoldenVault(temporaryDirectory());
    const before = await pictureOf(vault);
    const objects = vault.objects();
    const pairs = objects.flatMap((one, index) => objects.slice(index + 1).map((other) => [one, other] as const));
    const exchange = (one: string, other: string): void => {
      const aside = vault.path('.tmp-aside');
      renameSync(vault.path(one), aside);
      renameSync(vault.path(other), vault.path(one));
      renameSync(aside, vault.path(other));
    };
    const beginning = randomInt(Math.min(EVERY, 4));
    for (const [index, [one, other]] of pairs.entries()) {
      if (index % Math.min(EVERY, 4) !== beginning) continue;
      exchange(one, other);
      const what = `${one} and ${other}`;
      expectNoticed(await lookAt(vault, before, what), '', what);
      exchange(one, other);
    }
  });

  test('unfinished writes and packs that nobody names are harmless', async () => {
    const vault = new GoldenVault(temporaryDirectory());
    const name = 'f'.repeat(64);
    for (const object of [
      '.tmp-top',
      'packs/ff/.tmp-one',
      `packs/ff/${name}.age`,
      'backups/shop/0000000000000002/.tmp-x',
    ])
      vault.write(object, 'unfinished');
    vault.write('backups/shop/0000000000000003/6f1876ff-d6ed-47e5-9d20-81f88355cad1.manifest.age', 'no envelope came');
    vault.write('intents/6f1876ff-d6ed-47e5-9d20-81f88355cad1.json', 'cut');
    const report = await vault.verify('all', 'full');
    expect(report.backups).toBe(2);
  });
});
