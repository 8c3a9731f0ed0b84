// What lies in the control directory beside lock.db: the audit chain, the fence, the epoch (SM-8, DESIGN.md "Restore").
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { appendAudit, readAudit } from '../../control/audit.js';
import { millisBetween } from '../../control/clock.js';
import { withControlDatabase } from '../../control/control-database.js';
import { beginEpoch, readEpoch } from '../../control/epoch.js';
import { liftFence, raiseFence, readFence } from '../../control/fence.js';
import { acquireLock, journal, releaseLock } from '../../control/lock.js';
import type { StoreRoom } from '../../control/store-room.js';
import { LIMITS } from '../../domain/limits.js';
import { claimant, codeOf, makeTestRoom, saysRun, stopOf, temporaryDirectory } from './room.js';

const logOf = (directory: string): string => join(directory, 'audit.jsonl');

/** One line in a section of its own, as an operation writes it. */
async function append(directory: string, event: string, operation: string, details = {}): Promise<void> {
  await withControlDatabase(directory, (database) =>
    database.section(() => appendAudit(database, event, operation, details)),
  );
}

async function threeEntries(): Promise<{ readonly directory: string; readonly lines: string[] }> {
  const directory = temporaryDirectory();
  for (const event of ['lock acquired', 'exchange undone', 'lock released'])
    await append(directory, event, 'an operation', { event });
  return { directory, lines: readFileSync(logOf(directory), 'utf8').trimEnd().split('\n') };
}

describe('the audit log', () => {
  test('binds each line to the one before it', async () => {
    const { directory } = await threeEntries();
    const entries = await readAudit(directory);
    expect(entries.map(({ number, event }) => `${number} ${event}`)).toEqual([
      '1 lock acquired',
      '2 exchange undone',
      '3 lock released',
    ]);
    expect(entries[0]?.previousSha256).toBe('0'.repeat(64));
  });

  test.each([
    [
      'an edited line',
      (lines: string[]) => lines.map((line, index) => (index === 1 ? line.replace('undone', 'UNDONE') : line)),
    ],
    [
      'an edited first line',
      (lines: string[]) => lines.map((line, index) => (index === 0 ? line.replace('an operation', 'another') : line)),
    ],
    ['a line that is missing', (lines: string[]) => lines.filter((_, index) => index !== 1)],
    ['lines that changed places', (lines: string[]) => [lines[1] ?? '', lines[0] ?? '', lines[2] ?? '']],
    [
      'a line that is no JSON any more',
      (lines: string[]) => lines.map((line, index) => (index === 1 ? line.slice(1) : line)),
    ],
    ['a line that is `null`', (lines: string[]) => lines.map((line, index) => (index === 1 ? 'null' : line))],
  ])('tells %s: checksum_mismatch', async (_what, edit) => {
    const { directory, lines } = await threeEntries();
    writeFileSync(logOf(directory), `${edit(lines).join('\n')}\n`);
    expect(await codeOf(readAudit(directory))).toBe('checksum_mismatch');
  });

  test('names the line where the chain is broken', async () => {
    const { directory, lines } = await threeEntries();
    writeFileSync(logOf(directory), `${[lines[0]?.replace('an op', 'no op'), ...lines.slice(1)].join('\n')}\n`);
    expect((await stopOf(readAudit(directory))).details).toMatchObject({ line: 2 });
  });

  test.each([5, 60])(
    'a last line torn after %i bytes is passed over, and the next entry takes its place',
    async (bytes) => {
      const { directory, lines } = await threeEntries();
      appendFileSync(logOf(directory), (lines[2] ?? '').slice(0, bytes));
      expect(await readAudit(directory)).toHaveLength(3);
      await append(directory, 'lock acquired', 'another');
      const entries = await readAudit(directory);
      expect(entries.map(({ number, operation }) => `${number} ${operation}`)).toEqual([
        '1 an operation',
        '2 an operation',
        '3 an operation',
        '4 another',
      ]);
      expect(readFileSync(logOf(directory), 'utf8').split('\n')).toHaveLength(5);
    },
  );

  test('a first line that was torn leaves an empty log', async () => {
    const directory = temporaryDirectory();
    writeFileSync(logOf(directory), '{"number":1');
    expect(await readAudit(directory)).toEqual([]);
    await append(directory, 'lock acquired', 'first');
    expect(await readAudit(directory)).toMatchObject([{ number: 1, operation: 'first' }]);
  });

  test.each([10, 100_000])('is appended to after a line of %i bytes and more', async (bytes) => {
    const directory = temporaryDirectory();
    for (const operation of ['first', 'ö'.repeat(bytes), 'third', 'fourth'])
      await append(directory, 'lock acquired', operation);
    expect((await readAudit(directory)).map(({ number }) => number)).toEqual([1, 2, 3, 4]);
  });

  test('is appended to without being read: as quickly when it is larger than a string can be', async () => {
    const { directory, lines } = await threeEntries();
    truncateSync(logOf(directory), 2 ** 33);
    appendFileSync(logOf(directory), `\n${lines[2] ?? ''}\n`);
    const before = statSync(logOf(directory)).size;
    await append(directory, 'lock acquired', 'another');
    const added = Buffer.alloc(statSync(logOf(directory)).size - before);
    const descriptor = openSync(logOf(directory), 'r');
    readSync(descriptor, added, 0, added.length, before);
    closeSync(descriptor);
    expect(JSON.parse(added.toString())).toMatchObject({
      number: 4,
      previousSha256: createHash('sha256')
        .update(lines[2] ?? '')
        .digest('hex'),
    });
  });

  test('binds the next line to the last one that was written here, so that a cut shows for ever', async () => {
    const { directory, lines } = await threeEntries();
    for (const left of [2, 0]) {
      writeFileSync(logOf(directory), lines.slice(0, left).join('\n') + (left > 0 ? '\n' : ''));
      await append(directory, 'lock acquired', 'another');
      await append(directory, 'lock released', 'another');
      expect((await stopOf(readAudit(directory))).details).toMatchObject({ line: left + 1 });
    }
  });

  test('keeps the line of a section that was not committed, and goes on after it', async () => {
    const { directory } = await threeEntries();
    const cut = withControlDatabase(directory, (database) =>
      database.section(async () => {
        await appendAudit(database, 'exchange undone', 'cut short');
        throw new Error('cut short');
      }),
    );
    await expect(cut).rejects.toThrow('cut short');
    await append(directory, 'lock acquired', 'another');
    const entries = await readAudit(directory);
    expect(entries.map(({ number, operation }) => `${number} ${operation}`).slice(3)).toEqual([
      '4 cut short',
      '5 another',
    ]);
  });

  test('a line is only written inside a section', async () => {
    const directory = temporaryDirectory();
    await expect(withControlDatabase(directory, (database) => appendAudit(database, 'e', 'o'))).rejects.toThrow(
      'inside a section',
    );
  });

  test('a log that is not there is empty', async () => {
    expect(await readAudit(temporaryDirectory())).toEqual([]);
  });
});

test('a time between two readings of a clock that was set back meanwhile is none, not a negative one', () => {
  const [early, late] = ['2026-01-02T03:04:05.000Z', '2026-01-02T03:04:05.250Z'];
  expect([millisBetween(early, late), millisBetween(late, early), millisBetween(null, late)]).toEqual([250, 0, 0]);
});

describe('the fence', () => {
  test('stands until it is lifted, by whom and since when', async () => {
    const directory = temporaryDirectory();
    expect(await readFence(directory)).toBeUndefined();
    await raiseFence(directory, 'an operation', 'restore');
    expect(await readFence(directory)).toMatchObject({
      operation: 'an operation',
      protocol: 'restore',
      since: expect.stringMatching(/^\d{4}-/),
    });
    await liftFence(directory);
    await liftFence(directory);
    expect(await readFence(directory)).toBeUndefined();
  });

  test.each(['', '{"operation":', 'null', '[]', '"x"'])('a marker that holds %j still fences', async (content) => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'fence.json'), content);
    expect(await readFence(directory)).toMatchObject({ operation: 'unreadable' });
  });

  test('a marker that is something else than a file still fences', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'fence.json'));
    expect(await readFence(directory)).toMatchObject({ operation: 'unreadable' });
  });
});

describe('the epoch', () => {
  test('is null before the first restore, then a new id and the next number each time', async () => {
    const directory = temporaryDirectory();
    expect(await readEpoch(directory)).toBeNull();
    const first = await beginEpoch(directory);
    const second = await beginEpoch(directory);
    expect([first.counter, second.counter]).toEqual([1, 2]);
    expect(second.id).not.toBe(first.id);
    expect(await readEpoch(directory)).toEqual(second);
    expect(readdirSync(directory)).toEqual(['epoch.json']);
  });

  test('one that can not be read is an error, not a beginning', async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'epoch.json'), '{"id":');
    await expect(beginEpoch(directory)).rejects.toThrow();
    expect(readFileSync(join(directory, 'epoch.json'), 'utf8')).toBe('{"id":');
    expect(existsSync(logOf(directory))).toBe(false);
  });
});

describe('lock.db does not grow without end', () => {
  const room = async (): Promise<StoreRoom> => (await makeTestRoom()).room;

  async function carryOut(of: StoreRoom): Promise<string> {
    const grant = await acquireLock(of, claimant(), saysRun('unknown'));
    await journal(of, grant, { event: 'quiescing' });
    await journal(of, grant, { event: 'resumed', by: 'protocol' });
    await releaseLock(of, grant, 'done');
    return grant.operation;
  }

  /** Lets an operation have ended so many days ago. */
  function age(of: StoreRoom, operation: string, days: number): void {
    const database = new Database(join(of.controlDirectory, 'lock.db'));
    const endedAt = new Date(Date.now() - days * 24 * 3600 * 1000).toISOString();
    database.prepare('UPDATE operations SET ended_at = ? WHERE operation = ?').run(endedAt, operation);
    database.close();
  }

  test('journals of operations that ended long ago are forgotten, that they were carried out is not', async () => {
    const tested = await room();
    const [old, recent] = [await carryOut(tested), await carryOut(tested)];
    age(tested, old, LIMITS.journalDaysMax + 1);
    age(tested, recent, LIMITS.journalDaysMax - 1);
    await carryOut(tested);
    await withControlDatabase(tested.controlDirectory, (database) => {
      expect(database.events(old)).toEqual([]);
      expect(database.events(recent)).toHaveLength(2);
    });
    expect(await codeOf(acquireLock(tested, claimant({ operation: old }), saysRun('unknown')))).toBe(
      'operation_repeated',
    );
  });

  test('the journal of an operation that has not ended is kept, however old it is', async () => {
    const tested = await room();
    const grant = await acquireLock(tested, claimant(), saysRun('unknown'));
    await journal(tested, grant, { event: 'quiescing' });
    await withControlDatabase(tested.controlDirectory, (database) => {
      database.endOperation('another', 'done');
      expect(database.events(grant.operation)).toHaveLength(1);
    });
  });

  test('verdicts are kept on the databases of the newest backup alone', async () => {
    await withControlDatabase((await room()).controlDirectory, (database) => {
      database.recordVerdicts(['one', 'two', 'two'].map((sha256) => ({ sha256, checkedAt: 'then' })));
      database.recordVerdicts(['two', 'three'].map((sha256) => ({ sha256, checkedAt: 'now' })));
      expect(['one', 'two', 'three'].map((sha256) => database.verdict(sha256))).toEqual([undefined, 'now', 'now']);
    });
  });
});
