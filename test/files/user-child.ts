// A process that uses a store in one way until its standard input ends. Arguments: the way, and a path.
import { openSync, readFileSync, writeSync } from 'node:fs';
import Database from 'better-sqlite3';
import koffi from 'koffi';

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
} else if (way === 'main thread ends') {
  kept.push(openSync(path, 'r'));
  // exit(2) of the kernel ends the calling thread alone, and node has others
  const end = koffi.load('libc.so.6').func('long syscall(long number, int status)');
  writeSync(1, 'ready\n');
  end(process.arch === 'arm64' ? 93 : 60, 0);
}
process.stdout.write('ready\n');
readFileSync(0);
process.exit(kept.length >= 0 ? 0 : 1);
