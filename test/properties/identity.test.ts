// restore(backup(x)) is x: in bytes, modes, owners and times, whatever the names (F-1, F-3). A thousand random trees lie
// side by side in one store, which is backed up once, destroyed, and restored once.
import { createHash, randomInt } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyMetadata } from '../../files/metadata.js';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';

const TREES = 1_000;
const isRoot = process.getuid?.() === 0;

/** What means something to a shell, a glob, a log or a person. */
const ODD = 'ab.-_ *?[]{}!()\'"\\$`\n\t#~%;&|<>=,:@^';

const name = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(...ODD.split('')), minLength: 1, maxLength: 12 }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
    fc.constantFrom(
      '.hidden',
      '..x',
      '...',
      '-rf',
      'a\\',
      'é',
      'e\u0301',
      'a.db-wal',
      'x-journal',
      '~',
      ' ',
      'CON',
      '.holdfast',
    ),
  )
  .filter((each) => !/^\.{1,2}$|[/\0]/.test(each) && Buffer.byteLength(each) < 100);
const metadata = fc.record({
  // Whoever is not root must be able to read what he backs up
  mode: fc.integer({ min: 0, max: 0o7777 }).map((mode) => (isRoot ? mode : (mode & 0o777) | 0o700)),
  uid: isRoot ? fc.integer({ min: 0, max: 70_000 }) : fc.constant(process.getuid?.() ?? 0),
  gid: isRoot ? fc.integer({ min: 0, max: 70_000 }) : fc.constant(process.getgid?.() ?? 0),
  mtimeNanos: fc.bigInt({ min: -(10n ** 18n), max: 9n * 10n ** 18n }).map(String),
});
const content = fc.oneof(
  fc.record({ bytes: fc.uint8Array({ maxLength: 300 }), holeBytes: fc.constant(0) }),
  fc.record({ bytes: fc.uint8Array({ maxLength: 10 }), holeBytes: fc.integer({ min: 1, max: 300_000 }) }),
);
const entry = fc.record({
  path: fc.array(name, { minLength: 1, maxLength: 5 }),
  file: fc.option(content, { nil: null, freq: 3 }),
  metadata,
});
const tree = fc.array(entry, { maxLength: 5 });
type Tree = typeof tree extends fc.Arbitrary<infer Value> ? Value : never;

/** A path that is taken, or leads through a file, is not made again. */
function grow(directory: string, entries: Tree): void {
  mkdirSync(directory);
  const made: [string, Tree[number]['metadata']][] = [];
  for (const { path, file, metadata: wanted } of entries) {
    const absolute = join(directory, ...path);
    try {
      mkdirSync(file === null ? absolute : dirname(absolute), { recursive: true });
      if (file !== null) {
        writeFileSync(absolute, file.bytes, { flag: 'wx' });
        if (file.holeBytes > 0) truncateSync(absolute, file.bytes.length + file.holeBytes);
      }
      made.push([absolute, wanted]);
    } catch (error) {
      if (!['EEXIST', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code))) throw error;
    }
  }
  // Parents last: what is made in a directory is a change of its time
  for (const [path, wanted] of made.sort(([left], [right]) => right.length - left.length))
    applyMetadata(path, wanted, { asRoot: isRoot });
}

/** All that a reader can see, read without any of our own code. */
function look(path: string): unknown {
  const facts = lstatSync(path, { bigint: true });
  const seen = [facts.mode, facts.uid, facts.gid, facts.mtimeNs].map(String);
  if (!facts.isDirectory()) return [...seen, createHash('sha256').update(readFileSync(path)).digest('hex')];
  return [
    ...seen,
    ...readdirSync(path)
      .sort()
      .map((child) => [child, look(join(path, child))]),
  ];
}

describe.skipIf(requires('temporal'))('properties', () => {
  const engine = useEngine();

  test('F-1, F-3: a restored store is the one that was backed up, in bytes, modes, owners, times and names', async () => {
    const seed = randomInt(2 ** 31);
    console.log(`seed ${seed}, ${TREES} trees`);
    const store = makeStore(engine(), 'identity', { contents: {}, files: {}, databases: [], trees: [{ path: '.' }] });
    const trees = fc.sample(tree, { seed, numRuns: TREES });
    trees.forEach((entries, index) => grow(store.path(String(index)), entries));
    const places = trees.map((_, index) => store.path(String(index)));
    const before = places.map(look);
    const { files } = await store.backup();
    expect(files).toBeGreaterThan(TREES / 2);
    for (const place of places) rmSync(place, { recursive: true });
    store.write('0', 'something else altogether');
    await store.restore();
    const after = places.map(look);
    const differing = trees.flatMap((entries, index) => {
      const same = JSON.stringify(before[index]) === JSON.stringify(after[index]);
      return same ? [] : [{ index, entries, before: before[index], after: after[index] }];
    });
    expect(differing.slice(0, 2), `seed ${seed}`).toEqual([]);
    expect(readdirSync(store.root)).toHaveLength(TREES);
  });
});
