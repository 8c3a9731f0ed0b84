// `npm test` itself (tools/test.ts, test/support/requires.ts), on small projects made for it: what it prints last, what
// it exits with, and how it names what was skipped.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const here = process.cwd();
const REQUIRES = JSON.stringify(join(here, 'dist/test/support/requires.js'));
let project = '';

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'holdfast-runner-'));
  mkdirSync(join(project, 'test'));
  mkdirSync(join(project, 'dist/test'), { recursive: true });
  symlinkSync(join(here, 'node_modules'), join(project, 'node_modules'));
  copyFileSync(join(here, 'vitest.config.ts'), join(project, 'vitest.config.ts'));
});

afterEach(() => {
  rmSync(project, { recursive: true, force: true });
});

/** A source and what it was compiled to; null: it was not. */
function addTest(name: string, compiled: string | null): void {
  writeFileSync(join(project, `test/${name}.test.ts`), '');
  if (compiled === null) return;
  writeFileSync(join(project, `dist/test/${name}.test.js`), `import { expect, test } from 'vitest';\n${compiled}`);
}

interface Run {
  readonly status: number | null;
  readonly lines: readonly string[];
  readonly last: string | undefined;
  readonly stderr: string;
}

function runTests(environment: Readonly<Record<string, string>> = {}): Run {
  const { HOLDFAST_REQUIRE_ALL: _all, HOLDFAST_SKIP_REASONS: _reasons, ...inherited } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(here, 'dist/tools/test.js'), '--fast'], {
    cwd: project,
    encoding: 'utf8',
    env: { ...inherited, ...environment },
  });
  const lines = stdout.trimEnd().split('\n');
  return { status, lines, last: lines.at(-1), stderr };
}

const PASSING = "test('passes', () => { expect(1).toBe(1); });\n";
const FAILING = "test('fails', () => { expect(1).toBe(2); });\n";
const SKIPPED = `import { requires } from ${REQUIRES};\ntest.skipIf(requires('docker-compose'))('composes', () => {});\n`;
const WITHOUT_TOOLS = { PATH: '/nonexistent' };

describe('a run ends', () => {
  test('with its count and 0 when everything passed', () => {
    addTest('a', PASSING);
    expect(runTests()).toMatchObject({ status: 0, last: '1 passed, 0 failed' });
  });

  test('with its count and 1 when a test failed', () => {
    addTest('a', PASSING + FAILING);
    expect(runTests()).toMatchObject({ status: 1, last: '1 passed, 1 failed' });
  });

  test('as failed when no test was executed', () => {
    addTest('a', "test.skip('never', () => {});\n");
    const run = runTests();
    expect(run).toMatchObject({ status: 1, last: '0 passed, 1 failed, 1 skipped' });
    expect(run.stderr).toContain('no test was executed');
  });

  test('as failed when a source was not compiled', () => {
    addTest('a', PASSING);
    addTest('b', null);
    const run = runTests();
    expect(run).toMatchObject({ status: 1, last: '1 passed, 1 failed' });
    expect(run.stderr).toContain('test/b.test.ts was not executed');
  });

  test('as failed when something was rejected outside every test', () => {
    addTest(
      'a',
      `${PASSING}setTimeout(() => { Promise.reject(new Error('stray')); }, 0);
      test('waits', () => new Promise((resolve) => setTimeout(resolve, 50)));\n`,
    );
    expect(runTests()).toMatchObject({ status: 1, last: '2 passed, 1 failed' });
  });

  test('without a test whose source is gone', () => {
    addTest('a', PASSING);
    writeFileSync(join(project, 'dist/test/stale.test.js'), `import { expect, test } from 'vitest';\n${FAILING}`);
    expect(runTests()).toMatchObject({ status: 0, last: '1 passed, 0 failed' });
  });
});

describe('what the machine lacks', () => {
  test('is skipped by name, with the reason', () => {
    addTest('a', PASSING + SKIPPED);
    const run = runTests(WITHOUT_TOOLS);
    expect(run).toMatchObject({ status: 0, last: '1 passed, 0 failed, 1 skipped' });
    expect(run.lines).toContain('  test/a.test.ts: composes (docker-compose: docker-compose is not on PATH)');
  });

  test('fails with HOLDFAST_REQUIRE_ALL=1', () => {
    addTest('a', PASSING + SKIPPED);
    const run = runTests({ ...WITHOUT_TOOLS, HOLDFAST_REQUIRE_ALL: '1' });
    expect(run).toMatchObject({ status: 1, last: '1 passed, 1 failed, 1 skipped' });
    expect(run.stderr).toContain('the machine has what the tests need (docker-compose)');
  });
});
