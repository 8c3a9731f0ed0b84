// What the cut refuses to open, and that a refusal changes nothing.
import { copyFileSync, linkSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeCut } from '../../sqlite/cut.js';
import { QUIET, Stage, chainLength, cutRequest, sha256Of, stopOf } from './support/actors.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.end());

function snapshotOf(stageNow: Stage): Readonly<Record<string, string | null>> {
  return Object.fromEntries(readdirSync(stageNow.directory).map((name) => [name, sha256Of(stageNow.path(name))]));
}

test('a hot journal is refused, and neither the database nor the journal changes', async () => {
  const path = stage.database('a.db', { journalMode: 'delete', rows: 200 });
  const committed = sha256Of(path);
  const writer = stage.actor();
  await writer.call({ do: 'spill', path });
  await writer.kill();
  const before = snapshotOf(stage);
  expect(before['a.db-journal']).toBeTypeOf('string');
  expect(before['a.db']).not.toBe(committed); // pages of the lost transaction are in the main file
  for (const overrides of [{}, { lockWrites: false }]) {
    expect(await stopOf(takeCut(cutRequest([path], overrides), QUIET))).toMatchObject({
      code: 'hot_journal',
      details: { path },
    });
    expect(snapshotOf(stage)).toEqual(before);
  }
  await stage.actor().call({ do: 'tryLock', path }); // the application recovers it
  await takeCut(cutRequest([path]), QUIET);
  expect(chainLength(`${path}.copy`)).toBe(200);
});

test('a writer that crashes while the cut waits for it leaves a hot journal that is not rolled back', async () => {
  const path = stage.database('a.db', { journalMode: 'delete', rows: 200 });
  const writer = stage.actor();
  await writer.call({ do: 'begin', path, rows: 5 });
  const cut = stopOf(takeCut(cutRequest([path]), QUIET));
  await new Promise((resolve) => setTimeout(resolve, 400)); // the cut is past its opening, and tries
  await writer.call({ do: 'spill', path });
  const before = snapshotOf(stage);
  await writer.kill();
  expect(await cut).toMatchObject({ code: 'hot_journal', details: { path } });
  expect(snapshotOf(stage)).toEqual(before);
  expect(before['a.db-journal']).toBeTypeOf('string');
});

test.each([
  { name: 'an absent file', code: 'member_missing', make: () => undefined },
  { name: 'an empty file', code: 'not_a_database', make: (path: string) => writeFileSync(path, '') },
  { name: 'a short text', code: 'not_a_database', make: (path: string) => writeFileSync(path, 'hello') },
  { name: 'a long text', code: 'not_a_database', make: (path: string) => writeFileSync(path, 'hello '.repeat(5000)) },
  { name: 'a directory', code: 'special_file_found', make: (path: string) => mkdirSync(path) },
  {
    name: 'a symbolic link',
    code: 'symlink_found',
    make: (path: string) => symlinkSync(stage.database('real.db'), path),
  },
])('$name is refused as $code, and no target is made', async ({ code, make }) => {
  const good = stage.database('good.db');
  const path = stage.path('bad.db');
  make(path);
  const before = readdirSync(stage.directory).filter((name) => !name.startsWith('good.db'));
  const stop = await stopOf(takeCut(cutRequest([good, path]), QUIET));
  expect(stop).toMatchObject({ code, details: { path } });
  expect(readdirSync(stage.directory).filter((name) => !name.startsWith('good.db'))).toEqual(before);
  expect(readdirSync(stage.directory)).not.toContain('good.db.copy');
});

test('a target that exists is refused and kept', async () => {
  const path = stage.database('a.db');
  writeFileSync(`${path}.copy`, 'precious');
  const before = sha256Of(`${path}.copy`);
  expect(await stopOf(takeCut(cutRequest([path]), QUIET))).toMatchObject({ code: 'target_exists' });
  expect(sha256Of(`${path}.copy`)).toBe(before);
});

test('a directory of copies that is gone, as when its filesystem is not mounted any more, is a refusal', async () => {
  const path = stage.database('a.db');
  const target = stage.path('gone/a.db');
  const request = cutRequest([], { databases: [{ source: path, target, locking: 'sqlite' }] });
  expect(await stopOf(takeCut(request, QUIET))).toMatchObject({ code: 'io_error', details: { path: target } });
});

test('two names of one file are refused', async () => {
  const path = stage.database('a.db');
  linkSync(path, stage.path('b.db'));
  expect((await stopOf(takeCut(cutRequest([path, stage.path('b.db')]), QUIET))).code).toBe('path_unsafe');
});

test('a name that the binding would trim is refused, never another file opened', async () => {
  const path = stage.database('a.db');
  copyFileSync(path, `${path} `);
  expect((await stopOf(takeCut(cutRequest([`${path} `]), QUIET))).code).toBe('path_unsafe');
});

test('a database that is replaced while the cut waits is refused as changed', async () => {
  const [path, other] = [stage.database('a.db', { rows: 1 }), stage.database('b.db', { rows: 2 })];
  const writer = stage.actor();
  await writer.call({ do: 'begin', path, rows: 1 });
  const cut = stopOf(takeCut(cutRequest([path]), QUIET));
  await new Promise((resolve) => setTimeout(resolve, 500));
  renameSync(other, path);
  await writer.call({ do: 'commit', path });
  expect(await cut).toMatchObject({ code: 'source_changed', details: { path } });
});

test('an append-only file that is gone at the instant, as while it is rotated, is source_changed', async () => {
  const cut = takeCut(cutRequest([stage.database('a.db')], { statAtCut: [stage.path('gone.log')] }), QUIET);
  expect((await stopOf(cut)).code).toBe('source_changed');
});
