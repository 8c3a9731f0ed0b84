// The process that looks at live databases for shape.ts. It opens them read-only, through SQLite only.
import type Database from 'better-sqlite3';
import { serveParent } from './child.js';
import type { ReadShape, TableShape } from './shape.js';
import { readSource } from './source.js';

const READ_TIMEOUT_MILLIS = 2_000;

serveParent<readonly string[], never, readonly ReadShape[]>(async (paths) => {
  const shapes: ReadShape[] = [];
  for (const path of paths)
    shapes.push(
      await readSource(path, READ_TIMEOUT_MILLIS, ({ connection, journalMode }) => ({
        journalMode,
        tables: readTables(connection),
      })),
    );
  return shapes;
});

function readTables(connection: Database.Database): readonly TableShape[] {
  const tables = connection
    .prepare<[], { name: string; isCounted: number }>(
      `SELECT name, sql LIKE '%AUTOINCREMENT%' AS isCounted FROM sqlite_schema
       WHERE type = 'table' AND name IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       ORDER BY name COLLATE BINARY`,
    )
    .all();
  const columnsOf = connection.prepare<[string], { name: string; pk: number }>(
    'SELECT name, pk FROM pragma_table_info(?) ORDER BY cid',
  );
  return tables.map(({ name, isCounted }) => {
    const columns = columnsOf.all(name);
    return {
      name,
      columns: columns.map((column) => column.name),
      sequence: isCounted === 1 ? (columns.find(({ pk }) => pk === 1)?.name ?? null) : null,
    };
  });
}
