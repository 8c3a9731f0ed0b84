// What `npm run clauses` calls proved (tools/clause-report.ts).
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { clausesOf, judge, readClauses, verdictLines } from '../../tools/clause-report.js';

const PAGE = '# Clauses\n\n- **T-1** One.\n- **T-4** Four.\n- **SM-10** Ten.\n';
const result = (title: string, status: 'passed' | 'failed' | 'skipped') => ({ title, status, file: 'f', failures: [] });
const states = (...tests: ReturnType<typeof result>[]) =>
  Object.fromEntries(judge(readClauses(PAGE), tests).map(({ id, state }) => [id, state]));

describe('clauses are read', () => {
  test('with id and sentence', () => {
    expect(readClauses(PAGE)[2]).toEqual({ id: 'SM-10', sentence: 'Ten.' });
  });

  test('and a malformed or repeated one is refused', () => {
    expect(() => readClauses('- **T1** One.\n')).toThrow('not a clause');
    expect(() => readClauses('- **T-1** One.\n- **T-1** Two.\n')).toThrow('comes twice');
  });

  test('from the page of the project, all 109 of them', () => {
    const counts = new Map<string, number>();
    for (const { id } of readClauses(readFileSync('docs/clauses.md', 'utf8'))) {
      const group = id.split('-')[0] ?? '';
      counts.set(group, (counts.get(group) ?? 0) + 1);
    }
    expect(Object.fromEntries(counts)).toEqual({ SM: 12, F: 41, P: 19, L: 15, H: 14, T: 8 });
  });
});

describe('a title names', () => {
  test('one clause or several at its beginning', () => {
    expect(clausesOf('T-1: a run is a workflow')).toEqual(['T-1']);
    expect(clausesOf('T-1 T-4: a run is a workflow')).toEqual(['T-1', 'T-4']);
    expect(clausesOf('T-1, SM-10: a run is a workflow')).toEqual(['T-1', 'SM-10']);
  });

  test('those of the group that it stands in', () => {
    expect(clausesOf('T-7: a worker is killed > SM-9: at the exchange')).toEqual(['T-7', 'SM-9']);
  });

  test('none in its middle, and none without the colon', () => {
    expect(clausesOf('a run (T-1): is a workflow')).toEqual([]);
    expect(clausesOf('T-1 is a workflow')).toEqual([]);
  });
});

describe('a clause is', () => {
  test('proved by a passed test', () => {
    expect(states(result('T-1 T-4: x', 'passed'))).toEqual({ 'T-1': 'proved', 'T-4': 'proved', 'SM-10': 'untested' });
  });

  test('failed by one failed test among passed ones', () => {
    expect(states(result('T-1: x', 'passed'), result('T-1: y', 'failed'))['T-1']).toBe('failed');
  });

  test('untested when its tests were skipped', () => {
    expect(states(result('T-1: x', 'skipped'))['T-1']).toBe('untested');
  });
});

test('a title that names no clause of the page is a mistake, not ignored', () => {
  expect(() => states(result('T-9: x', 'passed'))).toThrow('no clause T-9');
});

test('the last line counts the proved ones', () => {
  const lines = verdictLines(judge(readClauses(PAGE), [result('T-1: x', 'passed'), result('T-4: y', 'skipped')]));
  expect(lines).toEqual([
    'T-1    proved   T-1: x',
    'T-4    untested T-4: y [skipped]',
    'SM-10  untested',
    '1 of 3 clauses proved',
  ]);
});
