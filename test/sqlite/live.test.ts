// Facts of live databases: the same as of their copies, and nothing of the live store changes.
import { chmodSync, chownSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkDatabase, closeCheckPool } from '../../sqlite/check.js';
import { takeCut } from '../../sqlite/cut.js';
import type { FactsRequest } from '../../sqlite/facts.js';
import { readLiveFacts } from '../../sqlite/live.js';
import { readShapes } from '../../sqlite/shape.js';
import { QUIET, Stage, childrenRunning, cutRequest, sha256Of, stopOf } from './support/actors.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.end());
afterAll(closeCheckPool);

function request(path: string): FactsRequest {
  const column = { table: 'chain', column: 'n' };
  return {
    path,
    requiredTables: ['chain'],
    sequences: [column],
    appendOnly: [column],
    migrations: { table: 'chain', orderBy: 'n' },
    foreignKeys: false,
  };
}

const LIMITS = { pinSecondsMax: 60, walGrowthBytesMax: 1024 ** 3 };

test('a live database under an open transaction has the facts of its copy, and its file and log stay as they are', async () => {
  const path = stage.database('a.db', { rows: 100 });
  const writer = stage.actor();
  await writer.call({ do: 'insertOpen', path, rows: 10 });
  await takeCut(cutRequest([path]), QUIET);
  await stage.actor().call({ do: 'begin', path, rows: 3 });
  const before = [sha256Of(path), sha256Of(`${path}-wal`)];
  const [live] = await readLiveFacts([request(path)], LIMITS);
  const copy = await checkDatabase({ ...request(`${path}.copy`), integrity: true });
  expect(live).toEqual({ facts: copy });
  expect(copy.sequences).toEqual([{ table: 'chain', column: 'n', value: '110' }]);
  expect([sha256Of(path), sha256Of(`${path}-wal`)]).toEqual(before);
  expect(childrenRunning('live-process.js')).toEqual([]);
});

test.each([
  ['facts', (path: string): Promise<unknown> => readLiveFacts([request(path)], LIMITS)],
  ['its shape', (path: string): Promise<unknown> => readShapes([path])],
] as const)(
  'a look for %s at a database in WAL mode at rest leaves an empty log and its index',
  async (_what, look) => {
    const path = stage.database('a.db', { rows: 3 });
    chownSync(path, process.getuid?.() === 0 ? 1234 : -1, -1);
    chmodSync(path, 0o640);
    const [before, { mode, uid }] = [sha256Of(path), lstatSync(path)];
    expect(await look(path)).not.toMatchObject([{ unreadable: expect.anything() as unknown }]);
    expect(readdirSync(stage.directory).sort()).toEqual(['a.db', 'a.db-shm', 'a.db-wal']);
    expect([sha256Of(path), lstatSync(`${path}-wal`).size]).toEqual([before, 0]);
    for (const suffix of ['', '-wal', '-shm']) expect(lstatSync(path + suffix)).toMatchObject({ mode, uid });
  },
);

test('asked for names only, it finds a table or a column that is gone, and reads no row', async () => {
  const path = stage.database('a.db', { rows: 3 });
  const names: FactsRequest = { ...request(path), namesOnly: true };
  const gone = { table: 'chain', column: 'gone' };
  const answers = await readLiveFacts(
    [
      names,
      { ...names, requiredTables: ['chain', 'other'] },
      { ...names, sequences: [gone] },
      { ...names, appendOnly: [gone] },
      { ...names, migrations: { table: 'chain', orderBy: 'gone' } },
    ],
    LIMITS,
  );
  expect(answers[0]).toMatchObject({ facts: { tables: [], sequences: [], appendOnly: [], migrations: null } });
  expect(answers.slice(1)).toMatchObject([
    { unreadable: 'required_table_missing', details: { missing: ['other'] } },
    { unreadable: 'definition_invalid', details: gone },
    { unreadable: 'definition_invalid', details: gone },
    { unreadable: 'definition_invalid', details: gone },
  ]);
});

test('what cannot be read says why, in order, and does not hide the others', async () => {
  const good = stage.database('good.db', { rows: 1 });
  const hot = stage.database('hot.db', { journalMode: 'delete', rows: 200 });
  const writer = stage.actor();
  await writer.call({ do: 'spill', path: hot });
  await writer.kill();
  const bare = stage.path('bare.db');
  writeFileSync(bare, '');
  const before = [sha256Of(hot), sha256Of(`${hot}-journal`)];
  const answers = await readLiveFacts(
    [
      request(hot),
      request(good),
      request(bare),
      request(stage.path('none.db')),
      { ...request(good), requiredTables: ['gone'] },
    ],
    LIMITS,
  );
  expect(answers.map((answer) => ('facts' in answer ? answer.facts.sequences[0]?.value : answer.unreadable))).toEqual([
    'hot_journal',
    '1',
    'not_a_database',
    'member_missing',
    'required_table_missing',
  ]);
  expect([sha256Of(hot), sha256Of(`${hot}-journal`)]).toEqual(before);
  expect(readdirSync(stage.directory)).toContain('hot.db-journal');
});

describe('under a writer without rest', () => {
  /** Reading 400,000 rows takes about a second; `chain` is the writer's. */
  function makeLarge(name: string, rows: number, journalMode = 'wal'): string {
    const path = stage.database(name, { journalMode });
    const connection = new Database(path);
    connection.exec(
      `CREATE TABLE ledger (seq INTEGER PRIMARY KEY, v);
       WITH RECURSIVE c (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < ${rows}) INSERT INTO ledger SELECT i, i FROM c`,
    );
    connection.close();
    return path;
  }
  const digesting = (path: string): FactsRequest => ({
    ...request(path),
    appendOnly: [{ table: 'ledger', column: 'seq' }],
  });

  test.each([
    ['pin_too_long', { pinSecondsMax: 0.2 }],
    ['wal_growth', { walGrowthBytesMax: 100_000 }],
  ] as const)('reading is %s at the limit of a cut, and the pin is gone', async (code, limit) => {
    const [small, path] = [stage.database('small.db', { rows: 1 }), makeLarge('large.db', 400_000)];
    const writer = stage.actor();
    await writer.startChain([path]);
    const stop = await stopOf(readLiveFacts([request(small), digesting(path)], { ...LIMITS, ...limit }));
    expect(childrenRunning('live-process.js')).toEqual([]);
    await writer.stopChain();
    expect(stop.code).toBe(code);
    expect(JSON.stringify(stop.details)).toContain(path);
    expect(await stage.actor().call({ do: 'truncate', path })).toBe(true);
  });

  test('reading has no limit where none is given, as behind a fence', async () => {
    const path = makeLarge('large.db', 400_000);
    expect((await stopOf(readLiveFacts([digesting(path)], { ...LIMITS, pinSecondsMax: 0.2 }))).code).toBe(
      'pin_too_long',
    );
    const [answer] = await readLiveFacts([digesting(path)], null);
    expect(answer).toMatchObject({ facts: { appendOnly: [{ rows: 400_000 }] } });
  });

  test('reading within the limits is not ended, and a signal still ends it', async () => {
    const path = makeLarge('large.db', 100_000);
    await stage.actor().startChain([path]);
    const [live] = await readLiveFacts([digesting(path)], LIMITS);
    expect(live).toMatchObject({ facts: { appendOnly: [{ upTo: '100000', rows: 100_000 }] } });
    const reason = new Error('given up');
    await expect(readLiveFacts([digesting(path)], LIMITS, AbortSignal.timeout(100))).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    await expect(readLiveFacts([digesting(path)], LIMITS, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(childrenRunning('live-process.js')).toEqual([]);
  });

  test('without a log, its writers wait for so long at most: it is not read, and the others are', async () => {
    const [small, large] = [stage.database('small.db', { rows: 1 }), makeLarge('large.db', 20_000)];
    const rolling = makeLarge('rolling.db', 300_000, 'delete');
    const writer = stage.actor();
    await writer.startChain([rolling]);
    const limits = { ...LIMITS, writersWaitMillisMax: 100 };
    const answers = await readLiveFacts([request(small), digesting(rolling), digesting(large)], limits);
    const { commitMillisMax } = await writer.stopChain();
    expect(answers).toMatchObject([
      { facts: { sequences: [{ value: '1' }] } },
      { unreadable: 'pin_too_long', details: { path: rolling, writersWaitMillisMax: 100 } },
      { facts: { appendOnly: [{ rows: 20_000 }] } },
    ]);
    expect(childrenRunning('live-process.js')).toEqual([]);
    // Where nobody writes it is read to its end, which takes longer than any writer waited
    const begin = performance.now();
    expect(await readLiveFacts([digesting(rolling)], LIMITS)).toMatchObject([
      { facts: { appendOnly: [{ rows: 300_000 }] } },
    ]);
    expect(commitMillisMax).toBeLessThan(performance.now() - begin);
  });

  test('the time that opening the next database takes counts for no pin', async () => {
    const [read, exclusive] = [stage.database('read.db'), stage.database('exclusive.db')];
    await stage.actor().call({ do: 'exclusive', path: exclusive });
    // It is tried for five seconds
    const limits = { ...LIMITS, pinSecondsMax: 3 };
    expect(await readLiveFacts([request(read), request(exclusive)], limits)).toMatchObject([
      { facts: {} },
      { unreadable: 'database_exclusive' },
    ]);
  });
});
