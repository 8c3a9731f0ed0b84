// When a file's times say enough: a write that comes later must not be able to leave them as they are.
import { expect, test } from 'vitest';
import { isTooFresh } from '../../activities/live-stamp.js';

const READ_AT = '2026-01-01T00:00:10.000Z';
const NOW_NANOS = BigInt(Date.parse(READ_AT)) * 1_000_000n;

test.each([
  ['a moment ago', NOW_NANOS - 5_000_001n, true],
  ['in the future', NOW_NANOS + 1n, true],
  ['long before', NOW_NANOS - 30_000_001n, false],
  ['this very second, by a filesystem of whole seconds', NOW_NANOS - 1_000_000_000n, true],
  ['two seconds before, by a filesystem of whole seconds', NOW_NANOS - 2_000_000_000n, false],
])('a file that was changed %s may change again and look the same: %#', (_when, changedNanos, expected) => {
  expect(isTooFresh(changedNanos, READ_AT)).toBe(expected);
});
