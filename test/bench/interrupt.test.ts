// A benchmark that is interrupted leaves nothing of what it has started and made.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { endProcess, processesWith } from '../../workers/processes.js';
import { startProgram } from '../cli/room.js';
import { eventually } from '../support/engine.js';
import { requires } from '../support/requires.js';

const BENCH = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

test.skipIf(requires('temporal')).each([
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)(
  'interrupted by %s while a command runs, and impatiently again, it ends with %i and leaves neither a process nor a file',
  async (signal, status) => {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-test-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const owned = () => processesWith(`TMPDIR=${directory}`);
    const bench = startProgram({ ...process.env, TMPDIR: directory }, process.execPath, BENCH, 'temporal', '--small');
    // Before the room waits for it: what the benchmark leaves would hold its outputs open
    onTestFinished(async () => {
      for (const name of owned()) await endProcess(name, 0);
    });
    await eventually('the engine is there', () =>
      readdirSync(directory, { recursive: true, encoding: 'utf8' }).some((path) => path.endsWith('/engine.db')),
    );
    bench.signal(signal);
    await bench.says(/interrupted: /);
    bench.signal(signal);
    expect(await bench.ended).toMatchObject({ status, stdout: '', stderr: expect.stringContaining('interrupted: ') });
    expect(readdirSync(directory)).toEqual([]);
    expect(owned()).toEqual([]);
  },
);
