// One of the three processes that write without rest: `writer.js <role> <directory of the demo>`. Together they keep an
// invariant that holds at every instant: the rows of b.db are a prefix of those of a.db, and a file is durable in the
// tree before its row is in c.db. Ends by SIGTERM, and when the demo is gone.
import { setTimeout as delay } from 'node:timers/promises';
import { ROLES, ownerIsAlive } from './application.js';
import type { Role } from './application.js';
import { INSERT_COPY, INSERT_ENTRY, INSERT_FILE, addFile, newValue, openDatabase } from './contents.js';
import { houseAt } from './house.js';
import type { House } from './house.js';

interface Writer {
  /** Writes once; false when there was nothing to write. */
  write(): boolean;
  close(): void;
  readonly restMillis: number;
}

type Entry = readonly [id: number, value: string];

const COPIED_AT_ONCE = 20;
/** The parent hears that the writer is in full flow. */
const ANNOUNCED_AT = 20;

const writers: Readonly<Record<Role, (house: House) => Writer>> = {
  entries(house) {
    const a = openDatabase(house, 'a.db');
    const insert = a.prepare(INSERT_ENTRY);
    return { write: () => insert.run(newValue()).changes > 0, close: () => a.close(), restMillis: 1 };
  },

  copies(house) {
    const a = openDatabase(house, 'a.db');
    const b = openDatabase(house, 'b.db');
    const last = b.prepare('SELECT coalesce(max(id), 0) FROM entry').pluck();
    const next = a.prepare(`SELECT id, value FROM entry WHERE id > ? ORDER BY id LIMIT ${COPIED_AT_ONCE}`).raw();
    const insert = b.prepare(INSERT_COPY);
    const copy = b.transaction((rows: readonly Entry[]) => rows.forEach((row) => insert.run(...row)));
    const write = (): boolean => {
      const rows = next.all(last.get()) as Entry[];
      if (rows.length > 0) copy.immediate(rows);
      return rows.length > 0;
    };
    const close = (): void => {
      a.close();
      b.close();
    };
    return { write, close, restMillis: 1 };
  },

  files(house) {
    const c = openDatabase(house, 'c.db');
    const insert = c.prepare(INSERT_FILE);
    return { write: () => insert.run(...addFile(house)).changes > 0, close: () => c.close(), restMillis: 3 };
  },
};

const [name, directory] = process.argv.slice(2);
const role = ROLES.find((candidate) => candidate === name);
if (role === undefined || directory === undefined) throw new Error(`usage: writer.js ${ROLES.join('|')} <directory>`);
const house = houseAt(directory);

let ending = false;
process.on('SIGTERM', () => (ending = true));
const watch = setInterval(() => (ending ||= !ownerIsAlive(house)), 500);

const writer = writers[role](house);
for (let written = 0; !ending;) {
  const wrote = writer.write();
  if (wrote) written += 1;
  if (wrote && written === ANNOUNCED_AT) process.send?.('writing');
  await delay(writer.restMillis);
}
writer.close();
clearInterval(watch);
