// Every byte of a small artefact, one at a time: whatever is changed, a verification refuses it, by a STOP and never by a
// defect (F-14). The manifest is one that this host has written, and has a witness of, by the id of the backup: under
// another id it is a manifest from elsewhere, which only a signature could bind (SM-11).
import { randomInt } from 'node:crypto';
import { cpSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { STOPS } from '../../domain/stop.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore, sql } from '../support/store.js';

const LANES = 8;
/** HOLDFAST_BYTE_EVERY=1 tries all: ten minutes. Else it is every so many, from a random one on. */
const EVERY = Number(process.env['HOLDFAST_BYTE_EVERY'] ?? 16);
/** As small as SQLite makes them. */
const TINY = 'PRAGMA page_size = 512; CREATE TABLE item (id INTEGER PRIMARY KEY, v TEXT)';

describe.skipIf(requires('temporal'))('an artefact', () => {
  const engine = useEngine();

  test('F-14: of which any one byte was changed, but of its id, is refused', { timeout: 900_000 }, async () => {
    const store = makeStore(engine(), 'bytes', {
      contents: {},
      files: { 'files/one': 'one' },
      databases: [{ path: 'a.db' }],
    });
    sql(store.path('a.db'), TINY, 'delete');
    const { artefact } = await store.backup();
    const files = readdirSync(artefact, { recursive: true, encoding: 'utf8' }).filter((path) =>
      statSync(join(artefact, path)).isFile(),
    );
    const { backupId } = store.manifest(artefact);
    const idAt = readFileSync(join(artefact, 'manifest.json')).indexOf(backupId);
    const isOfId = (path: string, offset: number): boolean =>
      path === 'manifest.json' && offset >= idAt && offset < idAt + backupId.length;
    const beginning = randomInt(EVERY);
    const flips = files.flatMap((path) =>
      Array.from(readFileSync(join(artefact, path)), (byte, offset) => ({ path, byte, offset })).filter(
        ({ offset }) => !isOfId(path, offset) && offset % EVERY === beginning,
      ),
    );
    console.log(`${flips.length} bytes of ${files.length} files, every ${EVERY} from ${beginning} on`);
    const refused = new Map<string, number>();
    const waiting = flips.values();
    const lane = async (number: number): Promise<void> => {
      const copy = join(store.directory, `copy-${number}`);
      cpSync(artefact, copy, { recursive: true, preserveTimestamps: true });
      for (const { path, byte, offset } of waiting) {
        const absolute = join(copy, path);
        const bytes = readFileSync(absolute);
        bytes[offset] = byte ^ (1 << (offset % 8));
        writeFileSync(absolute, bytes);
        const { code } = await stopOf(
          (await engine().holdfast.verify(store.name, copy, { requestedBy: 'test' })).result(),
        );
        expect([65, 78], `byte ${offset} of ${path}: ${code}`).toContain(STOPS[code].exit);
        refused.set(code, (refused.get(code) ?? 0) + 1);
        bytes[offset] = byte;
        writeFileSync(absolute, bytes);
      }
      // What was put back is whole: the refusals were about the bytes
      await (await engine().holdfast.verify(store.name, copy, { requestedBy: 'test' })).result();
    };
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
    expect([...refused.values()].reduce((sum, count) => sum + count, 0)).toBe(flips.length);
    expect(refused.get('checksum_mismatch')).toBeGreaterThan(1);
  });
});
