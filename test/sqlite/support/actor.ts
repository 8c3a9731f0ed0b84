// A process of a test that does to databases what an application does, one request at a time. Started by actors.ts.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { ActorReplies, ActorRequest } from './actors.js';

const held = new Map<string, Database.Database>();
let stopping = false;

function open(path: string, timeout = 10_000): Database.Database {
  return new Database(path, { fileMustExist: true, timeout });
}

const deeds: {
  readonly [Deed in ActorRequest['do']]: (
    request: Extract<ActorRequest, { do: Deed }>,
  ) => ActorReplies[Deed] | Promise<ActorReplies[Deed]>;
} = {
  /** Row n goes into each database in turn, so that at any instant each holds a prefix of the one before it. */
  chain: async ({ paths }) => {
    const inserts = paths.map((path) => open(path).prepare('INSERT INTO chain (n) VALUES (?)'));
    let round = 0;
    let commitMillisMax = 0;
    let lastReported = false;
    while (!stopping) {
      round += 1;
      for (const insert of inserts) {
        const beginning = performance.now();
        insert.run(round);
        commitMillisMax = Math.max(commitMillisMax, performance.now() - beginning);
      }
      if (!lastReported) {
        lastReported = true;
        process.send?.({ started: true });
      }
      await yieldToLoop();
    }
    return { round, commitMillisMax };
  },
  begin: ({ path, rows }) => {
    const connection = open(path);
    connection.exec('BEGIN IMMEDIATE');
    insertRows(connection, rows);
    held.set(path, connection);
    return true;
  },
  commit: ({ path }) => {
    held.get(path)?.exec('COMMIT').close();
    return held.delete(path);
  },
  /** Leaves a transaction open, an open one if there is, whose pages have been spilled into the main file. */
  spill: ({ path }) => {
    const connection = held.get(path) ?? open(path);
    connection.pragma('cache_size = 2');
    if (!connection.inTransaction) connection.exec('BEGIN IMMEDIATE');
    connection.exec('UPDATE chain SET filler = randomblob(2000)');
    insertRows(connection, 2000);
    held.set(path, connection);
    return true;
  },
  exclusive: ({ path }) => {
    const connection = open(path);
    connection.pragma('locking_mode = EXCLUSIVE');
    insertRows(connection, 1);
    held.set(path, connection);
    return true;
  },
  insert: ({ path, rows }) => {
    const connection = open(path);
    insertRows(connection, rows);
    connection.close();
    return true;
  },
  /** As insert, but the connection stays open, so that the log stays. */
  insertOpen: ({ path, rows }) => {
    const connection = open(path);
    connection.pragma('wal_autocheckpoint = 0');
    insertRows(connection, rows);
    held.set(path, connection);
    return true;
  },
  tryLock: ({ path }) => {
    const connection = open(path, 0);
    try {
      connection.exec('BEGIN IMMEDIATE');
      connection.exec('ROLLBACK');
      return 'locked';
    } catch {
      return 'busy';
    } finally {
      connection.close();
    }
  },
  truncate: ({ path }) => {
    const connection = open(path, 200);
    const [row] = connection.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[];
    connection.close();
    return row?.busy === 0;
  },
  hash: ({ directory }) =>
    Object.fromEntries(
      readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => [
          name,
          createHash('sha256')
            .update(readFileSync(join(directory, name)))
            .digest('hex'),
        ]),
    ),
};

function insertRows(connection: Database.Database, rows: number): void {
  const insert = connection.prepare(
    'INSERT INTO chain (n, filler) SELECT coalesce(max(n), 0) + 1, randomblob(1000) FROM chain',
  );
  connection.transaction(() => {
    for (let row = 0; row < rows; row += 1) insert.run();
  })();
}

process.once('disconnect', () => process.exit(0));
process.on('message', (message) => {
  if (message === 'stop') {
    stopping = true;
    return;
  }
  const request = message as ActorRequest;
  const deed = deeds[request.do] as (request: ActorRequest) => unknown;
  Promise.resolve()
    .then(() => deed(request))
    .then(
      (reply) => process.send?.({ reply }),
      (error: unknown) =>
        process.send?.({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
});
