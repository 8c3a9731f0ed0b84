// How the tests run: the compiled ones in dist/, because forked processes and worker threads start from there too.
// The list comes from the sources, so that a test whose source is gone is not run from a stale dist/.
import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const tests = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.ts'))
  .map((path) => `dist/test/${path.replace(/\.ts$/, '.js')}`);

export default defineConfig({
  test: {
    include: tests,
    // A native module or a SQLite handle that goes wrong ends one file's process, not the run.
    pool: 'forks',
    // Tests start engines, workers and writers of their own; two files at a time keep the timings honest.
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // Not tried again: a test that passes the second time is a defect with a delay.
    retry: 0,
    allowOnly: false,
    reporters: ['default'],
  },
});
