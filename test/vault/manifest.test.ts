// Manifests of a vault: what is written is read again exactly, by age and zstd too, and nothing else is accepted.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateIdentity } from 'age-encryption';
import { describe, expect, test } from 'vitest';
import { compress } from 'zstd-napi';
import type { Envelope, ObjectFact, VaultManifestLine } from '../../domain/vault.js';
import { seal } from '../../vault/age-file.js';
import { manifestFile, readManifest } from '../../vault/manifest.js';
import type { ManifestSource } from '../../vault/manifest.js';
import { codeOf, stopOf, temporaryDirectory } from '../files/temporary.js';
import { requires } from '../support/requires.js';
import {
  BACKUP,
  IDENTITY,
  LINES,
  PACKS,
  RECIPIENT,
  database,
  directory,
  envelopeOf,
  file,
  writeManifest,
} from './manifest-lines.js';

const TOTALS = { files: 4, databases: 1, sizeBytes: 50 };
const NONE = { files: 0, databases: 0, sizeBytes: 0 };

async function read(
  source: ManifestSource,
  envelope: Envelope,
  identities: readonly string[] = [IDENTITY],
): Promise<readonly VaultManifestLine[]> {
  const lines: VaultManifestLine[] = [];
  for await (const line of readManifest(source, { name: 'manifest.age', envelope, identities })) lines.push(line);
  return lines;
}

const factOf = (bytes: Uint8Array): ObjectFact => ({
  sha256: createHash('sha256').update(bytes).digest('hex'),
  sizeBytes: bytes.length,
});

/** Reads bytes that an envelope names as they are, as a writer could have written them. */
function readBytes(bytes: Uint8Array, totals = TOTALS, packs = PACKS): Promise<readonly VaultManifestLine[]> {
  return read(bytes, envelopeOf(factOf(bytes), packs, totals));
}

const readPlain = async (plain: Uint8Array, totals = TOTALS): Promise<readonly VaultManifestLine[]> =>
  readBytes(await seal(RECIPIENT, plain), totals);

const textOf = (lines: readonly unknown[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');
const ENDED: readonly VaultManifestLine[] = [...LINES, { end: { lines: LINES.length } }];

describe('a manifest', () => {
  test('is read as it was written, from a file and from memory, with what the envelope is to say', async () => {
    const spool = temporaryDirectory();
    const written = await writeManifest(spool, LINES, PACKS);
    const bytes = readFileSync(written.path);
    expect(written).toMatchObject({ ...factOf(bytes), lines: LINES.length, totals: TOTALS });
    const envelope = envelopeOf(written, PACKS, written.totals);
    expect(await read(manifestFile(written.path), envelope)).toEqual(ENDED);
    expect(await read(bytes, envelope)).toEqual(ENDED);
    async function* singly(): AsyncGenerator<Uint8Array> {
      for (const byte of bytes) yield await Promise.resolve(Uint8Array.of(byte));
    }
    expect(await read(singly, envelope)).toEqual(ENDED);
  });

  test.skipIf(requires('age', 'zstd'))('is opened by age and zstd', async () => {
    const spool = temporaryDirectory();
    const { path } = await writeManifest(spool, LINES, PACKS);
    writeFileSync(join(spool, 'identity'), `${IDENTITY}\n`);
    const compressed = execFileSync('age', ['-d', '-i', join(spool, 'identity'), path]);
    const text = execFileSync('zstd', ['-dcq'], { input: compressed }).toString();
    expect(text).toBe(textOf(ENDED));
  });

  test('of age and zstd is read', async () => {
    expect(await readPlain(compress(Buffer.from(textOf(ENDED))))).toEqual(ENDED);
  });

  test('of no file at all is one', async () => {
    const written = await writeManifest(temporaryDirectory(), [{ backup: BACKUP }], []);
    expect(await read(manifestFile(written.path), envelopeOf(written, [], NONE))).toHaveLength(2);
  });

  test('longer than many blocks is whole, and only its ciphertext was on the disk, for its owner alone', async () => {
    const spool = temporaryDirectory();
    const many = Array.from({ length: 20_000 }, (_, index) => {
      const sha256 = createHash('sha256').update(String(index)).digest('hex');
      return file('data', `secret-${String(index).padStart(6, '0')}`, { sha256 });
    });
    const lines = [{ backup: BACKUP }, directory('data', '.'), ...many];
    const written = await writeManifest(spool, lines, PACKS.slice(0, 1));
    expect(written.sizeBytes).toBeGreaterThan(500_000);
    const envelope = envelopeOf(written, PACKS.slice(0, 1), written.totals);
    expect(await read(manifestFile(written.path), envelope)).toEqual([...lines, { end: { lines: lines.length } }]);
    expect(readdirSync(spool)).toHaveLength(1);
    expect(readFileSync(written.path).includes('secret')).toBe(false);
    expect(statSync(written.path).mode & 0o777).toBe(0o600);
  });

  test('that is given up leaves nothing', async () => {
    const spool = temporaryDirectory();
    expect(await codeOf(() => writeManifest(spool, LINES.slice(1), PACKS))).toBe('vault_invalid');
    expect(readdirSync(spool)).toEqual([]);
  });

  test('opens to its identity alone', async () => {
    const written = await writeManifest(temporaryDirectory(), LINES, PACKS);
    const envelope = envelopeOf(written, PACKS, TOTALS);
    const stranger = await generateIdentity();
    expect(await codeOf(() => read(manifestFile(written.path), envelope, [stranger]))).toBe('vault_sealed');
    expect(await read(manifestFile(written.path), envelope, [stranger, IDENTITY])).toEqual(ENDED);
  });

  test('yields not a line before its digest is right', async () => {
    const bytes = await seal(RECIPIENT, compress(Buffer.from(textOf(ENDED))));
    const envelope = envelopeOf({ ...factOf(bytes), sha256: '0'.repeat(64) }, PACKS, TOTALS);
    const lines = readManifest(bytes, { name: 'manifest.age', envelope, identities: [IDENTITY] });
    expect(await codeOf(() => lines.next())).toBe('vault_invalid');
  });

  test('that changes while it is read does not come to its end', async () => {
    const written = await writeManifest(temporaryDirectory(), LINES, PACKS);
    const other = await writeManifest(temporaryDirectory(), [{ backup: BACKUP }], []);
    const sources = [written.path, other.path];
    const changing = (): AsyncIterable<Uint8Array> => manifestFile(sources.shift() ?? other.path)();
    expect(await codeOf(() => read(changing, envelopeOf(written, PACKS, TOTALS)))).toBe('vault_invalid');
  });

  test('of another backup, or with other totals or packs than the envelope says, is refused', async () => {
    const written = await writeManifest(temporaryDirectory(), LINES, PACKS);
    const envelope = envelopeOf(written, PACKS, TOTALS);
    for (const other of [
      { store: 'other' },
      { number: 2 },
      { backupId: BACKUP.operation },
      { host: 'beta' },
      { createdAt: '2026-01-02T03:04:06.000Z' },
      { epoch: { id: 'x', counter: 1 } },
      { platform: { ...BACKUP.platform, arch: 'arm64' } },
      { totals: { ...envelope.totals, files: 5 } },
      { totals: { ...envelope.totals, sizeBytes: 51 } },
      { packs: PACKS.slice(0, 1) },
      { packs: [...PACKS, { sha256: 'd'.repeat(64), sizeBytes: 1 }] },
      { packs: PACKS.map((pack) => ({ ...pack, sizeBytes: 4 })) },
    ]) {
      const stop = await stopOf(() => read(manifestFile(written.path), { ...envelope, ...other }));
      expect([Object.keys(other), stop.code]).toEqual([Object.keys(other), 'vault_invalid']);
    }
  });
});

/** Lines that break one rule each, by the rule. */
const start = [{ backup: BACKUP }, directory('data', '.')];
const BROKEN: Readonly<Record<string, readonly unknown[]>> = {
  'no line at all': [],
  'no backup first': [directory('data', '.')],
  'two backups': [{ backup: BACKUP }, { backup: BACKUP }],
  'a backup of another format': [{ backup: { ...BACKUP, format: 'holdfast-manifest-1' } }],
  'a backup with entries': [{ backup: { ...BACKUP, entries: [] } }],
  'an unknown line': [...start, { link: {} }],
  'a line of two keys': [...start, { ...directory('data', 'a'), ...file('data', 'b') }],
  'a line that is no object': [...start, [directory('data', 'a')]],
  'a line that is null': [...start, null],
  'a line of a name that every object has': [...start, { toString: {} }],
  'a directory of a type': [...start, { directory: { type: 'directory', root: 'data', path: 'a' } }],
  'an unknown key': [...start, { file: { ...(file('data', 'a') as { file: object }).file, colour: 1 } }],
  'a malformed mode': [
    ...start,
    { directory: { ...(directory('data', 'a') as { directory: object }).directory, mode: 4096 } },
  ],
  'a malformed digest': [...start, file('data', 'a', { sha256: 'A'.repeat(64) })],
  'a malformed time': [...start, file('data', 'a', { mtimeNanos: '1.5' })],
  'a run of three numbers': [
    ...start,
    { file: { ...(file('data', 'a') as { file: object }).file, runs: [[0, 0, 20]] } },
  ],
  'a negative offset': [...start, file('data', 'a', { runs: [[0, -1, 20, 10]] })],
  'a fraction of an offset': [...start, file('data', 'a', { runs: [[0, 0.5, 20, 10]] })],
  'an unsafe offset': [...start, file('data', 'a', { runs: [[0, 2 ** 53, 20, 10]] })],
  'an end of a run that is unsafe': [...start, file('data', 'a', { runs: [[0, 2 ** 53 - 1, 20, 10]] })],
  'a run of no length': [...start, file('data', 'a', { runs: [[0, 0, 0, 10]] })],
  'a run of no size': [
    ...start,
    file('data', 'a', {
      runs: [
        [0, 0, 20, 10],
        [0, 20, 20, 0],
      ],
    }),
  ],
  'a pack that the envelope has not': [...start, file('data', 'a', { runs: [[2, 0, 20, 10]] })],
  'a run beyond its pack': [...start, file('data', 'a', { runs: [[0, 990, 20, 10]] })],
  'sizes that are not the sum': [...start, file('data', 'a', { sizeBytes: 11 })],
  'an empty file with a run': [...start, file('data', 'a', { sizeBytes: 0 })],
  'a file without its runs': [...start, file('data', 'a', { runs: [] })],
  'names that are not sorted': [...start, file('data', 'b'), file('data', 'a')],
  'names sorted by UTF-16': [...start, file('data', '\u{1F600}'), file('data', '\uFF5E')],
  'roots that are not sorted': [{ backup: BACKUP }, directory('b', '.'), directory('a', '.')],
  'a root after its entries': [{ backup: BACKUP }, file('data', '-'), directory('data', '.')],
  'a name twice': [...start, file('data', 'a'), file('data', 'a')],
  'a name of a file and a directory': [...start, file('data', 'a'), directory('data', 'a')],
  'a root that is a file': [{ backup: BACKUP }, directory('a', '.'), file('data', '.')],
  'no root': [{ backup: BACKUP }, directory('data', 'a')],
  'another root than the directory': [...start, directory('more', 'a')],
  'no directory': [...start, file('data', 'a/b')],
  'a directory that is a file': [...start, file('data', 'a'), file('data', 'a/b')],
  'a directory that only begins like it': [...start, directory('data', 'a'), file('data', 'a-b/c')],
  'a directory of another root': [...start, directory('data', 'a'), directory('more', '.'), file('more', 'a/b')],
  'a database that is not described': [...start, file('data', 'a', { type: 'database' })],
  'a database that is not listed': [{ backup: BACKUP }, database('data', 'a'), directory('data', '.')],
  'a database that is a file': [{ backup: BACKUP }, database('data', 'a'), directory('data', '.'), file('data', 'a')],
  'a database twice': [{ backup: BACKUP }, database('data', 'a'), database('data', 'a')],
  'a database after the first directory': [...start, database('data', 'a')],
  'a line after the end': [...start, { end: { lines: 2 } }, file('data', 'a')],
  'two ends': [...start, { end: { lines: 2 } }, { end: { lines: 3 } }],
};
const UNSAFE: Readonly<Record<string, readonly VaultManifestLine[]>> = {
  'a path that leaves': [...start, file('data', '../a')],
  'an absolute path': [...start, file('data', '/a')],
  'an empty part': [...start, directory('data', 'a'), file('data', 'a//b')],
  'a lone surrogate': [...start, file('data', 'a\uD800')],
  'a NUL': [...start, file('data', 'a\0')],
  'a root that is a path': [{ backup: BACKUP }, directory('a/b', '.')],
  'a root that leaves': [{ backup: BACKUP }, directory('..', '.')],
  'the place of a control directory': [...start, directory('data', '.holdfast')],
  'something in a control directory': [...start, directory('data', '.holdfast'), file('data', '.holdfast/lock')],
};

describe('neither written nor read is', () => {
  test.each(Object.entries({ ...BROKEN, ...UNSAFE }))('%s', async (rule, lines) => {
    const code = rule in UNSAFE ? 'path_unsafe' : 'vault_invalid';
    const ended =
      rule.includes('end') && !rule.startsWith('an end') ? lines : [...lines, { end: { lines: lines.length } }];
    const isOfPacks = rule === 'a pack that the envelope has not' || rule === 'a run beyond its pack';
    // Broken as it is meant to be, and not because of its packs
    const packs = isOfPacks ? PACKS : [{ sha256: 'b'.repeat(64), sizeBytes: 1000 }];
    const sealed = await seal(RECIPIENT, compress(Buffer.from(textOf(ended))));
    const stop = await stopOf(() => readBytes(sealed, TOTALS, packs));
    expect(stop.code).toBe(code);
    expect(stop.message).not.toMatch(/totals|no run names/);
    if (rule !== 'no line at all' && rule !== 'two ends')
      expect(await codeOf(() => writeManifest(temporaryDirectory(), lines as VaultManifestLine[], packs))).toBe(code);
  });
});

describe('not read is', () => {
  const plain = Buffer.from(textOf(ENDED));

  test.each<[string, () => Uint8Array]>([
    ['nothing', () => Buffer.alloc(0)],
    ['text that is not compressed', () => plain],
    ['a frame that is cut short', () => compress(plain).subarray(0, -1)],
    ['something after the frame', () => Buffer.concat([compress(plain), Buffer.from('x')])],
    ['a second frame', () => Buffer.concat([compress(plain), compress(plain)])],
    ['a last line without an end', () => compress(plain.subarray(0, -1))],
    ['a missing end', () => compress(Buffer.from(textOf(LINES)))],
    [
      'an end that counts others',
      () => compress(Buffer.from(textOf([...LINES, { end: { lines: LINES.length + 1 } }]))),
    ],
    ['an empty line', () => compress(Buffer.from(`${textOf(ENDED)}\n`))],
    ['a line that is not JSON', () => compress(Buffer.from(textOf(ENDED).replace('"end"', 'end')))],
    ['a byte order mark', () => compress(Buffer.from(`\uFEFF${textOf(ENDED)}`))],
    ['what is not UTF-8', () => compress(Buffer.from(textOf(ENDED).replace('m-1', 'm-\u00E9'), 'latin1'))],
  ])('%s', async (_, bytes) => {
    expect(await codeOf(() => readPlain(bytes()))).toBe('vault_invalid');
  });

  test('a line that goes on for ever', async () => {
    const bomb = compress(Buffer.alloc(257 * 1024 * 1024, 0x20));
    const stop = await stopOf(() => readPlain(bomb));
    expect([stop.code, stop.message]).toEqual(['vault_invalid', expect.stringContaining('longer than')]);
  });

  test('a line that is too long to be read, and so none is written', async () => {
    // The second is longer than any string when it is JSON
    for (const characters of [257 * 1024 * 1024, 2 ** 29 - 100]) {
      const line = { backup: { ...BACKUP, createdBy: 'x'.repeat(characters) } };
      const stop = await stopOf(() => writeManifest(temporaryDirectory(), [line], []));
      expect([stop.code, stop.message]).toEqual(['vault_invalid', expect.stringContaining('longer than')]);
    }
  });

  test('what is no age file', async () => {
    expect(await codeOf(() => readBytes(Buffer.from('age-encryption.org/v2\n')))).toBe('vault_invalid');
    expect(await codeOf(() => readBytes(Buffer.alloc(100_000)))).toBe('vault_invalid');
  });

  test('a file that is missing', async () => {
    const envelope = envelopeOf(factOf(Buffer.alloc(1)), PACKS, TOTALS);
    expect(await codeOf(() => read(manifestFile(join(temporaryDirectory(), 'none')), envelope))).toBe('io_error');
  });
});
