// T-7, SM-9: the worker is killed at every step of a restore, in both modes of the exchange.
import { describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { crashEvery, crashEverywhere } from './protocol.js';

describe.skipIf(requires('temporal', 'strace'))('a worker killed anywhere in a restore', () => {
  const engine = useEngine();

  test(
    'T-7: a worker killed anywhere in a restore leaves the old store or the new one, in mode `root`',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'restore', 'root', crashEvery());
      console.log(`restore in mode root: ${tried} of ${points} crash points, ${olds} old, ${news} new`);
      expect(Math.min(olds, news)).toBeGreaterThan(0);
    },
  );

  test.skipIf(requires('mount'))(
    'T-7: a worker killed anywhere in a restore leaves the old store or the new one, in mode `entries`',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'restore', 'entries', crashEvery());
      console.log(`restore in mode entries: ${tried} of ${points} crash points, ${olds} old, ${news} new`);
      expect(Math.min(olds, news)).toBeGreaterThan(0);
    },
  );

  test(
    'T-7, H-10: a worker killed anywhere in a restore of two roots leaves both old or both new, and what it backed up first whole or gone',
    { timeout: 1_800_000 },
    async () => {
      const { points, tried, olds, news } = await crashEverywhere(engine(), 'restore', 'roots', crashEvery());
      console.log(`restore of two roots: ${tried} of ${points} crash points, ${olds} old, ${news} new`);
      expect(Math.min(olds, news)).toBeGreaterThan(0);
    },
  );
});
