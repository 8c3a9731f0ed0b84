// The pure rules: gates, floors, histories, bounds, orders, and that the version is one.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nameDatabases } from '../../activities/measure.js';
import { assertGates } from '../../domain/gates.js';
import type { DatabaseFacts, Manifest } from '../../domain/manifest.js';
import { assertPlanHolds, boundsOf, planBytes, planSentence, roundBound } from '../../domain/plan.js';
import type { PlanFacts, RestorePlan } from '../../domain/plan.js';
import { WORKFLOW_TYPES } from '../../domain/names.js';
import { checkOrder } from '../../domain/protocol.js';
import { assertFloor, assertHistoryKept, assertMigrationsCompatible } from '../../domain/sequence.js';
import { Stop } from '../../domain/stop.js';
import { HOLDFAST_VERSION } from '../../domain/version.js';

function codeOf(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Stop) return error.code;
    throw error;
  }
  return 'passes';
}

describe('gates', () => {
  const platform: Manifest['platform'] = { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3' };
  const pass = (
    version: 'exact' | 'same-major' | 'not-newer' | 'off',
    backup: string | null,
    installed: string | null,
  ): string =>
    codeOf(() =>
      assertGates(
        { version, modules: 'off' },
        { platform, application: backup === null ? null : { version: backup, modules: [] } },
        { os: 'linux', endianness: 'LE', installed: installed === null ? null : { version: installed, modules: [] } },
      ),
    );

  test.each([
    ['exact', '1.2.3', '1.2.3', 'passes'],
    ['exact', '1.2.3', '1.2.4', 'version_refused'],
    ['same-major', '1.2', '1.9.1', 'passes'],
    ['same-major', '1.2', '2.0', 'version_refused'],
    ['not-newer', '1.2.3', '1.10', 'passes'],
    ['not-newer', '1.10', '1.2.3', 'version_refused'],
    ['not-newer', '1.2', '1.2.0', 'passes'],
    ['not-newer', 'nightly', '1.0', 'version_refused'],
    ['not-newer', null, '1.0', 'version_refused'],
    ['exact', '1.0', null, 'version_refused'],
    ['off', null, null, 'passes'],
  ] as const)('gate version %s: backup %s on installed %s %s', (gate, backup, installed, expected) => {
    expect(pass(gate, backup, installed)).toBe(expected);
  });

  test.each([
    ['exact', ['maps', 'sketch'], ['sketch', 'maps'], 'passes'],
    ['exact', ['maps'], ['maps', 'sketch'], 'modules_refused'],
    ['superset', ['maps'], ['maps', 'sketch'], 'passes'],
    ['superset', ['maps', 'sketch'], ['maps'], 'modules_refused'],
  ] as const)('gate modules %s: backup %j on installed %j %s', (gate, backup, installed, expected) => {
    const act = (): void =>
      assertGates(
        { version: 'off', modules: gate },
        { platform, application: { version: '1', modules: backup } },
        { os: 'linux', endianness: 'LE', installed: { version: '1', modules: installed } },
      );
    expect(codeOf(act)).toBe(expected);
  });

  test('another byte order or system is platform_differs, another processor is not', () => {
    const gate = (backup: Manifest['platform']): string =>
      codeOf(() =>
        assertGates(
          { version: 'off', modules: 'off' },
          { platform: backup, application: null },
          { os: 'linux', endianness: 'LE', installed: null },
        ),
      );
    expect([
      gate(platform),
      gate({ ...platform, arch: 'arm64' }),
      gate({ ...platform, endianness: 'BE' }),
      gate({ ...platform, os: 'darwin' }),
    ]).toEqual(['passes', 'passes', 'platform_differs', 'platform_differs']);
  });
});

describe('the floor', () => {
  const witness = {
    root: 'data',
    path: 'a.db',
    table: 't',
    column: 'seq',
    value: '9007199254740993',
    seenIn: 'a test',
  };
  const floor = (value: string | null): string =>
    codeOf(() => assertFloor('data', 'a.db', [{ table: 't', column: 'seq', value }], [witness]));

  test('compares all 64 bits of a sequence', () => {
    expect([floor('9007199254740992'), floor('9007199254740993'), floor('9007199254740994')]).toEqual([
      'sequence_rewind',
      'passes',
      'passes',
    ]);
  });

  test('an empty table, or a sequence that is gone, lies below every witness', () => {
    expect(floor(null)).toBe('sequence_rewind');
    expect(codeOf(() => assertFloor('data', 'a.db', [], [witness]))).toBe('sequence_rewind');
  });

  test('a witness of another database says nothing', () => {
    expect(codeOf(() => assertFloor('data', 'b.db', [], [witness]))).toBe('passes');
  });
});

describe('histories', () => {
  const facts = (rows: readonly string[], accepted = 'x', upTo: string | null = '5'): DatabaseFacts => ({
    pageSizeBytes: 4096,
    journalMode: 'wal',
    tables: [],
    sequences: [],
    appendOnly: [{ table: 'log', column: 'seq', upTo, rows: 5, sha256: accepted }],
    migrations: { table: 'schema_migrations', orderBy: 'version', rowSha256: rows },
  });
  const migrations = (backup: readonly string[], live: readonly string[]): string =>
    codeOf(() => assertMigrationsCompatible('a.db', facts(backup), facts(live)));

  test('one migration history is the beginning of the other, or it is migrations_diverged', () => {
    expect([
      migrations(['1', '2'], ['1', '2', '3']),
      migrations(['1', '2', '3'], ['1', '2']),
      migrations(['1', '2'], ['2', '1']),
      migrations(['1', '9'], ['1', '2']),
    ]).toEqual(['passes', 'passes', 'migrations_diverged', 'migrations_diverged']);
  });

  test('accepted rows that differ, or that can not be compared over one range, are history_rewritten', () => {
    const kept = (live: DatabaseFacts): string => codeOf(() => assertHistoryKept('a.db', facts([]), live));
    expect([
      kept(facts([])),
      kept(facts([], 'y')),
      kept(facts([], 'x', '6')),
      kept({ ...facts([]), appendOnly: [] }),
    ]).toEqual(['passes', 'history_rewritten', 'history_rewritten', 'history_rewritten']);
  });
});

describe('a plan', () => {
  const facts: PlanFacts = {
    rowsFewer: 42,
    databasesChanged: nameDatabases(['data/a.db']),
    filesNewer: 0,
    filesCarriedOver: 3,
    databasesUnreadable: nameDatabases(['data/b.db']),
    byDatabase: new Map([['data/a.db', { rowsFewer: 42, isChanged: true }]]),
  };
  const body = {
    protocol: 'restore' as const,
    store: 'shop',
    host: 'h',
    source: {
      kind: 'backup' as const,
      id: 'i',
      path: '/b',
      createdAt: 't',
      host: 'h',
      sha256: 's',
      files: 1,
      sizeBytes: 1,
      databasesUnreadable: nameDatabases([]),
    },
    roots: [{ root: 'data', path: '/srv', mode: 'root' as const, why: 'w' }],
    hooks: [],
    gates: { version: 'off', modules: 'off' },
    definitionSha256: 'd',
    bounds: boundsOf(facts),
  };
  const plan: RestorePlan = { format: 'holdfast-plan-1', ...body, sentence: planSentence(body) };
  const holds = (present: RestorePlan, now: PlanFacts): string => codeOf(() => assertPlanHolds(plan, present, now));

  test('rounds twice the count up to a power of ten, and nothing to nothing', () => {
    expect([0, 1, 10, 11, 99999].map(roundBound)).toEqual([0, 10, 100, 100, 1000000]);
  });

  test('says in its sentence what would be lost, and what nobody could look at', () => {
    expect(plan.sentence).toContain(
      'tables shrink by at most 100 rows in all; any row may be newer in data/a.db, which may have been written to since; at most 0 files are newer or differ',
    );
    expect(plan.sentence).toContain("data/b.db can't be read");
    expect(plan.sentence).toContain('by backup i of t: ');
  });

  test('says in its sentence when the backup was made on another host', () => {
    const other = planSentence({ ...body, source: { ...body.source, host: 'other\n' } });
    expect(other).toContain('by backup i of t, made on another host, "other\\n": ');
  });

  test('holds while the facts stay within its bounds, and is plan_stale beyond', () => {
    expect(holds(plan, { ...facts, rowsFewer: 100 })).toBe('passes');
    expect(holds(plan, { ...facts, rowsFewer: 101 })).toBe('plan_stale');
    const changed = (names: readonly string[]): PlanFacts => ({
      ...facts,
      byDatabase: new Map(names.map((name) => [name, { rowsFewer: 0, isChanged: true }])),
    });
    expect(holds(plan, changed([]))).toBe('passes');
    expect(holds(plan, changed(['data/c.db']))).toBe('plan_stale');
    const names = Array.from({ length: 21 }, (_, index) => `data/${index}.db`);
    const many = { ...plan, bounds: { ...plan.bounds, databasesChanged: nameDatabases(names) } };
    const isHeld = (now: PlanFacts): string => codeOf(() => assertPlanHolds(many, many, now));
    expect(isHeld(changed(Array.from({ length: 100 }, (_, index) => `x${index}`)))).toBe('passes');
    expect(isHeld(changed(Array.from({ length: 101 }, (_, index) => `x${index}`)))).toBe('plan_stale');
    expect(holds(plan, { ...facts, filesNewer: 1 })).toBe('plan_stale');
    expect(holds(plan, { ...facts, filesCarriedOver: 11 })).toBe('plan_stale');
    expect(holds(plan, { ...facts, databasesUnreadable: nameDatabases(['data/b.db', 'data/a.db']) })).toBe(
      'plan_stale',
    );
    expect(holds(plan, { ...facts, databasesUnreadable: nameDatabases([]) })).toBe('passes');
  });

  test('holds nothing of a database against its bounds that may be replaced unseen, and is readable by now', () => {
    const found = (name: string, isChanged: boolean): PlanFacts => ({
      ...facts,
      rowsFewer: 1_042,
      databasesUnreadable: nameDatabases([]),
      byDatabase: new Map([...facts.byDatabase, [name, { rowsFewer: 1_000, isChanged }]]),
    });
    expect(holds(plan, found('data/b.db', true))).toBe('passes');
    expect(holds(plan, found('data/c.db', false))).toBe('plan_stale');
    // What else was written to is no excuse
    const { byDatabase } = found('data/b.db', true);
    const other = new Map([...byDatabase, ['data/c.db', { rowsFewer: 0, isChanged: true }] as const]);
    expect(holds(plan, { ...found('data/b.db', true), byDatabase: other })).toBe('plan_stale');
    expect(holds(plan, { ...found('data/b.db', false), rowsFewer: 1_101 })).toBe('plan_stale');
  });

  test('stays small however many databases can not be read, and holds for exactly those', () => {
    const many = Array.from({ length: 600 }, (_, index) => `data/${'deep/'.repeat(40)}${index}.db`);
    const found = nameDatabases(many);
    const bounds = boundsOf({ ...facts, databasesUnreadable: found });
    const large: RestorePlan = { ...plan, bounds, sentence: planSentence({ ...body, bounds }) };
    expect(planBytes(large).length).toBeLessThan(5_000);
    expect(large.sentence).toContain(`and ${600 - found.first.length} more can't be read`);
    const largeHolds = (present: readonly string[]): string =>
      codeOf(() => assertPlanHolds(large, large, { ...facts, databasesUnreadable: nameDatabases(present) }));
    expect([
      largeHolds(many.toReversed()),
      largeHolds(found.first.slice(1)),
      largeHolds(many.slice(1)),
      largeHolds([...many, 'data/one-more.db']),
      largeHolds(['data/one-more.db']),
    ]).toEqual(['passes', 'passes', 'plan_stale', 'plan_stale', 'plan_stale']);
    // A name that is too long to be named is counted
    const long = nameDatabases([`data/${'x'.repeat(2_000)}`]);
    expect([long.count, long.first]).toEqual([1, []]);
  });

  test('names what is another by now than what was approved', () => {
    expect(() => assertPlanHolds(plan, { ...plan, definitionSha256: 'other', hooks: ['attach'] }, facts)).toThrow(
      'the plan does not hold any more: the set of hooks is another by now; the store definition is another by now',
    );
  });

  test('is plan_stale when source, target or policy differ', () => {
    expect(
      holds({ ...plan, roots: [{ ...body.roots[0], root: 'data', path: '/srv', why: 'w', mode: 'entries' }] }, facts),
    ).toBe('plan_stale');
    expect(holds({ ...plan, source: { ...plan.source, sha256: 'other' } }, facts)).toBe('plan_stale');
  });
});

describe('a name', () => {
  test('of a workflow is known for each one that is exported', () => {
    const exported = readFileSync('workflows/index.ts', 'utf8').matchAll(/^export \{ (\w+) \}/gm);
    expect([...exported].map(([, name]) => name)).toEqual(WORKFLOW_TYPES);
  });
});

describe('an order', () => {
  const order = { operation: '7c1f5a0e-58a4-4a3e-8f0e-9f2f0a4b1c2d', store: 'shop', host: 'h', requestedBy: 'me' };

  test('is taken when it names operation, store, host and who asks', () => {
    expect(codeOf(() => checkOrder(order))).toBe('passes');
  });

  test.each([
    ['operation', 'x'],
    ['operation', undefined],
    ['store', 'No'],
    ['store', '../etc'],
    ['store', 'a'.repeat(65)],
    ['host', ''],
    ['requestedBy', ''],
    ['heartbeatTimeoutMillis', 1],
  ])('is STOP usage when %s is %j', (key, value) => {
    expect(codeOf(() => checkOrder({ ...order, [key]: value }))).toBe('usage');
  });

  test('that is no object is STOP usage', () => {
    expect(codeOf(() => checkOrder(JSON.parse('null')))).toBe('usage');
  });
});

test('the version in manifests is that of the package', () => {
  expect(HOLDFAST_VERSION).toBe((JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version);
});
