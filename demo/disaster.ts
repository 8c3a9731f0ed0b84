// What is done to the store and to copies of its backup: the tampering that must be refused, and the disaster.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  cpSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { StopCode } from '../domain/stop.js';
import { ROOT, TREE } from './house.js';
import type { House } from './house.js';

export interface TamperedCopy {
  /** Artefact directory. */
  readonly path: string;
  readonly what: string;
  readonly refusedWith: StopCode;
}

/** Copies a backup twice: in one copy one bit of one file is another, the other has no manifest. */
export function tamper(house: House, artefact: string): readonly TamperedCopy[] {
  const copy = (name: string): string => {
    const path = join(house.tampered, name);
    cpSync(artefact, path, { recursive: true, preserveTimestamps: true });
    return path;
  };
  const flipped = copy('flipped-byte');
  const [victim] = filesOf(join(flipped, 'data', ROOT, TREE));
  if (victim === undefined) throw new Error('the backup holds no file to tamper with');
  const content = readFileSync(victim);
  const middle = Math.floor(content.length / 2);
  content[middle] = (content[middle] ?? 0) ^ 1;
  writeFileSync(victim, content);
  const headless = copy('no-manifest');
  rmSync(join(headless, 'manifest.json'));
  return [
    { path: flipped, what: 'one bit flipped in one file', refusedWith: 'checksum_mismatch' },
    { path: headless, what: 'the manifest removed', refusedWith: 'manifest_missing' },
  ];
}

export interface Destruction {
  readonly database: string;
  readonly filesDeleted: number;
}

/** Overwrites a.db with garbage of its size and deletes every other file of the tree. */
export function destroy(house: House): Destruction {
  const database = join(house.root, 'a.db');
  const { size } = statSync(database);
  const file = openSync(database, 'r+');
  try {
    writeSync(file, randomBytes(size));
  } finally {
    closeSync(file);
  }
  const deleted = filesOf(join(house.root, TREE)).filter((_path, index) => index % 2 === 0);
  for (const path of deleted) rmSync(path);
  return { database: 'a.db', filesDeleted: deleted.length };
}

function filesOf(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((path) => join(directory, path))
    .filter((path) => statSync(path).isFile())
    .sort();
}
