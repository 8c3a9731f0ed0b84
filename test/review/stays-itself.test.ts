// A store stays itself whoever looks, and a backup stays usable: one control directory, one lock, no refusal that our own
// readers bring about. Clauses SM-8, SM-9, P-15.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { assertTreeMatches, readArtefact } from '../../artefacts/artefact.js';
import { raiseFence } from '../../control/fence.js';
import { withControlDatabase } from '../../control/control-database.js';
import { assertGate } from '../../control/status.js';
import { keepPlan } from '../../control/plans.js';
import { roomOf } from '../../control/store-room.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { RestorePlan } from '../../domain/plan.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import type { StoreDefinitionInput } from '../../domain/schema/definition.js';
import { performExchange, planExchange, undoExchange } from '../../files/exchange.js';
import { stopOf } from '../control/room.js';
import { requires } from '../support/requires.js';

const NOBODY = 65_534;

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-review-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  chmodSync(directory, 0o755);
  return directory;
}

function definitionOf(directory: string, roots: readonly string[]): StoreDefinitionInput {
  for (const root of roots) mkdirSync(join(directory, root), { recursive: true });
  return {
    holdfast: 1,
    store: 'shop',
    roots: Object.fromEntries(roots.map((root) => [root, { path: join(directory, root), trees: [{ path: '.' }] }])),
    backup: { destination: join(directory, 'backups') },
  };
}

/** A state directory without notes. */
const NOWHERE = '/nonexistent';
const gate = (room: StoreRoom): Promise<void> => assertGate(room, NOWHERE);

const openRoom = (definition: StoreDefinitionInput): Promise<StoreRoom> =>
  roomOf(toStoreDefinition(storeDefinitionSchema.parse(definition)));

/** What the start-up gate says to a process of the user of the application. */
function gateAsNobody(definition: StoreDefinitionInput): string {
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const program = `
    const { roomOf } = await import(${module('../../control/store-room.js')});
    const { assertGate } = await import(${module('../../control/status.js')});
    const { storeDefinitionSchema, toStoreDefinition } = await import(${module('../../domain/schema/definition.js')});
    try {
      await assertGate(await roomOf(toStoreDefinition(storeDefinitionSchema.parse(${JSON.stringify(definition)}))), '${NOWHERE}');
      console.log('open');
    } catch (error) { console.log(error.code ?? String(error)); }`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    uid: NOBODY,
    gid: NOBODY,
    encoding: 'utf8',
  });
  return stdout.trim();
}

describe('the control directory of a store', () => {
  test.skipIf(requires('root'))(
    'a user who may not write the parent of the root finds the gate shut, not another control directory',
    async () => {
      const directory = temporaryDirectory();
      const definition = definitionOf(directory, ['data']);
      chownSync(join(directory, 'data'), NOBODY, NOBODY);
      expect(gateAsNobody(definition)).toBe('open');
      const { controlDirectory } = await openRoom(definition);
      await withControlDatabase(controlDirectory, () => undefined);
      await raiseFence(controlDirectory, 'an operation', 'restore');
      expect(gateAsNobody(definition)).toBe('not_exchangeable');
      // Nor where the place itself can't be looked at
      chmodSync(join(directory, '.holdfast'), 0o700);
      expect(gateAsNobody(definition)).toBe('permission_denied');
      expect(existsSync(join(directory, 'data', '.holdfast'))).toBe(false);
    },
  );

  test.skipIf(requires('root'))("a store of another user beside it is in nobody's way", async () => {
    const directory = temporaryDirectory();
    const { controlDirectory } = await openRoom(definitionOf(directory, ['others']));
    await withControlDatabase(controlDirectory, () => undefined);
    const definition = definitionOf(directory, ['data']);
    chownSync(join(directory, 'data'), NOBODY, NOBODY);
    expect(gateAsNobody(definition)).toBe('open');
  });

  test('roots in another order, or a new first one, leave lock and fence where they are', async () => {
    const directory = temporaryDirectory();
    const { controlDirectory } = await openRoom(definitionOf(directory, ['left', 'right']));
    await withControlDatabase(controlDirectory, () => undefined);
    await raiseFence(controlDirectory, 'an operation', 'restore');
    for (const roots of [
      ['right', 'left'],
      ['added', 'left', 'right'],
    ]) {
      const room = await openRoom(definitionOf(directory, roots));
      expect(room.controlDirectory).toBe(controlDirectory);
      expect((await stopOf(assertGate(room, NOWHERE))).code).toBe('fenced');
    }
  });

  test.skipIf(requires('root'))(
    'is not believed of what the user of the application has put into the root: not_exchangeable, and no open gate',
    async () => {
      const directory = temporaryDirectory();
      const definition = definitionOf(directory, ['data']);
      const { controlDirectory } = await openRoom(definition);
      await withControlDatabase(controlDirectory, () => undefined);
      await raiseFence(controlDirectory, 'an operation', 'restore');
      const planted = join(directory, 'data', '.holdfast');
      await withControlDatabase(planted, () => undefined);
      for (const path of [planted, join(planted, 'lock.db')]) chownSync(path, NOBODY, NOBODY);
      const stop = await stopOf(openRoom(definition).then(gate));
      expect(stop).toMatchObject({ code: 'not_exchangeable', details: { controlDirectory: planted } });
      expect(stop.message).toContain('belongs to another user');
      rmSync(planted, { recursive: true });
      expect((await stopOf(openRoom(definition).then(gate))).code).toBe('fenced');
    },
  );

  test.each(['lock.db', 'fence.json'])(
    'that there are two, one in the root and one beside it, is not_exchangeable: %s',
    async (name) => {
      const directory = temporaryDirectory();
      const definition = definitionOf(directory, ['data']);
      const { controlDirectory } = await openRoom(definition);
      await withControlDatabase(controlDirectory, () => undefined);
      mkdirSync(join(directory, 'data', '.holdfast'));
      writeFileSync(join(directory, 'data', '.holdfast', name), '');
      expect((await stopOf(openRoom(definition))).code).toBe('not_exchangeable');
    },
  );

  test('two roots that each have a lock were two stores, and are no store', async () => {
    const directory = temporaryDirectory();
    for (const root of ['left', 'right'])
      await withControlDatabase((await openRoom(definitionOf(directory, [root]))).controlDirectory, () => undefined);
    expect((await stopOf(openRoom(definitionOf(directory, ['left', 'right'])))).code).toBe('definition_invalid');
  });

  test('many plans that are kept at one moment do not disturb one another', async () => {
    const directory = temporaryDirectory();
    const room = await openRoom(definitionOf(directory, ['data']));
    const plans = Array.from({ length: 60 }, (_, index) => ({ sentence: String(index) }) as RestorePlan);
    expect(new Set(await Promise.all(plans.map((plan) => keepPlan(room, plan)))).size).toBe(60);
  });
});

const SHA = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** An artefact with one empty database, and other entries. */
function makeArtefact(...more: readonly Record<string, unknown>[]): string {
  const artefact = temporaryDirectory();
  mkdirSync(join(artefact, 'data', 'shop'), { recursive: true });
  writeFileSync(join(artefact, 'data', 'shop', 'a.db'), '');
  const metadata = { root: 'shop', mode: 0o644, uid: 0, gid: 0, mtimeNanos: '0' };
  const entries = [
    { type: 'directory', path: '.', ...metadata },
    { type: 'database', path: 'a.db', sizeBytes: 0, sha256: SHA, ...metadata },
    ...more.map((entry) => ({ ...metadata, ...entry })),
  ];
  const database = {
    root: 'shop',
    path: 'a.db',
    integrityCheckedAt: 'then',
    liveStamp: null,
    pageSizeBytes: 4096,
    journalMode: 'wal',
    tables: [],
    sequences: [],
    appendOnly: [],
    migrations: null,
  };
  const id = '11111111-1111-4111-8111-111111111111';
  const manifest = {
    format: 'holdfast-manifest-1',
    layout: 'plain',
    backupId: id,
    number: 1,
    operation: id,
    store: 'shop',
    createdAt: '2026-01-01T00:00:00Z',
    createdBy: 'test',
    host: 'here',
    holdfastVersion: '0',
    platform: { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3' },
    application: null,
    epoch: null,
    cut: {
      instant: '2026-01-01T00:00:00.000000Z',
      pauseMillis: 0,
      rollbackJournalPauseMillis: 0,
      quiescedMillis: 0,
      lockTries: 1,
      cutTries: 1,
      pinMillis: 0,
      policies: [],
    },
    databases: [database],
    entries,
  };
  writeFileSync(join(artefact, 'manifest.json'), JSON.stringify(manifest));
  return artefact;
}

describe('an artefact', () => {
  test('that would bring a control directory into the root is path_unsafe', async () => {
    const artefact = makeArtefact(
      { type: 'directory', path: '.holdfast' },
      { type: 'file', path: '.holdfast/lock.db', sizeBytes: 0, sha256: SHA },
    );
    expect((await stopOf(readArtefact(artefact))).code).toBe('path_unsafe');
  });

  test('is not refused for what a killed check has left beside a database', async () => {
    const artefact = makeArtefact();
    writeFileSync(join(artefact, 'data', 'shop', 'a.db-shm'), Buffer.alloc(32_768));
    writeFileSync(join(artefact, 'data', 'shop', 'a.db-wal'), '');
    await assertTreeMatches(await readArtefact(artefact));
  });

  test.each(['a.db-wal', 'a.db-journal', 'b.db-shm'])('is refused for %s, which no check leaves', async (name) => {
    const artefact = makeArtefact();
    writeFileSync(join(artefact, 'data', 'shop', name), 'frames');
    expect((await stopOf(readArtefact(artefact).then(assertTreeMatches))).code).toBe('file_extra');
  });

  test('whose manifest is a FIFO is refused, and nobody waits for its other end', async () => {
    const artefact = makeArtefact();
    rmSync(join(artefact, 'manifest.json'));
    spawnSync('mkfifo', [join(artefact, 'manifest.json')]);
    expect((await stopOf(readArtefact(artefact))).code).toBe('manifest_invalid');
  });
});

describe('undoing an exchange of entries', () => {
  test.each([true, false])(
    'sets aside the log that a reader of the new database has left (an old log was there: %s)',
    async (hadLog) => {
      const directory = temporaryDirectory();
      const live = join(directory, 'live');
      const staged = join(live, '.holdfast', 'trees', 'operation', 'data');
      mkdirSync(staged, { recursive: true });
      writeFileSync(join(live, 'a.db'), 'old');
      if (hadLog) writeFileSync(join(live, 'a.db-wal'), 'old log');
      writeFileSync(join(staged, 'a.db'), 'new');
      const plan = await planExchange([
        { root: 'data', mode: 'entries', livePath: live, stagedPath: staged, untouched: [] },
      ]);
      await performExchange(plan);
      writeFileSync(join(live, 'a.db-wal'), 'new log');
      writeFileSync(join(live, 'a.db-shm'), 'new index');
      await undoExchange(plan);
      expect(readdirSync(live).sort()).toEqual(['.holdfast', 'a.db', ...(hadLog ? ['a.db-wal'] : [])]);
      expect(readFileSync(join(live, 'a.db'), 'utf8')).toBe('old');
      if (hadLog) expect(readFileSync(join(live, 'a.db-wal'), 'utf8')).toBe('old log');
      // Kept, where dropping the staged state takes it along
      expect(readdirSync(join(live, '.holdfast', 'trees', 'operation'))).toHaveLength(3);
    },
  );

  test('leaves alone what stands beside a database that was not exchanged', async () => {
    const directory = temporaryDirectory();
    const live = join(directory, 'live');
    const staged = join(live, '.holdfast', 'trees', 'operation', 'data');
    mkdirSync(staged, { recursive: true });
    writeFileSync(join(live, 'a.db'), 'old');
    writeFileSync(join(staged, 'a.db'), 'new');
    const plan = await planExchange([
      { root: 'data', mode: 'entries', livePath: live, stagedPath: staged, untouched: [] },
    ]);
    writeFileSync(join(live, 'a.db-wal'), 'a log of the old one');
    await undoExchange(plan);
    expect(readFileSync(join(live, 'a.db-wal'), 'utf8')).toBe('a log of the old one');
  });
});
