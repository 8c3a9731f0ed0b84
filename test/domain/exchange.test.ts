// The model of the exchange: each step is decidable from the inodes alone, and sidecars never meet the wrong database.
import { describe, expect, test } from 'vitest';
import { decideStep, exchangeKind, mainOfSidecar, orderSteps } from '../../domain/exchange.js';
import type { ExchangeKind, ExchangeStep } from '../../domain/exchange.js';

const step = (
  name: string,
  kind: ExchangeKind = 'exchange',
  liveInode: string | null = '1',
  stagedInode: string | null = '2',
): ExchangeStep => ({ name, kind, liveInode, stagedInode });

describe('how far a step is', () => {
  test.each([
    ['exchange', '1', '2', '1', '2', 'not-done'],
    ['exchange', '1', '2', '2', '1', 'done'],
    ['exchange', '1', '2', '2', null, 'neither'],
    ['exchange', '1', '2', '3', '2', 'neither'],
    ['move-in', null, '2', null, '2', 'not-done'],
    ['move-in', null, '2', '2', null, 'done'],
    ['move-in', null, '2', '3', '2', 'neither'],
    ['move-out', '1', null, '1', null, 'not-done'],
    ['move-out', '1', null, null, '1', 'done'],
    ['move-out', '1', null, null, null, 'neither'],
  ] as const)('%s of %s and %s, found %s and %s: %s', (kind, live, staged, liveNow, stagedNow, state) => {
    expect(decideStep(step('a', kind, live, staged), { live: liveNow, staged: stagedNow })).toBe(state);
  });

  test.each([
    ['1', '2', 'exchange'],
    [null, '2', 'move-in'],
    ['1', null, 'move-out'],
    [null, null, null],
  ] as const)('what lies at %s and %s makes it %s', (live, staged, kind) => {
    expect(exchangeKind({ live, staged })).toBe(kind);
  });
});

describe('sidecars', () => {
  test.each([
    ['state.db-wal', 'state.db'],
    ['state.db-shm', 'state.db'],
    ['a-journal', 'a'],
    ['-wal', null],
    ['state.db', null],
    ['x-walk', null],
  ])('%s belongs to %s', (name, main) => {
    expect(mainOfSidecar(name)).toBe(main);
  });

  test('move out before their database is exchanged, and in after it', () => {
    const names = new Set(['a.db', 'a.db-wal', 'b.db', 'b.db-wal', 'z']);
    const steps = [step('a.db'), step('a.db-wal', 'move-out'), step('b.db'), step('b.db-wal', 'move-in'), step('z')];
    expect(orderSteps(steps, names).map(({ name }) => name)).toEqual(['a.db-wal', 'a.db', 'b.db', 'z', 'b.db-wal']);
  });

  test('on both sides go right before their database', () => {
    const names = new Set(['a', 'b.db', 'b.db-wal', 'c']);
    expect(orderSteps([step('a'), step('b.db-wal'), step('b.db'), step('c')], names).map(({ name }) => name)).toEqual([
      'a',
      'b.db-wal',
      'b.db',
      'c',
    ]);
  });

  test('without their database are ordinary files, and no step is ever lost', () => {
    const steps = [step('x-wal', 'move-out'), step('a'), step('gone.db-shm')];
    const names = new Set(['x-wal', 'a', 'gone.db', 'gone.db-shm']);
    expect(
      orderSteps(steps, names)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['a', 'gone.db-shm', 'x-wal']);
  });
});
