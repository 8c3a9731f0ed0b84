// Stores that were worked on, and are not where they were: their volume is not mounted, or they were lost, moved or made
// anew. The start-up gate, a lock, and doctor. Clause SM-8.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { acquireLock, releaseLock } from '../../control/lock.js';
import { examineStore } from '../../control/doctor.js';
import { noteStore } from '../../control/noted-stores.js';
import { assertGate } from '../../control/status.js';
import { roomOf } from '../../control/store-room.js';
import type { StoreRoom } from '../../control/store-room.js';
import { requires } from '../support/requires.js';
import { claimant, makeTestRoom, saysRun, stopOf, temporaryDirectory } from './room.js';

/** A store that was worked on, on a volume of its own that can be taken away. */
async function makeWorkedOn(): Promise<{
  readonly state: string;
  readonly note: string;
  readonly volume: string;
  readonly room: StoreRoom;
  readonly reopened: () => Promise<StoreRoom>;
}> {
  const { room, directory } = await makeTestRoom();
  const state = join(temporaryDirectory(), 'state');
  await noteStore(state, room);
  await releaseLock(room, await acquireLock(room, claimant(), saysRun('unknown')), 'done');
  await assertGate(room, state);
  return {
    state,
    note: join(state, 'stores', 'tested.json'),
    volume: directory,
    room,
    reopened: () => roomOf(room.definition),
  };
}

/** What is left of a volume that is not mounted. @returns mounts it */
function unmount(volume: string): () => void {
  renameSync(volume, `${volume}-away`);
  mkdirSync(volume);
  return () => {
    rmSync(volume, { recursive: true });
    renameSync(`${volume}-away`, volume);
  };
}

describe('a store that was worked on, whose volume is not mounted', () => {
  test('has its gate shut, gets no lock and no lock.db, and is told by doctor, until it is mounted', async () => {
    const { state, note, volume, room, reopened } = await makeWorkedOn();
    const mount = unmount(volume);
    const stop = await stopOf(assertGate(await reopened(), state));
    expect(stop).toMatchObject({ code: 'root_missing', details: { note, noted: room.controlDirectory } });
    expect(stop.message).toContain(note);
    mkdirSync(room.roots[0]?.definition.path ?? '');
    expect(await stopOf(noteStore(state, await reopened()))).toMatchObject({ code: 'root_missing' });
    expect((await examineStore(room.definition, state, state)).find(({ check }) => check === 'state')).toMatchObject({
      state: 'stop',
      what: expect.stringContaining(note),
      remedy: expect.stringContaining('mount it'),
    });
    expect(readdirSync(volume)).toEqual(['live']);
    mount();
    await assertGate(await reopened(), state);
    await noteStore(state, await reopened());
  });

  test('has its gate shut where another root than that of the lock is on it, until it is mounted', async () => {
    const state = join(temporaryDirectory(), 'state');
    const [first, second] = [temporaryDirectory(), temporaryDirectory()];
    const roots = {
      data: { path: join(first, 'data'), trees: [{}] },
      more: { path: join(second, 'more'), trees: [{}] },
    };
    for (const { path } of Object.values(roots)) mkdirSync(path);
    const { room } = await makeTestRoom({}, { roots });
    const reopened = (): Promise<StoreRoom> => roomOf(room.definition);
    await noteStore(state, room);
    await assertGate(room, state);
    const mount = unmount(second);
    mkdirSync(join(second, 'more'));
    for (const work of [
      async () => assertGate(await reopened(), state),
      async () => noteStore(state, await reopened()),
    ])
      expect(await stopOf(work())).toMatchObject({
        code: 'root_missing',
        details: { root: 'more', path: join(second, 'more'), note: join(state, 'stores', 'tested.json') },
      });
    mount();
    await assertGate(await reopened(), state);
    await noteStore(state, await reopened());
  });

  test('is noted with a root that was added since, which then is missed as well', async () => {
    const state = join(temporaryDirectory(), 'state');
    const [first, second] = [temporaryDirectory(), temporaryDirectory()];
    const data = { path: join(first, 'data'), trees: [{}] };
    const more = { path: join(second, 'more'), trees: [{}] };
    for (const { path } of [data, more]) mkdirSync(path);
    await noteStore(state, (await makeTestRoom({}, { roots: { data } })).room);
    const { room } = await makeTestRoom({}, { roots: { data, more } });
    await assertGate(room, state);
    await noteStore(state, room);
    rmSync(join(second, '.holdfast'), { recursive: true });
    expect(await stopOf(assertGate(room, state))).toMatchObject({ code: 'root_missing', details: { root: 'more' } });
  });

  test.skipIf(requires('mount'))('has its gate shut where the root itself is the mount point', () => {
    const directory = temporaryDirectory();
    const root = join(directory, 'data');
    const mountPoint = JSON.stringify(root);
    mkdirSync(root);
    const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const program = `
      import { spawnSync } from 'node:child_process';
      import { mkdirSync } from 'node:fs';
      const { noteStore } = await import(${module('../../control/noted-stores.js')});
      const { assertGate } = await import(${module('../../control/status.js')});
      const { roomOf } = await import(${module('../../control/store-room.js')});
      const { storeDefinitionSchema, toStoreDefinition } = await import(${module('../../domain/schema/definition.js')});
      const run = (...argv) => { if (spawnSync(argv[0], argv.slice(1)).status !== 0) throw new Error(argv.join(' ')); };
      const open = () => roomOf(toStoreDefinition(storeDefinitionSchema.parse({
        holdfast: 1, store: 'tested', roots: { data: { path: ${mountPoint}, trees: [{ path: '.' }] } },
        backup: { destination: ${JSON.stringify(join(directory, 'backups'))} } })));
      const state = ${JSON.stringify(join(directory, 'state'))};
      const say = async () => {
        try { await assertGate(await open(), state); console.log('open'); }
        catch (error) { console.log(error.code ?? String(error)); }
      };
      run('mount', '-t', 'tmpfs', 'tmpfs', ${mountPoint});
      await noteStore(state, await open());
      await say();
      run('umount', ${mountPoint});
      await say();`;
    const { stdout, stderr } = spawnSync(
      'unshare',
      ['--mount', process.execPath, '--input-type=module', '-e', program],
      { encoding: 'utf8' },
    );
    expect({ stdout, stderr }).toEqual({ stdout: 'open\nroot_missing\n', stderr: '' });
    expect(existsSync(join(directory, '.holdfast'))).toBe(false);
  });
});

describe('a note', () => {
  test('of a store that was made anew is out of date until a person removes it', async () => {
    const { state, note, reopened, room } = await makeWorkedOn();
    rmSync(room.controlDirectory, { recursive: true });
    expect((await stopOf(assertGate(await reopened(), state))).code).toBe('root_missing');
    // A lock.db is there again, but it is another one
    await noteStore(temporaryDirectory(), room);
    for (const refused of [() => assertGate(room, state), () => noteStore(state, room)])
      expect(await stopOf(refused())).toMatchObject({
        code: 'root_missing',
        message: expect.stringContaining('is not the one'),
      });
    rmSync(note);
    await assertGate(room, state);
    await noteStore(state, room);
    await assertGate(room, state);
    rmSync(room.controlDirectory, { recursive: true });
    expect((await stopOf(assertGate(room, state))).code).toBe('root_missing');
  });

  test('follows a store that was moved with its lock.db', async () => {
    const { state, volume, room } = await makeWorkedOn();
    const path = `${volume}-moved`;
    renameSync(volume, path);
    const [root] = room.definition.roots;
    if (root === undefined) expect.fail('no root');
    const moved = await roomOf({ ...room.definition, roots: [{ ...root, path: join(path, 'live') }] });
    await assertGate(moved, state);
    await noteStore(state, moved);
    rmSync(path, { recursive: true });
    expect((await stopOf(noteStore(state, moved))).details).toMatchObject({ noted: moved.controlDirectory });
  });

  test('that can not be read, or not be understood, shuts the gate', async () => {
    const { state, note, room } = await makeWorkedOn();
    for (const text of ['', 'null', '{"controlDirectory":7}']) {
      writeFileSync(note, text);
      expect((await stopOf(assertGate(room, state))).code).toBe('root_missing');
    }
    rmSync(note);
    symlinkSync('tested.json', note);
    expect((await stopOf(assertGate(room, state))).code).toBe('io_error');
    rmSync(state, { recursive: true });
    writeFileSync(state, 'no directory');
    expect((await stopOf(assertGate(room, state))).code).toBe('io_error');
    rmSync(state);
    await assertGate(room, state);
  });
});
