// The demo as anybody runs it: a command of its own, on a real engine. F-18, F-21, H-13.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startTimeOf } from '../../control/clock.js';
import { endOf, endProcess } from '../../workers/processes.js';
import { requires } from '../support/requires.js';

const PROGRAM = fileURLToPath(new URL('../../demo/main.js', import.meta.url));

class Demo {
  /** Its temporary directories are made in here, and every process of it has this path in its environment or arguments. */
  readonly directory = mkdtempSync(join(tmpdir(), 'holdfast-test-demo-'));
  readonly child;
  readonly ended;
  stdout = '';
  stderr = '';

  constructor(...argv: string[]) {
    const env = { ...process.env, TMPDIR: this.directory };
    this.child = spawn(process.execPath, [PROGRAM, ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = endOf(this.child);
    onTestFinished(async () => {
      for (const pid of this.processes()) await endProcess({ pid, startTime: startTimeOf(pid) ?? '' }, 0);
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  /** Pids of every process that has to do with it. */
  processes(): number[] {
    const pids = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
    return pids.filter((pid) => pid !== process.pid && startTimeOf(pid) !== undefined && this.#isNamedBy(pid));
  }

  #isNamedBy(pid: number): boolean {
    return ['environ', 'cmdline'].some((name) => {
      try {
        return readFileSync(`/proc/${pid}/${name}`, 'utf8').includes(this.directory);
      } catch (error) {
        // Gone in between, or another user's
        if (
          error instanceof Error &&
          'code' in error &&
          ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(String(error.code))
        )
          return false;
        throw error;
      }
    });
  }

  /** Waits until `holds`; fails with what the demo said when it takes too long. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 90_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`not in time: ${what}\n${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  said(text: string): Promise<void> {
    return this.until(`it says "${text}"`, () => this.stderr.includes(text));
  }
}

describe.skipIf(requires('temporal'))('npm run demo', () => {
  test('backs up under load, refuses what was tampered with, restores, rolls back, and leaves nothing, within a minute', async () => {
    const begin = performance.now();
    const demo = new Demo();
    expect(await demo.ended, demo.stderr).toEqual({ status: 0, signal: null });
    expect(performance.now() - begin).toBeLessThan(60_000);
    expect(demo.processes()).toEqual([]);
    expect(readdirSync(demo.directory)).toEqual([]);

    const inOrder = [
      /3 writers \(\d+, \d+, \d+\) write all the time/,
      /backup [0-9a-f-]{12} under load: writers paused for \d+\.\d\d ms, all locks at try \d+/,
      /proved: \d+ checksums and the invariant of the backup/,
      /proved: the writers went on/,
      /refused to verify, one bit flipped in one file: STOP checksum_mismatch/,
      /refused to verify, the manifest removed: STOP manifest_missing/,
      /proved: the writers did not notice/,
      /detach hook: 3 writers stopped/,
      /refused to restore, one bit flipped in one file: STOP checksum_mismatch/,
      /refused to restore, the manifest removed: STOP manifest_missing/,
      /proved: the live store at rest has digest ([0-9a-f]{12}) before and after/,
      /disaster: a\.db overwritten with garbage, \d+ files deleted/,
      /proved: the store is broken: \d+ faults, the first: a\.db can't be read/,
      /plan: Replace store demo .* by backup .*data\/a\.db can't be read/,
      /restore done, as confirmed by the plan's digest/,
      /proved: \d+ checksums and the invariant of the restored store, before anybody wrote/,
      /proved: the attach hook started the writers, which go on/,
      /plan: Replace store demo .* by rollback point .*data\/a\.db comes back damaged/,
      /rollback done/,
      /proved: rolled back to the destroyed store/,
      /every proof held/,
    ];
    let rest = demo.stderr;
    for (const line of inOrder) {
      const found = line.exec(rest);
      expect(found, `${String(line)} is missing after what came before it:\n${demo.stderr}`).not.toBeNull();
      rest = rest.slice((found?.index ?? 0) + (found?.[0].length ?? 0));
    }

    expect(demo.stdout).toMatch(/^pause of the writers, ms +\d+\.\d\d$/m);
    expect(demo.stdout).toMatch(/^bytes( +[\d,]{7,}){3}$/m);
    for (const step of ['lock', 'plan', 'snapshot', 'exchange', 'verify'])
      expect(demo.stdout).toMatch(new RegExp(`^${step}, s +\\d`, 'm'));
    for (const type of ['backup', 'plan', 'request', 'restore', 'rollback']) {
      expect(demo.stdout).toMatch(
        new RegExp(`^${type} +completed +http://127\\.0\\.0\\.1:\\d+/namespaces/default/workflows/.*/history$`, 'm'),
      );
    }
  });

  test('with --keep leaves the UI up until Ctrl-C, and then only its directory', async () => {
    const demo = new Demo('--keep');
    await demo.said('stay up until Ctrl-C');
    const [, ui] = /UI at (http:\S+)/.exec(demo.stderr) ?? [];
    expect((await fetch(ui ?? '')).status).toBe(200);
    demo.child.kill('SIGINT');
    expect(await demo.ended, demo.stderr).toEqual({ status: 0, signal: null });
    expect(demo.processes()).toEqual([]);
    expect(readdirSync(demo.directory)).toHaveLength(1);
  });

  for (const [when, line] of [
    ['while it backs up', 'write all the time'],
    ['while it restores', 'plan: Replace'],
  ] as const) {
    test(`interrupted ${when}, ends everything and exits with 130`, async () => {
      const demo = new Demo();
      await demo.said(line);
      demo.child.kill('SIGINT');
      expect(await demo.ended, demo.stderr).toEqual({ status: 130, signal: null });
      expect(demo.stderr).not.toContain('failed:');
      expect(demo.processes()).toEqual([]);
      expect(readdirSync(demo.directory)).toEqual([]);
    });
  }

  test('killed, is outlived by neither its writers nor its engine', async () => {
    const demo = new Demo();
    await demo.said('write all the time');
    demo.child.kill('SIGKILL');
    await demo.ended;
    await demo.until('every process has ended', () => demo.processes().length === 0);
  });

  test('refuses an argument that it does not know', async () => {
    const demo = new Demo('--kepe');
    expect((await demo.ended).status).toBe(64);
    expect(demo.stderr).toContain('usage: npm run demo');
  });
});
