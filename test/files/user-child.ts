// A process that uses a store in one way until its standard input ends. Arguments: the way, and a path.
import { openSync, readFileSync } from 'node:fs';
import Database from 'better-sqlite3';

const [way, path = ''] = process.argv.slice(2);
const kept: unknown[] = [];
if (way === 'open') kept.push(openSync(path, 'r'));
else if (way === 'cwd') process.chdir(path);
else if (way === 'sqlite') {
  const database = new Database(path);
  database.exec('PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1);');
  kept.push(database);
} else if (way === 'lock') {
  const database = new Database(path);
  database.exec('BEGIN IMMEDIATE');
  kept.push(database);
}
process.stdout.write('ready\n');
readFileSync(0);
process.exit(kept.length >= 0 ? 0 : 1);
