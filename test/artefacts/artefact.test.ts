// Artefacts of layout `plain` against the real filesystem: what is not exactly what the manifest lists is a STOP of its own.
import Database from 'better-sqlite3';
import { appendFile, mkdir, mkdtemp, readdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listArtefacts, newestArtefact, resolveArtefact } from '../../artefacts/catalogue.js';
import { backupName, nextNumber } from '../../artefacts/names.js';
import {
  assertTreeMatches,
  beginArtefact,
  dropPartials,
  partialName,
  publishArtefact,
  readArtefact,
} from '../../artefacts/artefact.js';
import { jsonWithin } from '../../artefacts/manifest-file.js';
import { MANIFEST_FORMAT } from '../../domain/manifest.js';
import type { Manifest, ManifestEntry } from '../../domain/manifest.js';
import { Stop } from '../../domain/stop.js';

const METADATA = { mode: 0o644, uid: 0, gid: 0, mtimeNanos: '1' };
const IDS = [
  '0b6f1f8e-3b0e-4a52-9d1c-0d7c1a2b3c4d',
  '0b6f1f8e-aaaa-4a52-9d1c-0d7c1a2b3c4d',
  'ffff1f8e-3b0e-4a52-9d1c-0d7c1a2b3c4d',
] as const;

let destination: string;

beforeEach(async () => {
  destination = await mkdtemp(join(tmpdir(), 'holdfast-artefacts-'));
});
afterEach(() => rm(destination, { recursive: true }));

function manifestOf(backupId: string, createdAt: string, store = 'shop', entries?: readonly ManifestEntry[]): Manifest {
  const sha256 = '0'.repeat(64);
  return {
    format: MANIFEST_FORMAT,
    layout: 'plain',
    backupId,
    number: IDS.findIndex((id) => id === backupId) + 1,
    operation: backupId,
    store,
    createdAt,
    createdBy: 'me',
    host: 'h',
    holdfastVersion: '0',
    platform: { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3' },
    application: null,
    epoch: null,
    cut: {
      instant: createdAt,
      pauseMillis: 0,
      rollbackJournalPauseMillis: 0,
      quiescedMillis: 0,
      lockTries: 1,
      cutTries: 1,
      pinMillis: 0,
      policies: [],
    },
    databases: [
      {
        root: 'data',
        path: 'a.db',
        integrityCheckedAt: createdAt,
        liveStamp: null,
        pageSizeBytes: 4096,
        journalMode: 'wal',
        tables: [],
        sequences: [],
        appendOnly: [],
        migrations: null,
      },
    ],
    entries: entries ?? [
      { type: 'directory', root: 'data', path: '.', ...METADATA },
      { type: 'file', root: 'data', path: 'f.txt', sizeBytes: 2, sha256, ...METADATA },
      { type: 'database', root: 'data', path: 'a.db', sizeBytes: 8192, sha256, ...METADATA },
    ],
  };
}

async function publish(manifest: Manifest): Promise<string> {
  const partial = join(destination, partialName(manifest.store, manifest.host, manifest.backupId));
  await beginArtefact(partial);
  await mkdir(join(partial, 'data/data'));
  await writeFile(join(partial, 'data/data/f.txt'), 'hi');
  const database = new Database(join(partial, 'data/data/a.db'));
  database.pragma('journal_mode = wal');
  database.exec('CREATE TABLE t (x)');
  database.close();
  return (await publishArtefact(partial, destination, backupName(manifest), manifest)).path;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stop) return error.code;
    throw error;
  }
  return 'passes';
}

const numberAfter = (directory: string): Promise<number> => nextNumber(directory, 'plain', '2026-01-02T03:04:05.000Z');

const matches = async (path: string): Promise<string> => codeOf(readArtefact(path).then(assertTreeMatches));

describe('a published artefact', () => {
  test('has nothing beside it, and matches its manifest', async () => {
    const path = await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    expect(await readdir(destination)).toEqual(['000001-20260102T030405Z-0b6f1f8e']);
    expect(await matches(path)).toBe('passes');
  });

  test('still matches after somebody looked into its database, until the log holds something', async () => {
    const path = await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    const reader = new Database(join(path, 'data/data/a.db'), { readonly: true });
    reader.prepare('SELECT * FROM t').all();
    reader.close();
    expect((await readdir(join(path, 'data/data'))).filter((name) => name.startsWith('a.db-'))).not.toEqual([]);
    expect(await matches(path)).toBe('passes');
    await appendFile(join(path, 'data/data/a.db-wal'), 'x');
    expect(await matches(path)).toBe('file_extra');
  });

  test.each([
    ['file_extra', (data: string) => writeFile(join(data, 'new'), '')],
    ['file_extra', (data: string) => writeFile(join(data, 'f.txt-shm'), '')],
    ['file_missing', (data: string) => unlink(join(data, 'f.txt'))],
    ['checksum_mismatch', (data: string) => appendFile(join(data, 'f.txt'), '!')],
    [
      'symlink_found',
      async (data: string) => {
        await rename(join(data, 'f.txt'), join(data, '../../g'));
        await symlink('../../g', join(data, 'f.txt'));
      },
    ],
    [
      'checksum_mismatch',
      async (data: string) => {
        await unlink(join(data, 'f.txt'));
        await mkdir(join(data, 'f.txt'));
      },
    ],
  ])('that was changed is %s', async (code, change) => {
    const path = await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    await change(join(path, 'data/data'));
    expect(await matches(path)).toBe(code);
  });
});

describe('a manifest', () => {
  const entries = (...paths: readonly string[]): readonly ManifestEntry[] => [
    ...manifestOf(IDS[0], '2026-01-02T03:04:05.000Z').entries,
    ...paths.map((path): ManifestEntry => ({
      type: 'file',
      root: 'data',
      path,
      sizeBytes: 0,
      sha256: '0'.repeat(64),
      ...METADATA,
    })),
  ];

  test.each([
    ['path_unsafe', ['../x']],
    ['path_unsafe', ['/etc/passwd']],
    ['path_unsafe', ['a/../../b']],
    ['path_unsafe', ['f.txt']],
    ['path_unsafe', ['a//b']],
    ['manifest_invalid', ['nowhere/x']],
  ] as const)('is %s with a path %j, for who reads it and for who would publish it', async (code, paths) => {
    const path = await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    const unsafe = manifestOf(IDS[1], '2026-01-03T03:04:05.000Z', 'shop', entries(...paths));
    await writeFile(join(path, 'manifest.json'), JSON.stringify(unsafe));
    expect(await codeOf(readArtefact(path))).toBe(code);
    expect(await codeOf(publish(unsafe))).toBe(code);
    expect((await listArtefacts(destination, 'shop')).map((entry) => entry.path)).toEqual([path]);
  });

  test('that its reader would refuse is not published', async () => {
    const manifest = manifestOf(IDS[0], '2026-01-02T03:04:05.000Z');
    const [database] = manifest.databases;
    if (database === undefined) throw new Error('no database');
    const sequences = [{ table: 't', column: 'n', value: 'text' }];
    expect(await codeOf(publish({ ...manifest, databases: [{ ...database, sequences }] }))).toBe('manifest_invalid');
    expect(await listArtefacts(destination, 'shop')).toEqual([]);
  });

  test.each(['x', '', '2026-06-30T23:59:60Z', '2026-01-02 03:04:05'])(
    'whose cut was made at no time that there is, %j, is refused by its reader',
    async (instant) => {
      const manifest = manifestOf(IDS[0], '2026-01-02T03:04:05.000Z');
      const path = await publish(manifest);
      const altered = { ...manifest, cut: { ...manifest.cut, instant } };
      await writeFile(join(path, 'manifest.json'), JSON.stringify(altered));
      expect(await codeOf(readArtefact(path))).toBe('manifest_invalid');
    },
  );

  test('holds the texts of an append-only column, and times that 64 bits of nanoseconds do not', async () => {
    const manifest = manifestOf(IDS[0], '2026-01-02T03:04:05.000Z');
    const appendOnly = [{ table: 't', column: 'n', upTo: '01ARZ3NDEK', rows: 1, sha256: '0'.repeat(64) }];
    const path = await publish({
      ...manifest,
      databases: manifest.databases.map((database) => ({ ...database, appendOnly })),
      entries: manifest.entries.map((entry) => ({ ...entry, mtimeNanos: '13569465600000000000' })),
    });
    expect((await readArtefact(path)).manifest.databases[0]?.appendOnly).toEqual(appendOnly);
  });

  test('is refused for its size where it is written, not only where it is read', () => {
    const text = jsonWithin('here', { é: 1 });
    expect(jsonWithin('here', { é: 1 }, Buffer.byteLength(text))).toBe(text);
    expect(() => jsonWithin('here', { é: 1 }, Buffer.byteLength(text) - 1)).toThrow('would be larger');
  });

  test('that is missing, no JSON, or has an unknown key is a STOP of its own', async () => {
    const path = await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    await writeFile(join(path, 'manifest.json'), '{');
    expect(await codeOf(readArtefact(path))).toBe('manifest_invalid');
    await writeFile(
      join(path, 'manifest.json'),
      JSON.stringify({ ...manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'), more: 1 }),
    );
    expect(await codeOf(readArtefact(path))).toBe('manifest_invalid');
    await unlink(join(path, 'manifest.json'));
    expect(await codeOf(readArtefact(path))).toBe('manifest_missing');
    expect(await codeOf(readArtefact(join(destination, 'none')))).toBe('artefact_missing');
  });
});

describe('the catalogue', () => {
  beforeEach(async () => {
    await publish(manifestOf(IDS[0], '2026-01-02T03:04:05.000Z'));
    await publish(manifestOf(IDS[1], '2026-01-03T03:04:05.000Z'));
    await publish(manifestOf(IDS[2], '2026-01-04T03:04:05.000Z', 'other'));
  });
  const numbered = (number: number, createdAt: string, id = `${number}`.padStart(8, 'e')): Manifest => ({
    ...manifestOf(`${id}-3b0e-4a52-9d1c-0d7c1a2b3c4d`, createdAt),
    number,
  });
  const find = async (reference: string): Promise<string> =>
    (await resolveArtefact(destination, 'shop', reference)).manifest.backupId;

  test('finds latest of the store, a number, a name, an id, and a unique prefix of either', async () => {
    const found: string[] = [];
    for (const reference of ['latest', '1', '000001', '000001-2026', IDS[1], '0b6f1f8e-aaaa'])
      found.push(await find(reference));
    expect(found).toEqual([IDS[1], IDS[0], IDS[0], IDS[0], IDS[1], IDS[1]]);
  });

  test('numbers a backup one above the highest, whichever store has it and whatever else lies there', async () => {
    expect(await numberAfter(destination)).toBe(4);
    await mkdir(join(destination, '.partial-shop.x.000009-20260102T030405Z-0b6f1f8e'));
    await mkdir(join(destination, '20990102T030405Z-0b6f1f8e'));
    expect(await numberAfter(destination)).toBe(4);
    expect(await numberAfter(join(destination, 'none'))).toBe(1);
  });

  test('leaves a directory that no number can follow out of the numbers, or refuses to number a backup after it', async () => {
    // More digits than a number is exact with: no name that is given to backups
    await mkdir(join(destination, '9007199254740991-20260102T030405Z-0b6f1f8e'));
    expect(await numberAfter(destination)).toBe(4);
    await mkdir(join(destination, '999999999999998-20260102T030405Z-0b6f1f8e'));
    expect(await numberAfter(destination)).toBe(999_999_999_999_999);
    await mkdir(join(destination, '999999999999999-20260102T030405Z-0b6f1f8e'));
    expect(await codeOf(numberAfter(destination))).toBe('manifest_invalid');
  });

  test('orders by number: a backup that was made while the clock was ahead is `latest` until the next one', async () => {
    const ahead = numbered(4, '2099-01-01T00:00:00.000Z');
    await publish(ahead);
    expect(await find('latest')).toBe(ahead.backupId);
    const next = numbered(5, '2026-01-05T03:04:05.000Z');
    await publish(next);
    expect(await find('latest')).toBe(next.backupId);
    expect((await listArtefacts(destination, 'shop')).map(({ number }) => number)).toEqual([1, 2, 4, 5]);
  });

  test('orders numbers as numbers, and of one number the earlier instant, then the lesser id, first', async () => {
    const rest = [
      numbered(1_000_000, '2026-01-06T00:00:00.000Z', 'aaaaaaaa'),
      numbered(999_999, '2026-01-07T00:00:00.000Z', 'cccccccc'),
      numbered(999_999, '2026-01-07T00:00:00.000Z', 'bbbbbbbb'),
      numbered(999_999, '2026-01-06T00:00:00.000Z', 'dddddddd'),
    ];
    for (const manifest of rest) await publish(manifest);
    const names = (await listArtefacts(destination, 'shop')).map(({ backupId }) => backupId?.slice(0, 8));
    expect(names.slice(2)).toEqual(['dddddddd', 'bbbbbbbb', 'cccccccc', 'aaaaaaaa']);
    expect((await find('latest')).slice(0, 8)).toBe('aaaaaaaa');
    // Digits are a number in full, never the beginning of a longer one
    await publish(numbered(100_000, '2026-01-08T00:00:00.000Z', 'abababab'));
    expect((await find('100000')).slice(0, 8)).toBe('abababab');
  });

  test('takes digits for a number and for nothing else, whatever an id or another name begins with', async () => {
    await publish(numbered(4, '2026-01-05T03:04:05.000Z', '2ccccccc'));
    expect(await find('2')).toBe(IDS[1]);
    await rm(join(destination, '000002-20260103T030405Z-0b6f1f8e'), { recursive: true });
    expect(await codeOf(resolveArtefact(destination, 'shop', '2'))).toBe('artefact_missing');
    // A broken backup that nobody has named is in nobody's way
    await publish(numbered(5, '2026-01-06T03:04:05.000Z', '4ddddddd'));
    await unlink(join(destination, '000005-20260106T030405Z-4ddddddd', 'manifest.json'));
    expect((await find('4')).slice(0, 8)).toBe('2ccccccc');
    await publish(numbered(6, '2026-01-07T03:04:05.000Z', '12345678'));
    expect([await find('12345678'), await find('12345678-3b'), await find('2c'), await find('6')]).toEqual([
      ...Array<string>(2).fill('12345678-3b0e-4a52-9d1c-0d7c1a2b3c4d'),
      '2ccccccc-3b0e-4a52-9d1c-0d7c1a2b3c4d',
      '12345678-3b0e-4a52-9d1c-0d7c1a2b3c4d',
    ]);
  });

  test('refuses a number that is the whole name of another backup', async () => {
    await rename(join(destination, '000002-20260103T030405Z-0b6f1f8e'), join(destination, '1'));
    expect(await codeOf(resolveArtefact(destination, 'shop', '1'))).toBe('ambiguous_intent');
    expect(await find('000001')).toBe(IDS[0]);
  });

  test('does not take a backup for a later one because somebody has renamed it', async () => {
    await rename(
      join(destination, '000001-20260102T030405Z-0b6f1f8e'),
      join(destination, '000009-20260102T030405Z-0b6f1f8e'),
    );
    expect(await codeOf(resolveArtefact(destination, 'shop', 'latest'))).toBe('manifest_invalid');
    expect((await listArtefacts(destination, 'shop')).at(-1)?.stop?.message).toMatch(/is the backup 000001-/);
    // A name that claims nothing is as good as any
    await rename(join(destination, '000009-20260102T030405Z-0b6f1f8e'), join(destination, 'kept'));
    expect([await find('latest'), await find('kept')]).toEqual([IDS[1], IDS[0]]);
  });

  test('refuses what names two backups, or none', async () => {
    expect(await codeOf(resolveArtefact(destination, 'shop', '0b6f'))).toBe('ambiguous_intent');
    expect(await codeOf(resolveArtefact(destination, 'shop', 'abcd'))).toBe('artefact_missing');
    expect(await codeOf(resolveArtefact(destination, 'nobody', 'latest'))).toBe('artefact_missing');
  });

  test('lists a broken backup with its STOP, and `latest` does not pass over it', async () => {
    const [, second] = await listArtefacts(destination, 'shop');
    await unlink(join(second?.path ?? '', 'manifest.json'));
    expect((await listArtefacts(destination, 'shop')).map((entry) => entry.stop?.code ?? 'readable')).toEqual([
      'readable',
      'manifest_missing',
    ]);
    expect((await newestArtefact(destination, 'shop'))?.stop?.code).toBe('manifest_missing');
    expect(await codeOf(resolveArtefact(destination, 'shop', 'latest'))).toBe('manifest_missing');
  });

  test('never shows what is unfinished, and drops only what the host has of the store', async () => {
    const others = [
      partialName('shop-two', 'h', 'x'),
      partialName('shop', 'h.two', 'x'),
      partialName('shop', 'b/c', 'x'),
    ];
    for (const name of [partialName('shop', 'h', 'x'), ...others]) await mkdir(join(destination, name));
    expect(await listArtefacts(destination, 'shop')).toHaveLength(2);
    await dropPartials(destination, 'shop', 'h');
    expect((await readdir(destination)).filter((name) => name.startsWith('.'))).toEqual(others.toSorted());
  });
});
