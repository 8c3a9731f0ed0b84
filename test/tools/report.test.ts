// The counting on which `npm test` and CI rest (tools/report.ts).
import { describe, expect, test } from 'vitest';
import { closingLine, count, objections, readReport } from '../../tools/report.js';

const assertion = (title: string, status: string) => ({ ancestorTitles: ['room'], title, status, failureMessages: [] });
const file = (name: string, status: string, ...assertionResults: unknown[]) => ({ name, status, assertionResults });

describe('a report is read', () => {
  test('with passed, failed and skipped tests told apart', () => {
    const tests = readReport({
      testResults: [
        file('a', 'failed', assertion('one', 'passed'), assertion('two', 'failed')),
        file('b', 'passed', assertion('three', 'skipped'), assertion('four', 'pending'), assertion('five', 'todo')),
      ],
    });
    expect(count(tests)).toEqual({ passed: 1, failed: 1, skipped: 3 });
    expect(tests[0]?.title).toBe('room > one');
  });

  test('with a file that did not load as one failure', () => {
    const tests = readReport({ testResults: [{ ...file('a', 'failed'), message: 'cannot find module' }] });
    expect(count(tests)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(tests[0]?.failures).toEqual(['cannot find module']);
  });

  test('with a hook that threw after the tests passed as one failure', () => {
    const tests = readReport({ testResults: [file('a', 'failed', assertion('one', 'passed'))] });
    expect(count(tests)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  test('and refused when vitest did not finish it', () => {
    expect(() => readReport({})).toThrow('no testResults');
  });
});

describe('a run is objected to', () => {
  const passing = { passed: 1, failed: 0, skipped: 0 };

  test('when nothing was executed, even if something was skipped', () => {
    expect(objections({ passed: 0, failed: 0, skipped: 7 }, [], false)).toEqual(['no test was executed']);
  });

  test('when a test was skipped where all must run, and only there', () => {
    expect(objections({ ...passing, skipped: 2 }, [], true)).toEqual(['2 skipped, where every test must run']);
    expect(objections({ ...passing, skipped: 2 }, [], false)).toEqual([]);
  });

  test('when the source of a test was not executed', () => {
    expect(objections(passing, ['test/a.test.ts'], false)).toEqual(['test/a.test.ts was not executed']);
  });

  test('not otherwise', () => {
    expect(objections(passing, [], true)).toEqual([]);
  });
});

test('the closing line names skips only where there are any', () => {
  expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed');
  expect(closingLine({ passed: 3, failed: 1, skipped: 2 })).toBe('3 passed, 1 failed, 2 skipped');
});
