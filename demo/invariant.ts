// Proves the invariant of the demo's application on any directory that holds its store: every database is sound, the
// rows of b.db are a prefix of those of a.db, and every file that c.db knows is there, byte for byte.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DATABASES, TREE } from './house.js';

export interface InvariantFacts {
  readonly rowsOfA: number;
  readonly rowsOfB: number;
  readonly files: number;
}

/** The invariant does not hold; every fault that was found. */
export class InvariantBroken extends Error {
  readonly faults: readonly string[];
  constructor(directory: string, faults: readonly string[]) {
    const more = faults.length > 3 ? `, and ${faults.length - 3} more` : '';
    super(`the invariant does not hold in ${directory}: ${faults.slice(0, 3).join('; ')}${more}`);
    this.faults = faults;
  }
}

/**
 * Proves the invariant while nobody writes. Reads copies of the databases: not even a sidecar of theirs is touched.
 * @throws InvariantBroken
 */
export function proveInvariantAtRest(directory: string): InvariantFacts {
  const copies = mkdtempSync(join(tmpdir(), 'holdfast-demo-copies-'));
  try {
    for (const name of DATABASES) {
      for (const path of [name, `${name}-wal`]) {
        if (existsSync(join(directory, path))) copyFileSync(join(directory, path), join(copies, path));
      }
    }
    return prove(directory, copies);
  } finally {
    rmSync(copies, { recursive: true, force: true });
  }
}

/**
 * Proves the invariant under the writers, in place.
 * @throws InvariantBroken
 */
export function proveInvariantLive(directory: string): InvariantFacts {
  return prove(directory, directory);
}

type Entry = readonly [id: number, value: string];
type FileRow = readonly [name: string, sizeBytes: number, sha256: string];

/** Reads what follows before what it follows: a reader that is slower than the writers finds more, never less. */
function prove(directory: string, databases: string): InvariantFacts {
  const faults: string[] = [];
  const read = <Row>(name: string, query: string): readonly Row[] =>
    rowsOf<Row>(join(databases, name), name, query, faults);
  const files = read<FileRow>('c.db', 'SELECT name, size_bytes, sha256 FROM file ORDER BY id');
  const b = read<Entry>('b.db', 'SELECT id, value FROM entry ORDER BY id');
  const a = read<Entry>('a.db', 'SELECT id, value FROM entry ORDER BY id');
  const differs = b.findIndex(([id, value], index) => a[index]?.[0] !== id || a[index]?.[1] !== value);
  if (differs >= 0) faults.push(`row ${differs + 1} of b.db is not that of a.db`);
  for (const [name, sizeBytes, sha256] of files) {
    const fault = faultOf(join(directory, TREE, name), sizeBytes, sha256);
    if (fault !== null) faults.push(`${name} ${fault}`);
  }
  if (faults.length > 0) throw new InvariantBroken(directory, faults);
  return { rowsOfA: a.length, rowsOfB: b.length, files: files.length };
}

function rowsOf<Row>(path: string, name: string, query: string, faults: string[]): readonly Row[] {
  let database: Database.Database | undefined;
  try {
    database = new Database(path, { readonly: true, fileMustExist: true, timeout: 10_000 });
    const verdict = database.pragma('integrity_check', { simple: true });
    if (verdict !== 'ok') faults.push(`${name} is not sound: ${String(verdict)}`);
    return database.prepare(query).raw().all() as Row[];
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    faults.push(`${name} can't be read: ${error.message}`);
    return [];
  } finally {
    database?.close();
  }
}

function faultOf(path: string, sizeBytes: number, sha256: string): string | null {
  if (!existsSync(path)) return 'is missing';
  const content = readFileSync(path);
  if (content.length !== sizeBytes) return `has ${content.length} bytes instead of ${sizeBytes}`;
  return createHash('sha256').update(content).digest('hex') === sha256 ? null : 'has another content';
}
