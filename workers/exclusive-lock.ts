// A lock between processes that the kernel frees when its holder dies: an SQLite file that is locked and never
// written. Nothing else in this process may open the same file: closing any descriptor of it would drop the lock.
import Database from 'better-sqlite3';
import { Stop } from '../domain/stop.js';

/** Takes the lock, or returns undefined while another process holds it. The caller calls the result to let go. */
export function tryExclusiveLock(path: string): (() => void) | undefined {
  let database: Database.Database | undefined;
  try {
    database = new Database(path, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return undefined;
    throw new Stop('io_error', 'a lock file could not be locked', { path, reason: String(error) }, { cause: error });
  }
  const held = database;
  return () => void held.close();
}
