// What is packed comes back byte for byte, is packed once, and is recognised again by an index that tells when it is damaged.
import { randomBytes, randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import type { ObjectFact } from '../../domain/vault.js';
import { ChunkIndex } from '../../vault/chunk-index.js';
import { directoryPlace } from '../../vault/directory-place.js';
import { announce, assertNothingCondemned, withdraw } from '../../vault/intents.js';
import { Packer } from '../../vault/packer.js';
import type { PackJob, PackResult } from '../../vault/packer.js';
import type { Place } from '../../vault/place.js';
import { RECENT_CHUNKS_BYTES, RecentChunks } from '../../vault/recent-chunks.js';
import { checkFiles, unpackFiles } from '../../vault/unpacker.js';
import type { UnpackJob } from '../../vault/unpacker.js';
import { stopOf } from '../support/engine.js';
import { makePerson, temporaryDirectory } from './trust-room.js';

const VAULT = '2f0c4b7e-9a0e-4c1b-8a59-6d9d5f2d8a11';
const STORE = 'shop';

interface Bench {
  readonly directory: string;
  readonly place: Place;
  readonly indexPath: string;
  readonly identity: string;
  readonly recipient: string;
}

function makeBench(): Bench {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, 'vault'));
  mkdirSync(join(directory, 'files'));
  const { identity, recipient } = makePerson(directory, 'key');
  const place = directoryPlace(join(directory, 'vault'));
  return { directory, place, indexPath: join(directory, 'index.db'), identity, recipient };
}

interface Packed {
  readonly jobs: readonly UnpackJob[];
  readonly packs: readonly ObjectFact[];
  readonly addedBytes: number;
}

/** Packs files as a backup does; `ends` with the commit of the index, or as if the process had been killed before. */
async function pack(
  bench: Bench,
  jobs: readonly PackJob[],
  ends: 'committed' | 'killed' | 'rehashed' = 'committed',
): Promise<Packed> {
  const index = new ChunkIndex(bench.indexPath, VAULT);
  const packer = new Packer({ ...bench, vault: VAULT, index, store: STORE, reuses: ends !== 'rehashed' });
  try {
    const results: PackResult[] = [];
    await packer.packEach(jobs, {}, (number, result) => (results[number] = result));
    await packer.finish();
    const numbers = [...new Set(results.flatMap(({ runs }) => runs.map(([number]) => number)))];
    const packs = [...(await packer.factsOf(numbers)).values()];
    if (ends !== 'killed') index.commit(STORE, []);
    const unpackJobs = results.map(({ runs, ...fact }, number) => ({
      name: jobs[number]?.source ?? '',
      ...fact,
      runs: runs.map(([of, ...rest]) => [numbers.indexOf(of), ...rest] as const),
    }));
    return { jobs: unpackJobs, packs, addedBytes: packer.addedBytes };
  } finally {
    await packer.close();
    index.close();
  }
}

function fileOf(bench: Bench, name: string, bytes: Uint8Array): string {
  const path = join(bench.directory, 'files', name);
  writeFileSync(path, bytes);
  return path;
}

const packsIn = ({ directory }: Bench): readonly string[] =>
  readdirSync(join(directory, 'vault'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.age'));

async function unpacked(bench: Bench, { jobs, packs }: Packed): Promise<readonly Buffer[]> {
  const out = join(bench.directory, `out-${randomUUID()}`);
  mkdirSync(out);
  const targets = jobs.map((_job, number) => join(out, String(number)));
  await unpackFiles(
    jobs.map((job, number) => ({ ...job, target: targets[number] ?? '' })),
    { place: bench.place, packs, identities: [bench.identity] },
  );
  return targets.map((target) => readFileSync(target));
}

describe('packing', () => {
  test('F-10: files and databases of any length come back as they were', { timeout: 120_000 }, async () => {
    const lengths = fc.oneof(
      fc.constantFrom(0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1_048_575, 1_048_576, 1_048_577, 3_000_000),
      fc.integer({ min: 0, max: 200_000 }),
    );
    const file = fc.record({
      kind: fc.constantFrom('database' as const, 'file' as const),
      bytes: lengths,
      isRandom: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 6 }), async (files) => {
        const bench = makeBench();
        const contents = files.map(({ bytes, isRandom }) =>
          isRandom ? randomBytes(bytes) : Buffer.alloc(bytes, 'ab'),
        );
        const jobs = files.map(({ kind }, number): PackJob => ({
          kind,
          source: fileOf(bench, String(number), contents[number] ?? Buffer.alloc(0)),
        }));
        const packed = await pack(bench, jobs);
        expect((await unpacked(bench, packed)).map((bytes, number) => bytes.equals(contents[number] ?? bytes))).toEqual(
          files.map(() => true),
        );
        expect(packed.jobs.map(({ sizeBytes }) => sizeBytes)).toEqual(files.map(({ bytes }) => bytes));
      }),
      { numRuns: 25 },
    );
  });

  test('F-10: the same bytes are written once, in one backup and in the next', async () => {
    const bench = makeBench();
    const bytes = randomBytes(300_000);
    const once = await pack(bench, [{ kind: 'file', source: fileOf(bench, 'one', bytes) }]);
    const twice = await pack(bench, [
      { kind: 'file', source: fileOf(bench, 'two', bytes) },
      { kind: 'file', source: fileOf(bench, 'three', bytes) },
    ]);
    expect(once.addedBytes).toBeGreaterThan(300_000);
    expect(twice.addedBytes).toBe(0);
    expect((await unpacked(bench, twice)).map((found) => found.equals(bytes))).toEqual([true, true]);
  });

  test('F-10: of a database of which one page was changed, one chunk is written', async () => {
    const bench = makeBench();
    const bytes = randomBytes(4 * 1024 * 1024);
    const source = fileOf(bench, 'a.db', bytes);
    await pack(bench, [{ kind: 'database', source }]);
    bytes.fill(1, 1_000_000, 1_000_100);
    writeFileSync(source, bytes);
    const second = await pack(bench, [{ kind: 'database', source }]);
    expect(second.addedBytes).toBeLessThan(20_000);
    expect((await unpacked(bench, second))[0]?.equals(bytes)).toBe(true);
  });

  test('what a killed backup has packed is written again, and never referred to', async () => {
    const bench = makeBench();
    const source = fileOf(bench, 'one', randomBytes(100_000));
    const killed = await pack(bench, [{ kind: 'file', source }], 'killed');
    const next = await pack(bench, [{ kind: 'file', source }]);
    expect(next.addedBytes).toBeGreaterThan(100_000);
    expect(next.packs.map(({ sha256 }) => sha256)).not.toEqual(killed.packs.map(({ sha256 }) => sha256));
    expect(packsIn(bench)).toHaveLength(2);
  });

  test('reused packs that are gone are vault_object_missing, and the backup after it writes their chunks anew', async () => {
    const bench = makeBench();
    const jobs: readonly PackJob[] = [
      { kind: 'file', source: fileOf(bench, 'one', randomBytes(100_000)) },
      { kind: 'database', source: fileOf(bench, 'a.db', randomBytes(100_000)) },
    ];
    await pack(bench, jobs);
    for (const name of packsIn(bench)) rmSync(join(bench.directory, 'vault', name));
    expect(await stopOf(pack(bench, jobs))).toMatchObject({ code: 'vault_object_missing', details: { count: 2 } });
    expect((await pack(bench, jobs)).addedBytes).toBeGreaterThan(200_000);
  });

  test('what is written anew is what is reused from then on', async () => {
    const bench = makeBench();
    const jobs: readonly PackJob[] = [{ kind: 'file', source: fileOf(bench, 'one', randomBytes(100_000)) }];
    await pack(bench, jobs);
    const anew = await pack(bench, jobs, 'rehashed');
    expect(anew.addedBytes).toBeGreaterThan(100_000);
    const next = await pack(bench, jobs);
    expect([next.addedBytes, next.packs]).toEqual([0, anew.packs]);
  });

  test('a file that grows while it is packed is source_changed', async () => {
    const bench = makeBench();
    const source = fileOf(bench, 'one', Buffer.from('one'));
    const { ino, size } = statSync(source);
    appendFileSync(source, 'more');
    const expected = { inode: String(ino), sizeBytes: size };
    expect((await stopOf(pack(bench, [{ kind: 'file', source, expected }]))).code).toBe('source_changed');
  });

  test('a pack of which a byte was changed names each file that it harms, and no other', async () => {
    const bench = makeBench();
    const whole = await pack(bench, [
      { kind: 'file', source: fileOf(bench, 'one', randomBytes(50_000)) },
      { kind: 'database', source: fileOf(bench, 'a.db', randomBytes(50_000)) },
    ]);
    const harmed = whole.packs[whole.jobs[1]?.runs[0]?.[0] ?? 0]?.sha256 ?? '';
    const path = join(bench.directory, 'vault', 'packs', harmed.slice(0, 2), `${harmed}.age`);
    const bytes = readFileSync(path);
    bytes[1000] = (bytes[1000] ?? 0) ^ 4;
    writeFileSync(path, bytes);
    const faults: string[] = [];
    const options = { place: bench.place, packs: whole.packs, identities: [bench.identity] };
    // The sound one comes after the damaged one, in the same thread
    const jobs = whole.jobs.toReversed();
    await checkFiles(jobs, options, ({ name, stop }) => faults.push(`${name} ${stop.code}`));
    expect(faults).toEqual([`${whole.jobs[1]?.name} vault_invalid`]);
  });
});

describe('the index', () => {
  test('of another vault, of another version, or that is no database, is index_corrupt', () => {
    const { indexPath } = makeBench();
    new ChunkIndex(indexPath, VAULT).close();
    const codeOf = (): string => {
      try {
        new ChunkIndex(indexPath, VAULT).close();
        return 'opened';
      } catch (error) {
        return error instanceof Stop ? error.code : String(error);
      }
    };
    expect(() => new ChunkIndex(indexPath, randomUUID())).toThrow(expect.objectContaining({ code: 'index_corrupt' }));
    const database = new Database(indexPath);
    database.pragma('user_version = 7');
    database.close();
    expect(codeOf()).toBe('index_corrupt');
    writeFileSync(indexPath, 'no database at all'.repeat(100));
    expect(codeOf()).toBe('index_corrupt');
    rmSync(indexPath);
    expect(codeOf()).toBe('opened');
  });

  test.each(['chunk', 'pack', 'file'] as const)('with a damaged row of table %s is index_corrupt', async (table) => {
    const bench = makeBench();
    const source = fileOf(bench, 'one', randomBytes(1000));
    await pack(bench, [{ kind: 'file', source }]);
    const index = new ChunkIndex(bench.indexPath, VAULT);
    onTestFinished(() => index.close());
    const known = { root: 'data', path: 'one', stamp: 's', sha256: 'x', sizeBytes: 1, runs: [], facts: '' };
    index.commit(STORE, [known]);
    expect(index.file(STORE, known)).toMatchObject({ stamp: 's' });
    const database = new Database(bench.indexPath);
    database.exec(table === 'chunk' ? 'UPDATE chunk SET offset = offset + 1' : `UPDATE ${table} SET sizeBytes = 2`);
    database.close();
    const use = {
      chunk: () => pack(bench, [{ kind: 'file', source }]),
      pack: async () => index.packs(),
      file: async () => index.file(STORE, known),
    }[table];
    expect((await stopOf(use())).code).toBe('index_corrupt');
  });

  test('forgets a file that is gone, and one whose stat says nothing', async () => {
    const { indexPath } = makeBench();
    const index = new ChunkIndex(indexPath, VAULT);
    onTestFinished(() => index.close());
    const known = { root: 'data', sha256: 'x', sizeBytes: 1, runs: [], facts: '' };
    index.commit(STORE, [
      { ...known, path: 'one', stamp: 's' },
      { ...known, path: 'two', stamp: '' },
    ]);
    index.commit(STORE, [{ ...known, path: 'two', stamp: '', sha256: 'y' }]);
    expect([
      index.file(STORE, { root: 'data', path: 'one' }),
      index.file(STORE, { root: 'data', path: 'two' }),
    ]).toEqual([null, expect.objectContaining({ sha256: 'y' })]);
  });
});

test('chunks of a running backup are found while there is room, and only forgotten when there is none', () => {
  const recent = new RecentChunks(new SharedArrayBuffer(RECENT_CHUNKS_BYTES));
  const digests = Array.from({ length: 1000 }, () => randomBytes(32));
  for (const [number, digest] of digests.entries()) recent.add(digest, [2 ** 40 + number, number, 2, 3]);
  expect(digests.map((digest) => recent.find(digest)?.[0])).toEqual(digests.map((_digest, number) => 2 ** 40 + number));
  expect(recent.find(randomBytes(32))).toBeNull();
  for (let number = 0; number < 200_000; number += 1) recent.add(randomBytes(32), [1, 2, 3, 4]);
  expect(digests.map((digest, number) => recent.find(digest)?.[1] === number).every(Boolean)).toBe(true);
});

describe('intents', () => {
  const intent = { host: 'web1', store: STORE, startedAt: '2026-01-01T00:00:00Z', generation: 0 };

  test('one a host and store: what a killed backup left is replaced, those of others stay', async () => {
    const { place } = makeBench();
    const [killed, other, next] = [randomUUID(), randomUUID(), randomUUID()];
    await announce(place, { ...intent, operation: killed });
    await announce(place, { ...intent, operation: other, host: 'web2' });
    await announce(place, { ...intent, operation: next });
    expect(await place.children('intents')).toEqual([`${other}.json`, `${next}.json`].sort());
    await withdraw(place, next);
    expect(await place.children('intents')).toEqual([`${other}.json`]);
  });

  test('a vault in which packs are condemned is vault_newer for a version that knows nothing of them', async () => {
    const { place } = makeBench();
    await assertNothingCondemned(place);
    await place.putNew('condemned/0000000000000001.json', Buffer.from('{}'));
    expect((await stopOf(assertNothingCondemned(place))).code).toBe('vault_newer');
  });
});
