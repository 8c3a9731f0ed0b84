// ops/systemd/: accepted by systemd-analyze, and ordered so that recovery comes before everything that opens a store.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requires } from '../support/requires.js';

const run = promisify(execFile);
const UNITS = ['holdfast.service', 'holdfast-recover.service'] as const;
const read = (unit: string): Promise<string> => readFile(join('ops/systemd', unit), 'utf8');

describe.skipIf(requires('systemd-analyze'))('systemd-analyze', () => {
  let directory = '';

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-units-'));
    for (const unit of UNITS) {
      // The verifier wants the program to exist; here holdfast is not installed.
      await writeFile(join(directory, unit), (await read(unit)).replaceAll('/usr/bin/holdfast', '/bin/true'));
    }
  });

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test('finds nothing to say about the units', async () => {
    const paths = UNITS.map((unit) => join(directory, unit));
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...paths]);
    const about = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('holdfast'));
    expect(about).toEqual([]);
  });

  test('would object to a misspelt directive', async () => {
    const path = join(directory, 'misspelt.service');
    await writeFile(path, '[Service]\nType=exec\nExecStart=/bin/true\nRestartSeconds=5\n');
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', path]);
    expect(`${stdout}${stderr}`).toContain('RestartSeconds');
  });
});

test('recovery runs once at boot, before the worker, and no timer interrupts it', async () => {
  const unit = await read('holdfast-recover.service');
  expect(unit).toMatch(/^Type=oneshot$/m);
  expect(unit).toMatch(/^Before=.*\bholdfast\.service\b/m);
  expect(unit).toMatch(/^ExecStart=\/usr\/bin\/holdfast recover --all$/m);
  expect(unit).toMatch(/^TimeoutStartSec=infinity$/m);
});

test('the worker starts after recovery, also where a store could not be recovered, and recovers when it ends', async () => {
  const unit = await read('holdfast.service');
  expect(unit).toMatch(/^Wants=.*\bholdfast-recover\.service\b/m);
  expect(unit).not.toMatch(/^(?:Requires|BindsTo|Requisite)=/m);
  expect(unit).toMatch(/^After=.*\bholdfast-recover\.service\b/m);
  expect(unit).toMatch(/^ExecStopPost=\/usr\/bin\/holdfast recover --all$/m);
});

test("an application's drop-in orders it after recovery and asks the gate", async () => {
  const dropIn = await read('application.service.d/holdfast.conf');
  expect(dropIn).toMatch(/^After=holdfast-recover\.service$/m);
  expect(dropIn).toMatch(/^ExecStartPre=\+\/usr\/bin\/holdfast status \S+ --gate$/m);
});
