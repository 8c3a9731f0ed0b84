// Digests over rows (SM-5, SM-7): one byte string for one row, whatever wrote it.
//
// A digest is sha256 over `holdfast-rows-1\n` and then each row: `R`, the number of columns as 4 bytes, then each column
// in the table's order, generated columns left out:
//   N                              NULL
//   I <8 bytes>                    INTEGER, two's complement
//   F <8 bytes>                    REAL, IEEE 754
//   T <8 bytes of length> <bytes>  TEXT, as the database stores it, without reading it as characters
//   B <8 bytes of length> <bytes>  BLOB
// All numbers big-endian. Rows come ordered by the named column, and where that is equal by all columns in turn, so that
// neither rowids nor an index decide. A row's own digest has the same form with that one row.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { SequenceDefinition } from '../domain/definition.js';
import { assert } from '../domain/stop.js';

const HEADER = 'holdfast-rows-1\n';

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Digest of the rows whose column is at most `bound`, in order; null: of none. Streams: memory holds one row. */
export function digestRows(
  connection: Database.Database,
  order: SequenceDefinition,
  bound: bigint | string | null,
): { readonly rows: number; readonly sha256: string } {
  const hash = createHash('sha256').update(HEADER);
  let rows = 0;
  if (bound !== null) {
    for (const row of selectRows(connection, order, `WHERE ${quoteName(order.column)} <= ?`).iterate(bound)) {
      updateRow(hash, row);
      rows += 1;
    }
  }
  return { rows, sha256: hash.digest('hex') };
}

/** One digest a row, in order. */
export function digestEachRow(connection: Database.Database, order: SequenceDefinition): readonly string[] {
  const digests: string[] = [];
  for (const row of selectRows(connection, order, '').iterate()) {
    const hash = createHash('sha256').update(HEADER);
    updateRow(hash, row);
    digests.push(hash.digest('hex'));
  }
  return digests;
}

/** Each column comes as two values: whether it is TEXT, and the value, TEXT as its bytes. */
function selectRows(
  connection: Database.Database,
  { table, column }: SequenceDefinition,
  where: string,
): Database.Statement<unknown[], unknown[]> {
  const columns = connection
    .prepare<[string], string>('SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid')
    .pluck()
    .all(table)
    .map(quoteName);
  const values = columns.map(
    (name) => `typeof(${name}) = 'text', CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END`,
  );
  const order = [quoteName(column), ...columns.map((name) => `${name} COLLATE BINARY`)];
  return connection
    .prepare<unknown[], unknown[]>(
      `SELECT ${values.join(', ')} FROM ${quoteName(table)} ${where} ORDER BY ${order.join(', ')}`,
    )
    .raw()
    .safeIntegers();
}

function updateRow(hash: Hash, row: readonly unknown[]): void {
  const head = Buffer.alloc(5);
  head.write('R', 'latin1');
  head.writeUInt32BE(row.length / 2, 1);
  hash.update(head);
  for (let index = 0; index < row.length; index += 2) updateValue(hash, row[index] === 1n, row[index + 1]);
}

function updateValue(hash: Hash, isText: boolean, value: unknown): void {
  if (value === null) {
    hash.update('N');
    return;
  }
  const head = Buffer.alloc(9);
  if (typeof value === 'bigint') {
    head.write('I', 'latin1');
    head.writeBigInt64BE(value, 1);
    hash.update(head);
  } else if (typeof value === 'number') {
    head.write('F', 'latin1');
    head.writeDoubleBE(value, 1);
    hash.update(head);
  } else {
    assert(Buffer.isBuffer(value), 'a value is NULL, a number or bytes');
    head.write(isText ? 'T' : 'B', 'latin1');
    head.writeBigUInt64BE(BigInt(value.length), 1);
    hash.update(head).update(value);
  }
}
