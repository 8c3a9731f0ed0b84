// The SQLite that this process runs, recorded in every manifest (SM-3).
import Database from 'better-sqlite3';

function readVersion(): string {
  const database = new Database(':memory:');
  try {
    return String(database.prepare('SELECT sqlite_version()').pluck().get());
  } finally {
    database.close();
  }
}

export const SQLITE_VERSION = readVersion();
