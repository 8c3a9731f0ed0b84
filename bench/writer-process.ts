// A writer that never rests: one small transaction in one of its databases after another, each timed. Forked by
// pause.ts; starts at once, answers `writing`, and at `stop` writes its samples to a file and exits.
import { writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';

export interface WriterSettings {
  readonly databases: readonly string[];
  /** `truncate`: the application checkpoints by itself, with TRUNCATE, after so many commits in a database. */
  readonly checkpoint: 'automatic' | 'truncate';
  readonly commits: string;
  readonly checkpoints: string;
}

const BUSY_MILLIS = 5000;
const COMMITS_PER_CHECKPOINT = 200;
const COMMITS_PER_TURN = 50;
const ROWS = 256;

/** Begin and length of each act, milliseconds of the machine's monotonic clock, as pairs. */
class Samples {
  #pairs = new Float64Array(1 << 16);
  #length = 0;

  time(act: () => void): void {
    const begin = now();
    act();
    if (this.#length + 2 > this.#pairs.length) {
      const larger = new Float64Array(this.#pairs.length * 2);
      larger.set(this.#pairs);
      this.#pairs = larger;
    }
    this.#pairs[this.#length++] = begin;
    this.#pairs[this.#length++] = now() - begin;
  }

  save(path: string): void {
    writeFileSync(path, Buffer.from(this.#pairs.buffer, 0, this.#length * 8));
  }
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function openWriters(paths: readonly string[]) {
  return paths.map((path) => {
    const database = new Database(path, { timeout: BUSY_MILLIS, fileMustExist: true });
    database.pragma('synchronous = NORMAL');
    return {
      database,
      update: database.prepare('UPDATE entries SET number = number + 1, body = ? WHERE id = ?'),
      commits: 0,
    };
  });
}

function serve(settings: WriterSettings): void {
  const writers = openWriters(settings.databases);
  if (settings.checkpoint === 'truncate') for (const { database } of writers) database.pragma('wal_autocheckpoint = 0');
  const commits = new Samples();
  const checkpoints = new Samples();
  let stopped = false;
  process.once('message', () => (stopped = true));
  process.once('disconnect', () => process.exit(1));
  let turn = 0;
  const write = (): void => {
    for (let count = 0; count < COMMITS_PER_TURN; count += 1, turn += 1) {
      const writer = writers[turn % writers.length];
      if (writer === undefined) throw new Error('a writer has databases');
      commits.time(() => writer.update.run(`commit ${turn} `.repeat(8), turn % ROWS));
      writer.commits += 1;
      if (settings.checkpoint === 'truncate' && writer.commits % COMMITS_PER_CHECKPOINT === 0) {
        checkpoints.time(() => writer.database.pragma('wal_checkpoint(TRUNCATE)'));
      }
    }
    if (!stopped) {
      setImmediate(write);
      return;
    }
    commits.save(settings.commits);
    checkpoints.save(settings.checkpoints);
    for (const { database } of writers) database.close();
    process.disconnect();
    process.exit(0);
  };
  process.send?.('writing');
  write();
}

process.once('message', (settings) => serve(settings as WriterSettings));
