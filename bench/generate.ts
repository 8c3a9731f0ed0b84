// The tree that backups are measured on: at scale 1 about 1.9 GiB in 14,101 files.
//   core.db                        WAL, 300 MiB: events with JSON, documents, revisions, keys and values, indexes
//   projects/pNN/project.db        20 of 20 MiB, WAL: shapes with properties, notes
//   projects/pNN/map0.db, map1.db  40 of 10 MiB, rollback journal: incompressible tiles in the shape of MBTiles
//   projects/pNN/tiles/NN/*.pbf    12,000 files of 10 to 60 KiB, incompressible
//   assets/*.bin                   40 of 10 MiB: half incompressible, half with 4 bits of entropy a byte
//   config/NN/*                    2,000 small files of JSON or text
// Sizes of databases and assets, and the numbers of tiles and configurations, grow with the scale. Databases are
// checkpointed and closed: no log is left beside them.
import { mkdirSync, readdirSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { Prose, RandomStream } from './random.js';

const MIB = 1024 * 1024;
const PROJECTS = 20;

export interface TreeSettings {
  /** 1: about 1.9 GiB. */
  readonly scale: number;
  readonly seed: number;
}

export interface TreeSize {
  readonly files: number;
  readonly databases: number;
  readonly sizeBytes: number;
}

/** Writes the tree into an empty or absent directory. */
export function generateTree(directory: string, { scale, seed }: TreeSettings): void {
  mkdirSync(directory, { recursive: true });
  if (readdirSync(directory).length > 0) throw new Error(`${directory} is not empty`);
  const prose = new Prose(new RandomStream(seed, 'words'));
  const stream = (label: string): RandomStream => new RandomStream(seed, label);
  writeCore(join(directory, 'core.db'), 300 * MIB * scale, stream('core'), prose);
  for (let project = 0; project < PROJECTS; project += 1) {
    const home = join(directory, 'projects', `p${two(project)}`);
    mkdirSync(home, { recursive: true });
    writeProject(join(home, 'project.db'), 20 * MIB * scale, stream(`project${project}`), prose);
    for (const map of [0, 1]) writeMap(join(home, `map${map}.db`), 10 * MIB * scale, stream(`map${project}.${map}`));
    writeTiles(join(home, 'tiles'), Math.ceil((12_000 * scale) / PROJECTS), stream(`tiles${project}`));
  }
  writeAssets(join(directory, 'assets'), Math.floor(10 * MIB * scale), stream('assets'));
  writeConfigurations(join(directory, 'config'), Math.ceil(2000 * scale), stream('config'), prose);
}

/** What lies in a directory, databases told by their names. */
export function sizeOfTree(directory: string): TreeSize {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const sizeBytes = entries.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
  return { files: entries.length, databases: entries.filter(({ name }) => name.endsWith('.db')).length, sizeBytes };
}

/** Fills a new database, one transaction a round, until it has its size. */
function fill(
  path: string,
  wal: boolean,
  schema: string,
  sizeBytes: number,
  round: (database: Database.Database) => void,
): void {
  if (existsSync(path)) throw new Error(`${path} exists`);
  const database = new Database(path);
  database.pragma('page_size = 4096');
  database.pragma(`journal_mode = ${wal ? 'WAL' : 'DELETE'}`);
  database.pragma('synchronous = OFF');
  database.pragma('cache_size = -200000');
  database.exec(schema);
  const transaction = database.transaction(() => round(database));
  do transaction();
  while (Number(database.pragma('page_count', { simple: true })) * 4096 < sizeBytes);
  if (wal) database.pragma('wal_checkpoint(TRUNCATE)');
  database.close();
}

function writeCore(path: string, sizeBytes: number, random: RandomStream, prose: Prose): void {
  const schema = `
    CREATE TABLE events(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, project INTEGER NOT NULL, actor TEXT, kind TEXT, payload TEXT);
    CREATE INDEX events_at ON events(at);
    CREATE INDEX events_project ON events(project, kind, at);
    CREATE TABLE documents(id TEXT PRIMARY KEY, title TEXT, project INTEGER, body TEXT, digest BLOB, changed INTEGER) WITHOUT ROWID;
    CREATE TABLE revisions(id INTEGER PRIMARY KEY, document TEXT, number INTEGER, body TEXT);
    CREATE INDEX revisions_document ON revisions(document, number);
    CREATE TABLE settings(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
    CREATE TABLE migrations(version INTEGER PRIMARY KEY, applied INTEGER);
    INSERT INTO migrations VALUES (1, 1700000000), (2, 1700000100), (3, 1700000200);`;
  const kinds = ['create', 'update', 'update', 'update', 'delete', 'sync', 'login', 'export'];
  let at = 1_700_000_000_000;
  fill(path, true, schema, sizeBytes, (database) => {
    const event = database.prepare('INSERT INTO events(at, project, actor, kind, payload) VALUES (?, ?, ?, ?, ?)');
    for (let row = 0; row < 4000; row += 1) {
      at += random.between(1, 4000);
      const payload = {
        id: random.uuid(),
        path: prose.words(random, 3).replaceAll(' ', '/'),
        size: random.between(0, 1 << 24),
        x: random.fraction(),
        y: random.fraction(),
        message: prose.words(random, random.between(4, 30)),
      };
      event.run(
        at,
        random.between(0, 20),
        `user${random.between(0, 400)}`,
        random.pick(kinds),
        JSON.stringify(payload),
      );
    }
    const document = database.prepare('INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)');
    const revision = database.prepare('INSERT INTO revisions(document, number, body) VALUES (?, ?, ?)');
    for (let row = 0; row < 700; row += 1) {
      const id = random.uuid();
      const body = prose.words(random, random.between(40, 400));
      document.run(
        id,
        prose.words(random, 4),
        random.between(0, 20),
        body,
        random.bytes(32),
        1_700_000_000 + random.between(0, 1e7),
      );
      if (row % 3 === 0)
        for (const number of [1, 2]) revision.run(id, number, `${body.slice(0, -20)}${prose.words(random, 5)}`);
    }
    const setting = database.prepare('INSERT INTO settings VALUES (?, ?)');
    for (let row = 0; row < 1000; row += 1) setting.run(`key:${random.uuid()}`, random.bytes(random.between(16, 400)));
  });
}

function writeProject(path: string, sizeBytes: number, random: RandomStream, prose: Prose): void {
  const schema = `
    CREATE TABLE features(id INTEGER PRIMARY KEY, layer TEXT, shape BLOB, properties TEXT, changed INTEGER);
    CREATE INDEX features_layer ON features(layer, changed);
    CREATE TABLE notes(id TEXT PRIMARY KEY, feature INTEGER, body TEXT);`;
  let count = 0;
  fill(path, true, schema, sizeBytes, (database) => {
    const feature = database.prepare('INSERT INTO features(layer, shape, properties, changed) VALUES (?, ?, ?, ?)');
    for (let row = 0; row < 800; row += 1) {
      count += 1;
      const properties = {
        name: prose.words(random, 3),
        class: random.between(0, 9),
        about: prose.words(random, random.between(5, 40)),
      };
      feature.run(`layer${random.between(0, 12)}`, shapeOf(random), JSON.stringify(properties), 1_700_000_000 + count);
    }
    const note = database.prepare('INSERT INTO notes VALUES (?, ?, ?)');
    for (let row = 0; row < 200; row += 1) {
      note.run(random.uuid(), random.between(1, count + 1), prose.words(random, random.between(10, 120)));
    }
  });
}

/** A line as well-known binary: neighbouring points lie near each other. */
function shapeOf(random: RandomStream): Buffer {
  const points = random.between(4, 60);
  const shape = Buffer.alloc(9 + points * 16);
  shape.writeUInt8(1, 0);
  shape.writeUInt32LE(2, 1);
  shape.writeUInt32LE(points, 5);
  let x = random.fraction() * 360 - 180;
  let y = random.fraction() * 170 - 85;
  for (let point = 0; point < points; point += 1) {
    x += (random.fraction() - 0.5) / 500;
    y += (random.fraction() - 0.5) / 500;
    shape.writeDoubleLE(Number(x.toFixed(7)), 9 + point * 16);
    shape.writeDoubleLE(Number(y.toFixed(7)), 17 + point * 16);
  }
  return shape;
}

function writeMap(path: string, sizeBytes: number, random: RandomStream): void {
  const schema = `
    CREATE TABLE metadata(name TEXT, value TEXT);
    CREATE TABLE tiles(zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB);
    CREATE UNIQUE INDEX tile_index ON tiles(zoom_level, tile_column, tile_row);
    INSERT INTO metadata VALUES ('name', 'map'), ('format', 'pbf'), ('minzoom', '0'), ('maxzoom', '14');`;
  let count = 0;
  fill(path, false, schema, sizeBytes, (database) => {
    const tile = database.prepare('INSERT INTO tiles VALUES (14, ?, ?, ?)');
    for (let row = 0; row < 64; row += 1, count += 1) {
      tile.run(count % 1000, Math.floor(count / 1000), random.bytes(random.between(2000, 20_000)));
    }
  });
}

function writeTiles(directory: string, count: number, random: RandomStream): void {
  for (let tile = 0; tile < count; tile += 1) {
    const path = join(directory, two(Math.floor(tile / 100)), `t${String(tile).padStart(6, '0')}.pbf`);
    if (tile % 100 === 0) mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, random.bytes(random.between(10 * 1024, 60 * 1024)));
  }
}

function writeAssets(directory: string, sizeBytes: number, random: RandomStream): void {
  mkdirSync(directory);
  for (let asset = 0; asset < 40; asset += 1) {
    const bytes = random.bytes(sizeBytes);
    // 16 symbols: half of them compress to a half
    if (asset % 2 === 1)
      for (let index = 0; index < bytes.length; index += 1) bytes[index] = ((bytes[index] ?? 0) & 0x0f) | 0x40;
    writeFileSync(join(directory, `asset${two(asset)}.bin`), bytes);
  }
}

function writeConfigurations(directory: string, count: number, random: RandomStream, prose: Prose): void {
  for (let index = 0; index < count; index += 1) {
    const isJson = index % 2 === 1;
    const path = join(directory, two(index % 40), `cfg${String(index).padStart(5, '0')}.${isJson ? 'json' : 'txt'}`);
    if (index < 40) mkdirSync(dirname(path), { recursive: true });
    if (isJson) {
      const options = prose
        .words(random, random.between(2, 30))
        .split(' ')
        .map((word) => [word, random.fraction()]);
      writeFileSync(
        path,
        JSON.stringify({ id: index, name: prose.words(random, 3), options: Object.fromEntries(options) }, null, 1),
      );
    } else {
      writeFileSync(path, `${prose.words(random, random.between(10, 250))}\n`);
    }
  }
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}
