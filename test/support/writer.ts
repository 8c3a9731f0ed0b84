// A process of a test that writes to a store as an application does, without rest, and keeps an invariant that holds at
// every instant: the rows of b.db are a prefix of those of a.db, line n of log.txt is on disk before row n of a.db, and
// a file is in `files` before its row is in c.db. Ends by SIGTERM, or when its parent is gone. While the file named by
// the third argument exists it holds still, and says so by a file of the same name with `.still`.
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';

const [root, pauseFile] = process.argv.slice(2);
if (root === undefined || pauseFile === undefined) throw new Error('usage: writer <root> <pause file>');

function open(name: string): Database.Database {
  const database = new Database(join(root ?? '', name), { timeout: 10_000 });
  database.pragma('journal_mode = WAL');
  database.exec('CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, v TEXT)');
  return database;
}

let ending = false;
process.on('SIGTERM', () => (ending = true));
process.on('disconnect', () => process.exit(0));

const databases = ['a.db', 'b.db', 'c.db'].map(open);
const [a, b, c] = databases.map((database) => database.prepare('INSERT INTO item (id, v) VALUES (?, ?)'));
const begun = databases[0]?.prepare('SELECT coalesce(max(id), 0) FROM item').pluck().get() as number;
mkdirSync(join(root, 'files'), { recursive: true });
const still = `${pauseFile}.still`;

for (let n = begun + 1; !ending; n += 1) {
  if (existsSync(pauseFile)) {
    writeFileSync(still, '');
    while (existsSync(pauseFile) && !ending) await delay(5);
    rmSync(still, { force: true });
  }
  appendFileSync(join(root, 'log.txt'), `${String(n).padStart(7, '0')}\n`);
  a?.run(n, `row ${n}`);
  b?.run(n, `row ${n}`);
  if (n % 5 === 0) {
    writeFileSync(join(root, '.incoming'), `file ${n}`);
    renameSync(join(root, '.incoming'), join(root, 'files', `${n}`));
    c?.run(n, `${n}`);
  }
  if (n === begun + 20) process.send?.('writing');
  await delay(1);
}
for (const database of databases) database.close();
process.exit(0);
