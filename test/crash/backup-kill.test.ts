// T-7: the worker is killed at every step of a backup.
import { describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { crashEvery, crashEverywhere } from './protocol.js';

describe.skipIf(requires('temporal', 'strace'))('a worker killed anywhere in a backup', () => {
  const engine = useEngine();

  test(
    'T-7: a worker killed anywhere in a backup leaves the store as it was, running and unlocked, and every published backup whole',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried } = await crashEverywhere(engine(), 'backup', 'root', crashEvery());
      console.log(`backup: ${tried} of ${points} crash points`);
      expect(points).toBeGreaterThan(20);
    },
  );
});
