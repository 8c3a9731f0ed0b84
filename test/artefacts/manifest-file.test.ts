// manifest.json is taken apart as it is read and put together as it is written: it is the document that JSON.parse and
// JSON.stringify know, wherever it is cut into pieces.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readManifest, writeManifest, writeText } from '../../artefacts/manifest-file.js';
import { ManifestSplitter } from '../../artefacts/manifest-splitter.js';
import { MANIFEST_FORMAT } from '../../domain/manifest.js';
import type { Manifest, ManifestEntry } from '../../domain/manifest.js';
import { Stop } from '../../domain/stop.js';

/** Enough for several pieces of a file, and groups of entries. */
const MANY = 3000;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-manifest-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** What a splitter makes of a text that comes in pieces, put together again; null: it is refused. */
function split(bytes: Buffer, pieceBytes: number): unknown {
  const entries: unknown[] = [];
  try {
    const splitter = new ManifestSplitter((some) => entries.push(...some));
    for (let at = 0; at < bytes.length; at += pieceBytes) splitter.push(bytes.subarray(at, at + pieceBytes));
    const rest = splitter.end();
    const isList = typeof rest === 'object' && rest !== null && 'entries' in rest && Array.isArray(rest.entries);
    return isList ? { ...rest, entries } : rest;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
}

describe('a manifest in pieces', () => {
  const anything = fc.jsonValue();
  const documents = fc.record({ before: anything, entries: fc.oneof(fc.array(anything), anything), after: anything });
  const spaces = fc.constantFrom(undefined, 1, '\t');

  test('is what it is whole, wherever it is cut', () => {
    fc.assert(
      fc.property(documents, spaces, fc.integer({ min: 1, max: 40 }), (document, space, pieceBytes) => {
        const bytes = Buffer.from(JSON.stringify(document, null, space));
        expect(split(bytes, pieceBytes)).toEqual(parse(bytes));
      }),
    );
  });

  test('is refused where it is refused whole, whatever is broken', () => {
    const places = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const bytesOf = fc.constantFrom(...Buffer.from('[]{},:"\\ 0e\xff', 'latin1'));
    fc.assert(
      fc.property(documents, places, bytesOf, fc.boolean(), (document, place, byte, isAdded) => {
        const bytes = [...Buffer.from(JSON.stringify(document))];
        bytes.splice(Math.floor(place * bytes.length), isAdded ? 0 : 1, byte);
        const broken = Buffer.from(bytes);
        expect(split(broken, 7)).toEqual(parse(broken));
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    '{"entries":[]}',
    '{"entries":[ \n]}',
    '{"entries":[,]}',
    '{"entries":[1,]}',
    '{"entries":[1,,2]}',
    '{"entries":[1}',
    '{"entries":[1',
    '{"entries":[1}]',
    '{"entries":["]",{"entries":[2]}]}',
    '{"\\u0065ntries":[1]}',
    '{"a":{"entries":[1]},"b":["entries",[1]],"c":"entries"}',
    '["entries",[1]]',
    '\ufeff{"entries":[1]}',
    '{"entries":[\ufeff1]}',
    '',
  ])('%j is taken as JSON.parse takes it', (text) => {
    expect(split(Buffer.from(text), 3)).toEqual(parse(Buffer.from(text)));
  });

  test('more nothing than a group holds is no entry', () => {
    for (const text of [`{"entries":[${' '.repeat(200_000)},1]}`, `{"entries":[1,${' '.repeat(200_000)}]}`])
      expect(split(Buffer.from(text), 1000)).toBeNull();
  });

  test('a second list of entries is refused: which of them counts is nothing to guess at', () => {
    expect(split(Buffer.from('{"entries":[1],"entries":[2]}'), 100)).toBeNull();
  });
});

function manifestOf(entries: readonly ManifestEntry[]): Manifest {
  const at = '2026-01-02T03:04:05.000Z';
  const id = '0b6f1f8e-3b0e-4a52-9d1c-0d7c1a2b3c4d';
  return {
    format: MANIFEST_FORMAT,
    layout: 'plain',
    backupId: id,
    number: 1,
    operation: id,
    store: 'shop',
    createdAt: at,
    createdBy: 'me',
    host: 'h',
    holdfastVersion: '0',
    platform: { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3' },
    application: null,
    epoch: null,
    cut: {
      instant: at,
      pauseMillis: 0,
      rollbackJournalPauseMillis: 0,
      quiescedMillis: 0,
      lockTries: 1,
      cutTries: 1,
      pinMillis: 0,
      policies: [],
    },
    databases: [],
    entries,
  };
}

const METADATA = { mode: 0o644, uid: 0, gid: 0, mtimeNanos: '1' };
const TOP: ManifestEntry = { type: 'directory', root: 'data', path: '.', ...METADATA };
const FILES = Array.from({ length: MANY }, (_value, index): ManifestEntry => {
  const path = `é "${index}"\n`;
  return { type: 'file', root: 'data', path, sizeBytes: index, sha256: 'a'.repeat(64), ...METADATA };
});

describe('manifest.json', () => {
  test('is one JSON document of one line, as it always was, and is read as it was written', async () => {
    const manifest = manifestOf([TOP, ...FILES]);
    await writeManifest(directory, 'manifest.json', manifest);
    expect(await readFile(join(directory, 'manifest.json'), 'utf8')).toBe(`${JSON.stringify(manifest)}\n`);
    expect((await readManifest(directory, 'manifest.json')).manifest).toEqual(manifest);
  });

  test('tells which of many entries is malformed, and how', async () => {
    const broken = manifestOf([TOP, ...FILES.map((entry, index) => ({ ...entry, mode: index === 2500 ? -1 : 0 }))]);
    await writeFile(join(directory, 'manifest.json'), JSON.stringify(broken));
    await expect(readManifest(directory, 'manifest.json')).rejects.toMatchObject({
      code: 'manifest_invalid',
      details: { path: directory, key: 'entries.2501.mode' },
    });
  });

  test('of other bytes is understood anew', async () => {
    const path = join(directory, 'manifest.json');
    await writeFile(path, JSON.stringify(manifestOf([TOP])));
    const first = await readManifest(directory, 'manifest.json');
    await writeFile(path, JSON.stringify(manifestOf([TOP, ...FILES])));
    const second = await readManifest(directory, 'manifest.json');
    expect([first.manifest.entries.length, second.manifest.entries.length]).toEqual([1, MANY + 1]);
    expect(second.manifestSha256).not.toBe(first.manifestSha256);
  });

  test('is refused while it is written when it becomes larger than is read', async () => {
    const pieces = FILES.map(({ path }) => path);
    const size = Buffer.byteLength(pieces.join(''));
    await writeText(directory, 'fits', pieces, size);
    const refused = await writeText(directory, 'too-large', pieces, size - 1).catch((error: unknown) => error);
    expect(refused instanceof Stop && refused.code).toBe('manifest_invalid');
  });
});
