// The start-up gate of an application, where no fence is up.
import { rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { acquireLock, releaseLock } from '../../control/lock.js';
import { assertGate } from '../../control/status.js';
import { claimant, codeOf, makeTestRoom, saysRun } from './room.js';

/** A state directory without notes. */
const NOWHERE = '/nonexistent';

describe('the start-up gate', () => {
  test('is shut by root_missing where the root of a store that was worked on is gone: an empty one would take its place', async () => {
    const { room, root } = await makeTestRoom();
    await releaseLock(room, await acquireLock(room, claimant(), saysRun('unknown')), 'done');
    await assertGate(room, NOWHERE);
    rmSync(root, { recursive: true });
    expect(await codeOf(assertGate(room, NOWHERE))).toBe('root_missing');
  });

  test('is open for a store that nobody has worked on, with a root or without: it may be about to be made', async () => {
    const { room, root } = await makeTestRoom();
    await assertGate(room, NOWHERE);
    rmSync(root, { recursive: true });
    await assertGate(room, NOWHERE);
  });
});
