// Facts of live databases: the same as of their copies, and nothing of the live store changes.
import { readdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { checkDatabase, closeCheckPool } from '../../sqlite/check.js';
import { takeCut } from '../../sqlite/cut.js';
import type { FactsRequest } from '../../sqlite/facts.js';
import { readLiveFacts } from '../../sqlite/live.js';
import { QUIET, Stage, childrenRunning, cutRequest, sha256Of } from './support/actors.js';

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

test('a live database under an open transaction has the facts of its copy, and its file and log stay as they are', async () => {
  const path = stage.database('a.db', { rows: 100 });
  const writer = stage.actor();
  await writer.call({ do: 'insertOpen', path, rows: 10 });
  await takeCut(cutRequest([path]), QUIET);
  await stage.actor().call({ do: 'begin', path, rows: 3 });
  const before = [sha256Of(path), sha256Of(`${path}-wal`)];
  const [live] = await readLiveFacts([request(path)]);
  const copy = await checkDatabase({ ...request(`${path}.copy`), integrity: true });
  expect(live).toEqual({ facts: copy });
  expect(copy.sequences).toEqual([{ table: 'chain', column: 'n', value: '110' }]);
  expect([sha256Of(path), sha256Of(`${path}-wal`)]).toEqual(before);
  expect(childrenRunning('live-process.js')).toEqual([]);
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
  const answers = await readLiveFacts([
    request(hot),
    request(good),
    request(bare),
    request(stage.path('none.db')),
    { ...request(good), requiredTables: ['gone'] },
  ]);
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
