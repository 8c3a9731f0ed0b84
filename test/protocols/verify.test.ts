// The protocol verify against real artefacts: what is damaged in whatever way is refused by its own code, and nothing is
// changed by looking. Clauses F-14, F-40.
import { appendFileSync, cpSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { STOPS } from '../../domain/stop.js';
import type { StopCode } from '../../domain/stop.js';
import { treeDigest } from '../support/tree-digest.js';
import { alterConsistently, damagedCopy, rot, sha256Of } from '../support/artefact.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { TestStore, sql } from '../support/store.js';

describe.skipIf(requires('temporal'))('verify', () => {
  const engine = useEngine();
  let store: TestStore;
  let artefact: string;
  beforeAll(async () => {
    store = new TestStore(engine(), 'verified', { databases: [{ path: 'a.db', requiredTables: ['item'] }] });
    artefact = (await store.backup()).artefact;
  });
  const verify = async (backup: string) =>
    (await engine().holdfast.verify(store.name, backup, { requestedBy: 'test' })).result();

  test('verify.bytes, verify.databases: a sound artefact passes, and is not touched', async () => {
    // SQLite makes and removes sidecars when it reads a WAL database, which alters the time of its directory
    const before = await treeDigest(store.destination, { times: 'none' });
    const report = await verify('latest');
    expect(report).toMatchObject({ protocol: 'verify', store: store.name, artefact, files: 3, databases: 1 });
    expect(report.steps.map(({ step }) => step)).toEqual(['verify.bytes', 'verify.databases']);
    expect(await treeDigest(store.destination, { times: 'none' })).toEqual(before);
  });

  test('verify.bytes: a backup is found by its name, by its id and by the beginning of either', async () => {
    const { backupId } = await verify('latest');
    const name = artefact.split('/').at(-1) ?? '';
    for (const reference of [backupId, backupId.slice(0, 9), name, name.slice(0, -2), artefact]) {
      expect((await verify(reference)).backupId).toBe(backupId);
    }
  });

  const DAMAGES: readonly (readonly [StopCode, string, (path: string) => void])[] = [
    [
      'checksum_mismatch',
      'one byte of a file differs',
      (path) => writeFileSync(join(path, 'data/data/files/one'), 'onE'),
    ],
    ['checksum_mismatch', 'a database has grown', (path) => appendFileSync(join(path, 'data/data/a.db'), '\0')],
    [
      'checksum_mismatch',
      'the manifest was edited together with a file',
      (path) => {
        const [file, manifest] = [join(path, 'data/data/files/one'), join(path, 'manifest.json')];
        const old = sha256Of(file);
        writeFileSync(file, 'onE');
        writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(old, sha256Of(file)));
      },
    ],
    ['file_missing', 'a file is gone', (path) => rmSync(join(path, 'data/data/files/deep/two'))],
    ['file_extra', 'a file was added', (path) => writeFileSync(join(path, 'data/data/files/three'), '')],
    [
      'symlink_found',
      'a file was replaced by a link',
      (path) => {
        renameSync(join(path, 'data/data/files/one'), join(path, '../one'));
        symlinkSync(join(path, '../one'), join(path, 'data/data/files/one'));
      },
    ],
    [
      'special_file_found',
      'a FIFO was added',
      (path) => void execFileSync('mkfifo', [join(path, 'data/data/files/pipe')]),
    ],
    ['manifest_missing', 'there is no manifest', (path) => rmSync(join(path, 'manifest.json'))],
    ['manifest_invalid', 'the manifest is no JSON', (path) => appendFileSync(join(path, 'manifest.json'), '}')],
    [
      'path_unsafe',
      'a path in the manifest leaves the root',
      (path) => {
        const manifest = join(path, 'manifest.json');
        writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"files/one"', '"../one"'));
      },
    ],
    ['artefact_missing', 'it is gone', (path) => rmSync(path, { recursive: true })],
  ];
  test.each(DAMAGES)('verify.bytes: %s where %s', async (code, what, damage) => {
    const stop = await stopOf(verify(damagedCopy(artefact, store.directory, damage)));
    expect(stop.code, what).toBe(code);
  });

  test('verify.databases: a database that is damaged behind a manifest of another host is integrity_failed', async () => {
    const path = damagedCopy(artefact, store.directory, (copy) => alterConsistently(copy, 'a.db', rot));
    expect((await stopOf(verify(path))).code).toBe('integrity_failed');
  });

  test('verify.databases: a database without a required table is required_table_missing', async () => {
    const path = damagedCopy(artefact, store.directory, (copy) =>
      alterConsistently(copy, 'a.db', (database) => sql(database, 'ALTER TABLE item RENAME TO thing')),
    );
    expect((await stopOf(verify(path))).code).toBe('required_table_missing');
  });

  test('verify.bytes: the beginning of two names is ambiguous_intent, and an unknown one artefact_missing', async () => {
    const second = new TestStore(engine(), 'twice', {});
    const [one, two] = [(await second.backup()).artefact, (await second.backup()).artefact];
    const ask = async (reference: string) =>
      (await engine().holdfast.verify(second.name, reference, { requestedBy: 'test' })).result();
    for (const name of ['kept-a', 'kept-b']) cpSync(one, join(second.destination, name), { recursive: true });
    const stop = await stopOf(ask('kept'));
    expect(stop.code).toBe('ambiguous_intent');
    expect(stop.details['candidates']).toEqual(['kept-a', 'kept-b']);
    expect((await stopOf(ask('nothing'))).code).toBe('artefact_missing');
    // A newest backup that is damaged is told, not passed over for an older one
    rmSync(join(two, 'manifest.json'));
    expect((await stopOf(ask('latest'))).code).toBe('manifest_missing');
    second.forget();
  });

  test('verify.bytes: a backup of another store is store_differs', async () => {
    const other = new TestStore(engine(), 'other', {});
    const { artefact: foreign } = await other.backup();
    const stop = await stopOf(verify(foreign));
    expect(stop.code).toBe('store_differs');
    expect(STOPS[stop.code].exit).toBe(78);
    other.forget();
  });
});
