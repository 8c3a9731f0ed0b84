// T-7: the worker is killed at every step of a backup into a vault, and of a restore from it.
import { describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { crashEvery, crashEverywhere } from './protocol.js';

describe.skipIf(requires('temporal', 'strace', 'age'))('a worker killed anywhere, of a store with a vault', () => {
  const engine = useEngine();

  test(
    'T-7: in a backup: the vault lists nothing half-made, each backup that it lists is whole, and the next one succeeds',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried } = await crashEverywhere(engine(), 'backup', 'vault', crashEvery());
      console.log(`backup into a vault: ${tried} of ${points} crash points`);
      expect(points).toBeGreaterThan(20);
    },
  );

  test(
    'T-7: in a restore: the store is the old or the new one, running and unlocked, and the vault as it was',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'restore', 'vault', crashEvery());
      console.log(
        `restore from a vault: ${tried} of ${points} crash points, ${olds} the old state, ${news} the new one`,
      );
      expect(points).toBeGreaterThan(20);
      expect(olds + news).toBe(tried);
    },
  );
});
