// Who uses a store (P-18): every way in which a process can hold on to it is found, and nobody else is accused.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, linkSync, mkdirSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { assertNotInUse, findUsers } from '../../files/in-use.js';
import { findLockUsers, parseLocks } from '../../files/lock-users.js';
import { codeOf, fill, isRoot, stopOf, temporaryDirectory } from './temporary.js';

const CHILD = fileURLToPath(new URL('./user-child.js', import.meta.url));

/** Starts a process and waits until it says that it is ready; it is ended with the test. Gives its pid. */
async function start(program: string, argv: readonly string[]): Promise<number> {
  const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
  const ended = new Promise<void>((resolve) => void child.once('close', () => resolve()));
  onTestFinished(async () => {
    child.stdin.destroy();
    child.kill('SIGKILL');
    await ended;
  });
  await Promise.race([
    new Promise<void>((resolve) => void child.stdout.once('data', () => resolve())),
    ended.then(() => Promise.reject(new Error(`${program} ended before it was ready`))),
  ]);
  if (child.pid === undefined) throw new Error('not started');
  return child.pid;
}

async function use(way: string, path: string): Promise<number> {
  return await start(process.execPath, [CHILD, way, path]);
}

function makeDatabase(path: string): void {
  const database = new Database(path);
  database.exec('CREATE TABLE t (x)');
  database.close();
}

describe('findUsers', () => {
  test('nobody uses a store that nobody uses, our own process aside', async () => {
    const root = join(temporaryDirectory(), 'data');
    fill(root, { a: '1' });
    const descriptor = openSync(join(root, 'a'), 'r');
    try {
      expect((await findUsers([root], [])).users).toEqual([]);
    } finally {
      closeSync(descriptor);
    }
  });

  test('an open file, a working directory and a sibling whose name begins alike', async () => {
    const directory = temporaryDirectory();
    const root = join(directory, 'data');
    fill(directory, { 'data/a': '1', 'data-other/a': '1', 'data/below/b': '1' });
    const open = await use('open', join(root, 'a'));
    const cwd = await use('cwd', join(root, 'below'));
    await use('open', join(directory, 'data-other/a'));
    const { users } = await findUsers([root], []);
    expect(
      users.map(({ pid, what, path }) => ({ pid, what, path })).sort((a, b) => (a.what < b.what ? -1 : 1)),
    ).toEqual([
      { pid: cwd, what: 'cwd', path: join(root, 'below') },
      { pid: open, what: 'open file', path: join(root, 'a') },
    ]);
    expect(users.every(({ command }) => command === 'node' || command === 'MainThread')).toBe(true);
    expect((await findUsers([root], [], { exceptPids: new Set([open, cwd]) })).users).toEqual([]);
  });

  test('a deleted file of the root counts, and so does a root that was destroyed', async () => {
    const root = join(temporaryDirectory(), 'data');
    fill(root, { a: '1' });
    const pid = await use('open', join(root, 'a'));
    rmSync(join(root, 'a'));
    expect((await findUsers([root], [])).users).toMatchObject([
      { pid, what: 'open file', path: `${join(root, 'a')} (deleted)` },
    ]);
    rmSync(root, { recursive: true });
    expect((await findUsers([root], [])).users).toMatchObject([{ pid, what: 'open file' }]);
  });

  test('a process whose main thread has ended, and whose other threads go on, is found by its open file', async () => {
    const root = join(temporaryDirectory(), 'data');
    fill(root, { a: '1' });
    const pid = await use('main thread ends', join(root, 'a'));
    for (let state = ''; state !== 'Z'; await sleep(10))
      state = /^State:\t(.)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
    expect((await findUsers([root], [])).users).toMatchObject([{ pid, what: 'open file', path: join(root, 'a') }]);
  });

  test('a zombie that nobody has waited for uses nothing, and is no blind spot', async () => {
    const root = join(temporaryDirectory(), 'data');
    fill(root, { a: '1' });
    // It ends once its parent is a program that waits for nobody
    const child = `exec 3< '${join(root, 'a')}'; until grep -qx sleep /proc/$PPID/comm; do sleep 0.01; done`;
    const parent = await start('/bin/sh', ['-c', `sh -c "$0" & echo ready; exec sleep 60`, child]);
    const children = (): string => readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    const isZombie = (): boolean => /^State:\tZ/m.test(readFileSync(`/proc/${children()}/status`, 'utf8'));
    while (!isZombie()) await sleep(10);
    const { users, cannotTell } = await findUsers([root], []);
    expect(users).toEqual([]);
    expect(cannotTell.map(({ pid }) => pid)).not.toContain(Number(children()));
  });

  test('a program that runs from the root is found by its maps', async () => {
    const root = temporaryDirectory();
    copyFileSync('/bin/sh', join(root, 'program'));
    const pid = await start(join(root, 'program'), ['-c', 'echo ready; read line']);
    expect((await findUsers([root], [])).users).toContainEqual(
      expect.objectContaining({ pid, what: 'map', path: join(root, 'program') }),
    );
  });

  test('an idle connection in WAL mode is found by its files and by its lock bytes', async () => {
    const root = temporaryDirectory();
    const database = join(root, 'state.db');
    const pid = await use('sqlite', database);
    const { users } = await findUsers([root], [database]);
    for (const what of ['open file', 'map', 'sqlite lock'])
      expect(users).toContainEqual(expect.objectContaining({ pid, what }));
  });

  test('a database that is open by another name outside the root is found by its lock', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'data'));
    const database = join(directory, 'data/state.db');
    makeDatabase(database);
    linkSync(database, join(directory, 'alias.db'));
    const pid = await use('lock', join(directory, 'alias.db'));
    expect((await findUsers([join(directory, 'data')], [database])).users).toEqual([
      expect.objectContaining({ pid, what: 'sqlite lock', path: database }),
    ]);
  });

  test('asking for locks drops none of our own', async () => {
    const path = join(temporaryDirectory(), 'state.db');
    makeDatabase(path);
    const ours = new Database(path);
    const other = new Database(path, { timeout: 0 });
    try {
      ours.exec('BEGIN IMMEDIATE');
      expect((await findUsers([], [path])).users).toEqual([]);
      expect((await findLockUsers([path])).users).toContainEqual({ pid: process.pid, path });
      const { status } = execLock(path);
      expect(status).toBe('locked');
    } finally {
      ours.close();
      other.close();
    }
  });

  test('absent databases have no lock users', async () => {
    expect(await findLockUsers([join(temporaryDirectory(), 'absent.db')])).toEqual({ users: [], cannotTell: [] });
  });

  test.skipIf(!isRoot)(
    'a mount of the root in another mount namespace is found, without any open file (needs root)',
    async () => {
      const directory = temporaryDirectory();
      const root = join(directory, 'data');
      fill(directory, { 'data/a': '1' });
      mkdirSync(join(directory, 'elsewhere'));
      const script = `mount --bind '${root}' '${join(directory, 'elsewhere')}' && echo ready && read line`;
      const pid = await start('unshare', ['--mount', 'sh', '-c', script]);
      expect((await findUsers([root], [])).users).toEqual([
        expect.objectContaining({ pid, what: 'mount namespace', path: join(directory, 'elsewhere') }),
      ]);
      expect((await findUsers([join(directory, 'elsewhere')], [])).users).toEqual([]);
    },
  );

  test.skipIf(!isRoot)(
    'in a namespace that mounts a parent elsewhere, files of the root are found by the path there (needs root)',
    async () => {
      const directory = temporaryDirectory();
      fill(directory, { 'parent/data/a': '1', 'parent/other/a': '1' });
      mkdirSync(join(directory, 'elsewhere'));
      const begin = (file: string): string =>
        `mount --bind '${join(directory, 'parent')}' '${join(directory, 'elsewhere')}' && exec 3< '${join(directory, 'elsewhere', file)}' && echo ready && read line`;
      const pid = await start('unshare', ['--mount', 'sh', '-c', begin('data/a')]);
      await start('unshare', ['--mount', 'sh', '-c', begin('other/a')]);
      expect((await findUsers([join(directory, 'parent/data')], [])).users).toEqual([
        expect.objectContaining({ pid, what: 'open file', path: join(directory, 'elsewhere/data/a') }),
      ]);
    },
  );

  test.skipIf(!isRoot)(
    'a second mount of the root in our own namespace is found, the root as a mount point is not one (needs root)',
    async () => {
      const directory = temporaryDirectory();
      fill(directory, { 'volume/a': '1' });
      const [root, second] = [join(directory, 'data'), join(directory, 'second')];
      for (const path of [root, second]) mkdirSync(path);
      mount(join(directory, 'volume'), root);
      expect((await findUsers([root], [])).users).toEqual([]);
      mount(join(directory, 'volume'), second);
      expect((await findUsers([root], [])).users).toEqual([
        { pid: 0, command: '', what: 'mount namespace', path: second },
      ]);
    },
  );
});

test.skipIf(!isRoot)(
  'a lock held outside our pid namespace is found by asking the kernel, and the blindness is told (needs root)',
  async () => {
    const path = join(temporaryDirectory(), 'state.db');
    makeDatabase(path);
    await use('lock', path);
    const script = `
    const { findUsers } = await import(${JSON.stringify(new URL('../../files/in-use.js', import.meta.url).href)});
    const { users, cannotTell } = await findUsers([], [${JSON.stringify(path)}]);
    console.log(JSON.stringify({ users, blind: cannotTell.some(({ pid }) => pid === 0) }));`;
    const said = execFileSync(
      'unshare',
      ['--pid', '--fork', '--mount-proc', process.execPath, '--input-type=module', '-e', script],
      { encoding: 'utf8' },
    );
    expect(JSON.parse(said)).toEqual({ users: [{ pid: 0, command: '', what: 'sqlite lock', path }], blind: true });
  },
);

describe('assertNotInUse', () => {
  test('a user is store_in_use, whatever the detach hook has said', async () => {
    const root = temporaryDirectory();
    fill(root, { a: '1' });
    const pid = await use('open', join(root, 'a'));
    const stop = await stopOf(async () => await assertNotInUse([root], [], { detachConfirmed: true }));
    expect(stop).toMatchObject({
      code: 'store_in_use',
      details: { count: 1, users: [{ pid, path: join(root, 'a') }] },
    });
  });

  test('what can not be inspected is a refusal, which a confirmed detach stands for', async () => {
    const root = temporaryDirectory();
    const { users, cannotTell } = await findUsers([root], []);
    expect(users).toEqual([]);
    const exceptPids = new Set(cannotTell.map(({ pid }) => pid));
    await assertNotInUse([root], [], { detachConfirmed: true });
    if (!exceptPids.has(0)) await assertNotInUse([root], [], { detachConfirmed: false, exceptPids });
    if (cannotTell.length > 0)
      expect(await codeOf(async () => await assertNotInUse([root], [], { detachConfirmed: false }))).toBe(
        'cannot_tell_in_use',
      );
  });

  test.skipIf(!isRoot)(
    'as another user, the processes of root can not be inspected, kernel threads do not matter (needs root)',
    () => {
      const root = temporaryDirectory();
      const script = `
      const { assertNotInUse, findUsers } = await import(${JSON.stringify(new URL('../../files/in-use.js', import.meta.url).href)});
      const { readFileSync } = await import('node:fs');
      process.setgroups([]); process.setgid(12345); process.setuid(12345);
      const { cannotTell } = await findUsers(['/usr/share/nothing-is-here'], []);
      const statOf = (pid) => { try { return readFileSync('/proc/' + pid + '/stat', 'utf8'); } catch { return ''; } };
      const isKernel = (pid) => pid !== 0 && statOf(pid).split(') ')[1]?.split(' ')[1] === '2';
      const code = await assertNotInUse(['/usr/share/nothing-is-here'], [], { detachConfirmed: false }).then(() => 'passed', (error) => error.code);
      console.log(code, cannotTell.some(({ pid }) => pid === ${process.pid}), cannotTell.some(({ pid }) => isKernel(pid)));`;
      const said = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        cwd: root,
      });
      expect(said.trim()).toBe('cannot_tell_in_use true false');
    },
  );
});

test('parseLocks reads holders, waiters and open file descriptions', () => {
  const text =
    '1: POSIX  ADVISORY  READ 1234 fd:01:567 1073741826 1073742335\n1: -> POSIX  ADVISORY  WRITE 99 fd:01:567 0 EOF\n2: OFDLCK ADVISORY  READ -1 00:2f:8 0 0\n';
  expect(parseLocks(text)).toEqual([
    { pid: 1234, major: 0xfd, minor: 1, inode: '567' },
    { pid: 99, major: 0xfd, minor: 1, inode: '567' },
    { pid: -1, major: 0, minor: 0x2f, inode: '8' },
  ]);
});

function mount(source: string, target: string): void {
  execFileSync('mount', ['--bind', source, target]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', target]);
  });
}

/** Whether another process finds the database locked for writing. */
function execLock(path: string): { status: string } {
  const script = `const Database = (await import(${JSON.stringify(import.meta.resolve('better-sqlite3'))})).default;
    try { new Database(${JSON.stringify(path)}, { timeout: 0 }).exec('BEGIN IMMEDIATE'); console.log('free'); } catch (error) { console.log(error.code === 'SQLITE_BUSY' ? 'locked' : error.code); }`;
  return { status: execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim() };
}
