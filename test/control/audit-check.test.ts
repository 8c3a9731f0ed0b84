// What doctor finds out about an audit log that somebody has edited, cut or removed, and about the histories beside it.
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { checkAudit } from '../../control/audit-check.js';
import { appendAudit, readAudit } from '../../control/audit.js';
import { withControlDatabase } from '../../control/control-database.js';
import { keepHistory, settleHistories } from '../../control/histories.js';
import type { ClosedRun } from '../../control/histories.js';
import { acquireLock, releaseLock } from '../../control/lock.js';
import { breakLock } from '../../control/recovery.js';
import type { StoreRoom } from '../../control/store-room.js';
import { requires } from '../support/requires.js';
import { claimant, codeOf, makeTestRoom, saysRun, startChild } from './room.js';

let room: StoreRoom;
let controlDirectory = '';
const closedAt = new Date('2026-11-21T12:00:00Z');
const runId = '01a1ff6a-0ba5-7cd2-b3b6-fdcbe4fa7f0e';
const NAME = `20261121T120000Z-backup-${runId}.json.gz`;
const FILE = `histories/${NAME}`;
const RUN: ClosedRun = { operation: 'o', protocol: 'backup', workflowId: 'holdfast/s', runId, closedAt };

async function operate(): Promise<void> {
  await releaseLock(room, await acquireLock(room, claimant(), saysRun('unknown')), 'done');
}

const keep = (changed: Partial<ClosedRun> = {}): Promise<void> =>
  keepHistory(controlDirectory, { ...RUN, ...changed }, '{"events":[]}');

beforeEach(async () => {
  room = (await makeTestRoom()).room;
  controlDirectory = room.controlDirectory;
  await operate();
  await operate();
  await keep();
  await keep();
});

const log = (): string => join(controlDirectory, 'audit.jsonl');
const inHistories = (name: string): string => join(controlDirectory, 'histories', name);
const lines = (): string[] => readFileSync(log(), 'utf8').trimEnd().split('\n');
const cutTo = (count: number): void => writeFileSync(log(), `${lines().slice(0, count).join('\n')}\n`);
const checked = async (): Promise<readonly string[]> => (await checkAudit(controlDirectory)).problems;
const problems = async (): Promise<string> => (await checked()).join('\n');
const keptLines = async (): Promise<number> =>
  (await readAudit(controlDirectory)).filter(({ event }) => event === 'history kept').length;

describe('the audit log and its histories', () => {
  test('are sound as they were written, each run kept once', async () => {
    expect(await checkAudit(controlDirectory)).toEqual({ lines: 5, histories: 1, problems: [] });
  });

  test('are sound after a refusal, after a lock was broken, and where a section was not committed', async () => {
    const owner = claimant();
    await acquireLock(room, owner, saysRun('unknown'));
    await breakLock(room, 'somebody', owner.operation);
    writeFileSync(join(controlDirectory, 'fence.json'), '{"operation":"x","since":"y"}');
    expect(await codeOf(acquireLock(room, claimant(), saysRun('unknown')))).toBe('fenced');
    rmSync(join(controlDirectory, 'fence.json'));
    const cut = withControlDatabase(controlDirectory, (database) =>
      database.section(async () => {
        await appendAudit(database, 'exchange undone', 'o');
        throw new Error('cut short');
      }),
    );
    await expect(cut).rejects.toThrow('cut short');
    expect(await checked()).toEqual([]);
  });

  test('tell an edited line', async () => {
    writeFileSync(log(), readFileSync(log(), 'utf8').replace('"outcome":"done"', '"outcome":"DONE"'));
    expect(await problems()).toMatch(/^line \d of the audit log is not bound to the one before it$/);
  });

  test('tell lines that were cut off, and a log that is gone: operations took place of which nothing is said', async () => {
    cutTo(2);
    expect(await problems()).toMatch(
      /^line 5, the last that lock.db knows of, is not in the audit log\n1 operations that/,
    );
    rmSync(log());
    expect(await problems()).toMatch(
      /^line 5, .*\n2 operations that took place have no line of their beginning, such as /,
    );
  });

  test('tell a broken lock that was cut off', async () => {
    const owner = claimant();
    await acquireLock(room, owner, saysRun('unknown'));
    const before = lines().length;
    await breakLock(room, 'somebody', owner.operation);
    cutTo(before);
    expect(await problems()).toMatch(/^line 9, the last that lock.db knows of, is not in the audit log/);
  });

  test('tell the end of an operation that was cut off', async () => {
    const before = lines().length;
    await operate();
    cutTo(before + 1);
    expect(await problems()).toMatch(/\n1 operations that ended have no line of their end, such as /);
  });

  test('tell what was cut off also after the next line was written', async () => {
    const before = lines().length;
    await operate();
    cutTo(before);
    await keep({ runId: randomUUID() });
    expect(await problems()).toBe(`line ${before + 1} of the audit log is not bound to the one before it`);
  });

  test('tell a history without a line', async () => {
    writeFileSync(inHistories('20261121T120001Z-backup-forged.json.gz'), 'forged');
    expect(await problems()).toMatch(/forged.json.gz has no line in the audit log$/);
  });

  test('tell a lock.db that is gone', async () => {
    rmSync(join(controlDirectory, 'lock.db'));
    expect(await problems()).toBe('lock.db is gone, of which the audit log has 5 lines');
  });

  test.each([
    ['is gone', () => rmSync(join(controlDirectory, FILE))],
    ['is not the history that was kept', () => writeFileSync(join(controlDirectory, FILE), gzipSync('{"events":[1]}'))],
    ['is not the history that was kept', () => writeFileSync(join(controlDirectory, FILE), 'not compressed')],
  ])('tell a history that %s', async (problem, damage) => {
    damage();
    expect(await problems()).toBe(`${join(controlDirectory, FILE)} ${problem}`);
  });

  test('are sound while operations take place and runs are kept', { timeout: 60_000 }, async () => {
    const child = startChild({ room, does: 'operate', claimant: claimant(), times: 100 });
    expect(await child.line()).toBe('operates');
    let looks = 0;
    while (child.process.exitCode === null) {
      expect(await checked()).toEqual([]);
      looks += 1;
    }
    expect(child.process.exitCode).toBe(0);
    expect(looks).toBeGreaterThan(10);
  });
});

describe('a history', () => {
  test.each([
    ['a protocol that leads elsewhere', { protocol: 'x/../../../elsewhere' }],
    ['a run that leads elsewhere', { runId: '../../elsewhere' }],
  ])('is not named after %s', async (_what, changed) => {
    await expect(keep(changed)).rejects.toThrow('a history is not named');
    expect(readdirSync(join(controlDirectory, 'histories'))).toEqual([NAME]);
    expect(await keptLines()).toBe(1);
  });

  test('is not looked for outside of its directory', async () => {
    await withControlDatabase(controlDirectory, (database) =>
      database.section(async () => {
        await appendAudit(database, 'history kept', 'o', { file: 'histories/../../../elsewhere', sha256: '' });
      }),
    );
    expect(await problems()).toBe('line 6 of the audit log names no history');
  });

  test.skipIf(requires('mount'))('that finds no space has no line (needs root)', async () => {
    const directory = join(controlDirectory, 'histories');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', directory]);
    onTestFinished(() => void execFileSync('umount', [directory]));
    const before = lines().length;
    const json = JSON.stringify({ events: [randomBytes(60_000).toString('hex')] });
    for (let time = 0; time < 2; time += 1)
      expect(await codeOf(keepHistory(controlDirectory, RUN, json))).toBe('no_space');
    expect(lines()).toHaveLength(before);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('that was killed before its line is kept by the next try, and one without a next try is removed', async () => {
    const other = randomUUID();
    const hidden = inHistories(`.20261121T120000Z-backup-${other}.json.gz`);
    writeFileSync(hidden, gzipSync('{"events":[]}').subarray(0, 10));
    await keep({ runId: other });
    expect(existsSync(hidden)).toBe(false);
    expect(await checkAudit(controlDirectory)).toMatchObject({ histories: 2, problems: [] });
    writeFileSync(hidden, 'x');
    writeFileSync(inHistories(`..${NAME}.0123456789ab.tmp`), 'x');
    await settleHistories(controlDirectory);
    expect(readdirSync(join(controlDirectory, 'histories'))).toHaveLength(2);
  });

  test.each([
    ['the next try', () => keep()],
    ['whoever looks next, although the engine has forgotten the run', () => settleHistories(controlDirectory)],
  ])('that was killed between its line and its name is sound, and is named by %s', async (_who, again) => {
    renameSync(inHistories(NAME), inHistories(`.${NAME}`));
    expect(await checkAudit(controlDirectory)).toEqual({ lines: 5, histories: 1, problems: [] });
    await again();
    expect(readdirSync(join(controlDirectory, 'histories'))).toEqual([NAME]);
    expect(await keptLines()).toBe(1);
  });
});
