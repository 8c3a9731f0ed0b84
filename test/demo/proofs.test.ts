// The proofs of the demo must fail where they should: a proof that passes everything proves nothing.
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { digestOf, proveChecksums } from '../../demo/checksums.js';
import { seed } from '../../demo/contents.js';
import { TREE, houseAt } from '../../demo/house.js';
import type { House } from '../../demo/house.js';
import { InvariantBroken, proveInvariantAtRest, proveInvariantLive } from '../../demo/invariant.js';

function seededHouse(): House {
  const house = houseAt(mkdtempSync(join(tmpdir(), 'holdfast-test-proofs-')));
  onTestFinished(() => rmSync(house.directory, { recursive: true, force: true }));
  mkdirSync(join(house.application, 'incoming'), { recursive: true });
  mkdirSync(join(house.root, TREE), { recursive: true });
  seed(house, 50, 5);
  return house;
}

function alter(house: House, name: string, statement: string): void {
  const database = new Database(join(house.root, name));
  database.exec(statement);
  database.close();
}

function someFile(house: House): string {
  const tree = join(house.root, TREE);
  const [path] = readdirSync(tree, { recursive: true, encoding: 'utf8' })
    .map((name) => join(tree, name))
    .filter((name) => statSync(name).isFile());
  return path ?? '';
}

function faults(prove: () => unknown): readonly string[] {
  try {
    prove();
  } catch (error) {
    if (error instanceof InvariantBroken) return error.faults;
    throw error;
  }
  return [];
}

describe('the invariant', () => {
  test('holds on what the application writes, at rest and live', () => {
    const house = seededHouse();
    expect(proveInvariantAtRest(house.root)).toEqual({ rowsOfA: 50, rowsOfB: 50, files: 5 });
    alter(house, 'a.db', "INSERT INTO entry (value) VALUES ('newer')");
    expect(proveInvariantLive(house.root)).toEqual({ rowsOfA: 51, rowsOfB: 50, files: 5 });
  });

  const broken: readonly [what: string, deed: (house: House) => void, fault: RegExp][] = [
    [
      'b.db is ahead of a.db',
      (house) => alter(house, 'a.db', 'DELETE FROM entry WHERE id = 50'),
      /row 50 of b\.db is not that of a\.db/,
    ],
    [
      'a row of b.db differs',
      (house) => alter(house, 'b.db', "UPDATE entry SET value = 'x' WHERE id = 7"),
      /row 7 of b\.db/,
    ],
    ['b.db has a gap', (house) => alter(house, 'b.db', 'DELETE FROM entry WHERE id = 3'), /row 3 of b\.db/],
    ['a file is missing', (house) => rmSync(someFile(house)), /is missing/],
    ['a file is cut short', (house) => truncateSync(someFile(house), 0), /has 0 bytes/],
    ['a database is missing', (house) => rmSync(join(house.root, 'c.db')), /c\.db can't be read/],
    [
      'a database is garbage',
      (house) => writeFileSync(join(house.root, 'a.db'), 'x'.repeat(8192)),
      /a\.db can't be read: file is not a database/,
    ],
  ];
  for (const [what, deed, fault] of broken) {
    test(`is broken where ${what}`, () => {
      const house = seededHouse();
      deed(house);
      expect(faults(() => proveInvariantAtRest(house.root)).join('\n')).toMatch(fault);
      expect(faults(() => proveInvariantLive(house.root)).join('\n')).toMatch(fault);
    });
  }

  test('is proved at rest without touching anything', () => {
    const house = seededHouse();
    const names = readdirSync(house.root);
    const digest = digestOf(house.root);
    proveInvariantAtRest(house.root);
    expect(readdirSync(house.root)).toEqual(names);
    expect(digestOf(house.root)).toBe(digest);
  });
});

describe('the checksums', () => {
  function withManifest(house: House): string {
    const files = readdirSync(house.root, { recursive: true, encoding: 'utf8' }).filter((path) =>
      statSync(join(house.root, path)).isFile(),
    );
    const entries = files.map((path) => {
      const content = readFileSync(join(house.root, path));
      return {
        type: 'file',
        root: 'data',
        path,
        sizeBytes: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      };
    });
    const path = join(house.directory, 'manifest.json');
    writeFileSync(path, JSON.stringify({ entries: [...entries, { type: 'directory', root: 'data', path: '.' }] }));
    return path;
  }

  test('hold where every byte is as listed', () => {
    const house = seededHouse();
    expect(proveChecksums(withManifest(house), 'data', house.root).files).toBe(8);
  });

  const broken: readonly [what: string, deed: (house: House) => void, reason: RegExp][] = [
    ['a bit was flipped', (house) => flip(someFile(house)), /is not what the manifest says/],
    ['a byte was added', (house) => appendFileSync(someFile(house), 'x'), /is not what the manifest says/],
    ['a file is missing', (house) => rmSync(someFile(house)), /is missing/],
    [
      'a file is not listed',
      (house) => writeFileSync(join(house.root, TREE, 'stray'), ''),
      /stray is not in the manifest/,
    ],
    [
      'a log with frames lies beside a database',
      (house) => writeFileSync(join(house.root, 'a.db-wal'), 'x'),
      /a\.db-wal is not in the manifest/,
    ],
  ];
  for (const [what, deed, reason] of broken) {
    test(`do not hold where ${what}`, () => {
      const house = seededHouse();
      const manifest = withManifest(house);
      deed(house);
      expect(() => proveChecksums(manifest, 'data', house.root)).toThrow(reason);
    });
  }

  test('do not hold for a root that the manifest does not list', () => {
    const house = seededHouse();
    expect(() => proveChecksums(withManifest(house), 'other', house.root)).toThrow(/lists no file of root other/);
  });
});

describe('the digest of a directory', () => {
  const changes: readonly [what: string, deed: (house: House) => void][] = [
    ['content', (house) => flip(someFile(house))],
    ['a name', (house) => writeFileSync(join(house.root, TREE, 'new'), '')],
    ['a mode', (house) => chmodSync(someFile(house), 0o600)],
  ];
  for (const [what, deed] of changes) {
    test(`changes with ${what}`, () => {
      const house = seededHouse();
      const before = digestOf(house.root);
      deed(house);
      expect(digestOf(house.root)).not.toBe(before);
    });
  }
});

function flip(path: string): void {
  const content = readFileSync(path);
  content[0] = (content[0] ?? 0) ^ 1;
  writeFileSync(path, content);
}
