// What an operation owes after each prefix of its journal, as a table: recovery pays exactly this (SM-9, T-7).
import { describe, expect, test } from 'vitest';
import { debtsOf, isAtRest } from '../../domain/journal.js';
import type { Debts, JournalEvent } from '../../domain/journal.js';

const NOTHING: Debts = {
  undoExchange: false,
  liftFence: false,
  attach: false,
  resume: false,
  dropStaging: [],
  committed: false,
};
const STAGED = { ...NOTHING, dropStaging: ['/c/trees/op'] };
const DETACHED = { ...STAGED, attach: true };
const FENCED = { ...DETACHED, liftFence: true };
const COMMITTED = { ...NOTHING, attach: true, liftFence: true, committed: true };

/** A restore, event by event, and what is owed once each is on disk. */
const RESTORE: readonly (readonly [JournalEvent, Debts, boolean])[] = [
  [{ event: 'staging', directories: ['/c/trees/op'] }, STAGED, true],
  [{ event: 'detaching' }, DETACHED, true],
  [{ event: 'fencing' }, FENCED, false],
  [{ event: 'exchanging', exchange: { roots: [] }, former: [] }, { ...FENCED, undoExchange: true }, false],
  [{ event: 'exchanged' }, { ...FENCED, undoExchange: true }, false],
  [{ event: 'committed', rollbackPoint: 'op' }, COMMITTED, false],
  [{ event: 'unfenced' }, { ...COMMITTED, liftFence: false }, true],
  [{ event: 'attached', by: 'protocol' }, { ...COMMITTED, liftFence: false, attach: false }, true],
];

const BACKUP: typeof RESTORE = [
  [{ event: 'quiescing' }, { ...NOTHING, resume: true }, true],
  [
    { event: 'staging', directories: ['/b/.partial-1'] },
    { ...NOTHING, resume: true, dropStaging: ['/b/.partial-1'] },
    true,
  ],
  [{ event: 'resumed', by: 'guard' }, { ...NOTHING, dropStaging: ['/b/.partial-1'] }, true],
  [{ event: 'staging-dropped' }, NOTHING, true],
];

/** After an exchange, the ways back. */
const UNDOING: typeof RESTORE = [
  ...RESTORE.slice(0, 5),
  [{ event: 'undone' }, FENCED, false],
  [{ event: 'unfenced' }, DETACHED, true],
  [{ event: 'attached', by: 'settle' }, STAGED, true],
  [{ event: 'staging-dropped' }, NOTHING, true],
];

describe.each([
  ['a restore', RESTORE],
  ['a backup', BACKUP],
  ['a restore that is undone', UNDOING],
])('%s', (_what, table) => {
  test.each(table.map(([event, debts, atRest], index) => ({ name: event.event, index, debts, atRest })))(
    'after `$name` owes what the table says',
    ({ index, debts, atRest }) => {
      const owed = debtsOf(table.slice(0, index + 1).map(([event]) => event));
      expect(owed).toEqual(debts);
      expect(isAtRest(owed)).toBe(atRest);
    },
  );
});

describe('debts', () => {
  test('of no events are none', () => {
    expect(debtsOf([])).toEqual(NOTHING);
    expect(isAtRest(NOTHING)).toBe(true);
  });

  test('of staging add up over several events, and are dropped together', () => {
    const events: JournalEvent[] = [
      { event: 'staging', directories: ['/a', '/b'] },
      { event: 'staging', directories: ['/c'] },
    ];
    expect(debtsOf(events).dropStaging).toEqual(['/a', '/b', '/c']);
    expect(debtsOf([...events, { event: 'staging-dropped' }]).dropStaging).toEqual([]);
  });

  test('are owed again when a step begins again after it was settled', () => {
    const again: JournalEvent[] = [{ event: 'quiescing' }, { event: 'resumed', by: 'settle' }, { event: 'quiescing' }];
    expect(debtsOf(again).resume).toBe(true);
  });
});
