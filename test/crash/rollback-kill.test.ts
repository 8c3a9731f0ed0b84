// T-7, SM-9: the worker is killed at every step of a rollback, in both modes of the exchange.
import { describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { crashEvery, crashEverywhere } from './protocol.js';

describe.skipIf(requires('temporal', 'strace'))('a worker killed anywhere in a rollback', () => {
  const engine = useEngine();

  test(
    'T-7: a worker killed anywhere in a rollback leaves the old store or the new one, in mode `root`',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'rollback', 'root', crashEvery());
      console.log(`rollback in mode root: ${tried} of ${points} crash points, ${olds} old, ${news} new`);
      expect(Math.min(olds, news)).toBeGreaterThan(0);
    },
  );

  test.skipIf(requires('mount'))(
    'T-7: a worker killed anywhere in a rollback leaves the old store or the new one, in mode `entries`',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'rollback', 'entries', crashEvery());
      console.log(`rollback in mode entries: ${tried} of ${points} crash points, ${olds} old, ${news} new`);
      expect(Math.min(olds, news)).toBeGreaterThan(0);
    },
  );
});
