// What doctor finds out about an audit log that somebody has edited, cut or removed, and about the histories beside it.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkAudit } from '../../control/audit-check.js';
import { keepHistory } from '../../control/histories.js';
import { acquireLock, releaseLock } from '../../control/lock.js';
import { claimant, makeTestRoom, saysRun } from './room.js';

let controlDirectory = '';
const closedAt = new Date('2026-11-21T12:00:00Z');
const runId = '01a1ff6a-0ba5-7cd2-b3b6-fdcbe4fa7f0e';
const FILE = `histories/20261121T120000Z-backup-${runId}.json.gz`;

beforeEach(async () => {
  const { room } = await makeTestRoom();
  controlDirectory = room.controlDirectory;
  for (const operation of [claimant(), claimant()]) {
    const grant = await acquireLock(room, operation, saysRun('unknown'));
    await releaseLock(room, grant, 'done');
  }
  const run = { operation: 'o', protocol: 'backup', workflowId: 'holdfast/s', runId, closedAt };
  await keepHistory(controlDirectory, run, '{"events":[]}');
  await keepHistory(controlDirectory, run, '{"events":[]}');
});

const log = (): string => join(controlDirectory, 'audit.jsonl');
const lines = (): string[] => readFileSync(log(), 'utf8').trimEnd().split('\n');
const problems = async (): Promise<string> => (await checkAudit(controlDirectory)).problems.join('\n');

describe('the audit log and its histories', () => {
  test('are sound as they were written, each run kept once', async () => {
    expect(await checkAudit(controlDirectory)).toEqual({ lines: 5, histories: 1, problems: [] });
  });

  test('tell an edited line', async () => {
    writeFileSync(log(), readFileSync(log(), 'utf8').replace('"outcome":"done"', '"outcome":"DONE"'));
    expect(await problems()).toMatch(/^line \d of the audit log is not bound to the one before it$/);
  });

  test('tell lines that were cut off, and a log that is gone: operations took place of which nothing is said', async () => {
    writeFileSync(log(), `${lines().slice(0, 2).join('\n')}\n`);
    expect(await problems()).toMatch(/^1 operations that took place have no line, such as /);
    rmSync(log());
    expect(await problems()).toMatch(/^2 operations that took place have no line, such as /);
  });

  test.each([
    ['is gone', () => rmSync(join(controlDirectory, FILE))],
    ['is not the history that was kept', () => writeFileSync(join(controlDirectory, FILE), gzipSync('{"events":[1]}'))],
    ['is not the history that was kept', () => writeFileSync(join(controlDirectory, FILE), 'not compressed')],
  ])('tell a history that %s', async (problem, damage) => {
    damage();
    expect(await problems()).toBe(`${join(controlDirectory, FILE)} ${problem}`);
  });
});
