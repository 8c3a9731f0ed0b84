// A seeded change of the tree of generate.ts, as between two backups: 1% of the rows of five tables, 50 tiles more, 10
// configurations appended to, 5 tiles removed. `uniform` draws the rows over whole tables, `hot` takes the newest, which lie
// side by side.
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { RandomStream } from './random.js';

const PAGE_BYTES = 4096;

export type Locality = 'uniform' | 'hot';

export interface Mutated {
  readonly rows: number;
  /** Changed pages of databases, and new or rewritten files: what any incremental backup must at least add, bytes. */
  readonly floorBytes: number;
}

interface Change {
  readonly path: string;
  readonly table: string;
  readonly key: string;
  readonly update: string;
  readonly values: (random: RandomStream) => readonly unknown[];
}

const CHANGES: readonly Change[] = [
  {
    path: 'core.db',
    table: 'events',
    key: 'seq',
    update: "UPDATE events SET at = at + 1, payload = json_set(payload, '$.x', ?) WHERE seq = ?",
    values: (random) => [random.fraction()],
  },
  {
    path: 'core.db',
    table: 'documents',
    key: 'id',
    update: 'UPDATE documents SET changed = changed + 1, digest = ? WHERE id = ?',
    values: (random) => [random.bytes(32)],
  },
  ...['p03', 'p11'].map((project) => ({
    path: `projects/${project}/project.db`,
    table: 'features',
    key: 'id',
    update: "UPDATE features SET changed = changed + 1, properties = json_set(properties, '$.class', ?) WHERE id = ?",
    values: (random: RandomStream) => [random.between(0, 9)],
  })),
  ...['p05/map0.db', 'p17/map1.db'].map((path) => ({
    path: `projects/${path}`,
    table: 'tiles',
    key: 'rowid',
    update: 'UPDATE tiles SET tile_data = ? WHERE rowid = ?',
    values: (random: RandomStream) => [random.bytes(random.between(2000, 20_000))],
  })),
];

/** Changes the tree in place; databases are checkpointed and closed. */
export function mutateTree(directory: string, seed: number, locality: Locality): Mutated {
  const random = new RandomStream(seed, `mutate ${locality}`);
  const changed = CHANGES.map((change) => changeRows(directory, change, locality, random));
  const newBytes = addTiles(directory, seed, random) + appendToConfigurations(directory, random);
  removeTiles(directory, random);
  return {
    rows: changed.reduce((sum, { rows }) => sum + rows, 0),
    floorBytes: newBytes + changed.reduce((sum, { pages }) => sum + pages * PAGE_BYTES, 0),
  };
}

function changeRows(
  directory: string,
  { path, table, key, update, values }: Change,
  locality: Locality,
  random: RandomStream,
): { readonly rows: number; readonly pages: number } {
  const file = join(directory, path);
  const before = pagesOf(file);
  const database = new Database(file);
  const keys = database.prepare(`SELECT ${key} FROM ${table} ORDER BY ${key}`).pluck().all();
  const rows = Math.max(1, Math.floor(keys.length / 100));
  const picked = locality === 'hot' ? keys.slice(-rows) : Array.from({ length: rows }, () => random.pick(keys));
  const statement = database.prepare(update);
  database.transaction(() => {
    for (const id of picked) statement.run(...values(random), id);
  })();
  database.pragma('wal_checkpoint(truncate)');
  database.close();
  const pages = pagesOf(file).filter((page, index) => before[index] !== page).length;
  return { rows, pages };
}

function pagesOf(path: string): readonly string[] {
  const bytes = readFileSync(path);
  const pages: string[] = [];
  for (let at = 0; at < bytes.length; at += PAGE_BYTES)
    pages.push(
      createHash('sha1')
        .update(bytes.subarray(at, at + PAGE_BYTES))
        .digest('base64'),
    );
  return pages;
}

function filesBelow(directory: string, suffix: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function addTiles(directory: string, seed: number, random: RandomStream): number {
  let bytes = 0;
  for (let index = 0; index < 50; index += 1) {
    const home = join(directory, 'projects', `p${String(random.between(0, 20)).padStart(2, '0')}`, 'tiles', 'new');
    mkdirSync(home, { recursive: true });
    const tile = random.bytes(random.between(10 * 1024, 60 * 1024));
    writeFileSync(join(home, `${seed}-${index}.pbf`), tile);
    bytes += tile.length;
  }
  return bytes;
}

function appendToConfigurations(directory: string, random: RandomStream): number {
  const files = filesBelow(join(directory, 'config'), '');
  let bytes = 0;
  for (let index = 0; index < 10; index += 1) {
    const file = random.pick(files);
    appendFileSync(file, `\n# changed ${random.next()}\n`);
    bytes += readFileSync(file).length;
  }
  return bytes;
}

function removeTiles(directory: string, random: RandomStream): void {
  const tiles = filesBelow(join(directory, 'projects'), '.pbf');
  for (let index = 0; index < 5; index += 1) rmSync(random.pick(tiles), { force: true });
}
