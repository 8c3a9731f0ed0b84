// What of a manifest's entries `holdfast ls|cat|find` show.
import { describe, expect, test } from 'vitest';
import type { VaultManifestLine } from '../../domain/vault.js';
import { entriesBelow, entriesMatching, entriesOf, entryName, fileNamed } from '../../vault/entries.js';
import type { VaultEntry } from '../../vault/entries.js';
import { codeOf } from '../files/temporary.js';
import { BACKUP, database, directory, file } from './manifest-lines.js';

const LINES: readonly VaultManifestLine[] = [
  { backup: BACKUP },
  database('data', 'app.db'),
  directory('data', '.'),
  file('data', 'app.db', { type: 'database' }),
  directory('data', 'm'),
  file('data', 'm-1'),
  directory('data', 'm/deep'),
  file('data', 'm/deep/[a] b'),
  directory('more', '.'),
  file('more', 'app.db'),
];

async function* lines(): AsyncGenerator<VaultManifestLine> {
  for (const line of LINES) yield await Promise.resolve(line);
}

async function names(entries: AsyncIterable<VaultEntry>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const entry of entries) found.push(entryName(entry));
  return found;
}

test('every directory and file is an entry, with its type', async () => {
  expect(await names(entriesOf(lines()))).toEqual([
    'data',
    'data/app.db',
    'data/m',
    'data/m-1',
    'data/m/deep',
    'data/m/deep/[a] b',
    'more',
    'more/app.db',
  ]);
  const types: string[] = [];
  for await (const { type } of entriesOf(lines())) types.push(type);
  expect(types).toEqual(['directory', 'database', 'directory', 'file', 'directory', 'file', 'directory', 'file']);
});

describe('below a name', () => {
  test.each([
    ['', 1, ['data', 'more']],
    ['data', 1, ['data', 'data/app.db', 'data/m', 'data/m-1']],
    ['data/m', null, ['data/m', 'data/m/deep', 'data/m/deep/[a] b']],
    ['data/m//', 0, ['data/m']],
    ['data/m-1', null, ['data/m-1']],
  ] as const)('%j to depth %j', async (name, depthMax, expected) => {
    expect(await names(entriesBelow(entriesOf(lines()), name, { depthMax }))).toEqual(expected);
  });

  test("that is no entry's there is nothing", async () => {
    expect(await codeOf(() => names(entriesBelow(entriesOf(lines()), 'data/n', { depthMax: null })))).toBe(
      'file_missing',
    );
  });
});

test('globs match names with their roots', async () => {
  expect(await names(entriesMatching(entriesOf(lines()), ['**/*.db']))).toEqual(['data/app.db', 'more/app.db']);
  expect(await names(entriesMatching(entriesOf(lines()), ['data/m/**', 'more']))).toEqual([
    'data/m',
    'data/m/deep',
    'data/m/deep/[a] b',
    'more',
  ]);
  // A name is not taken for a glob that would not match it
  expect(await names(entriesMatching(entriesOf(lines()), ['data/m/deep/[a] b']))).toEqual(['data/m/deep/[a] b']);
});

test('one file is found by its name, a directory is none', async () => {
  expect(await fileNamed(entriesOf(lines()), 'more/app.db')).toMatchObject({
    root: 'more',
    path: 'app.db',
    type: 'file',
  });
  expect(await codeOf(() => fileNamed(entriesOf(lines()), 'data/m'))).toBe('file_missing');
});
