// Where a store keeps its lock and its fence: one place, whoever looks.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { acquireLock, releaseLock } from '../../control/lock.js';
import { roomOf } from '../../control/store-room.js';
import { claimant, makeTestRoom, saysRun } from './room.js';

describe('the control directory', () => {
  test('is beside the root where the parent can be written', async () => {
    const { room, directory } = await makeTestRoom();
    expect(room.roots).toMatchObject([{ mode: 'root', controlDirectory: join(directory, '.holdfast', 'live') }]);
    expect(room.controlDirectory).toBe(join(directory, '.holdfast', 'live'));
  });

  test('stays in the root once it is there, also for a user who may write the parent', async () => {
    const { room, root } = await makeTestRoom();
    const inside = join(root, '.holdfast');
    const asOtherUser = { ...room, controlDirectory: inside };
    await releaseLock(asOtherUser, await acquireLock(asOtherUser, claimant(), saysRun('unknown')), 'done');
    const again = await roomOf(room.definition);
    expect(again.roots).toMatchObject([{ mode: 'entries', controlDirectory: inside }]);
    expect(again.controlDirectory).toBe(inside);
  });

  test('is not taken for one by its name alone', async () => {
    const { room, root, directory } = await makeTestRoom();
    mkdirSync(join(root, '.holdfast'));
    writeFileSync(join(root, '.holdfast', 'notes'), 'x');
    expect((await roomOf(room.definition)).controlDirectory).toBe(join(directory, '.holdfast', 'live'));
  });
});
