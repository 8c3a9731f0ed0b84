// Durable writes, errno translation and the system calls below them (SM-9, F-9).
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import {
  ensureDirectory,
  fsyncDirectory,
  removeTree,
  renameDurable,
  syncFilesystem,
  writeFileDurable,
  writeNewDurable,
} from '../../files/durable.js';
import { hasErrno, isErrnoError, translateErrno } from '../../files/errors.js';
import {
  getXattr,
  listXattrs,
  lockHolder,
  removeXattr,
  renameExchange,
  renameNoReplace,
  setMtime,
  setXattr,
  SystemCallError,
  syncFilesystemOf,
} from '../../files/system-calls.js';
import { requires } from '../support/requires.js';
import { codeOf, fill, isRoot, stopOf, temporaryDirectory } from './temporary.js';

describe('translateErrno', () => {
  test.each([
    ['ENOSPC', 28, 'no_space'],
    ['EDQUOT', 122, 'no_space'],
    ['EACCES', 13, 'permission_denied'],
    ['EPERM', 1, 'permission_denied'],
    ['EIO', 5, 'io_error'],
  ] as const)('%s becomes a stop', (name, errno, code) => {
    const error = translateErrno(new SystemCallError('write', '/x', errno), { step: 'stage' });
    expect(error).toMatchObject({
      name: 'Stop',
      code,
      details: { path: '/x', errno: name, systemCall: 'write', step: 'stage' },
    });
  });

  test('leaves stops and defects as they are', () => {
    const stop = new Stop('fenced', 'fenced');
    const defect = new TypeError('defect');
    expect(translateErrno(stop)).toBe(stop);
    expect(translateErrno(defect)).toBe(defect);
  });
});

describe('writeFileDurable', () => {
  test('replaces a file whole, with exactly the mode asked for, and leaves no temporary file', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'a');
    await writeFileDurable(path, 'old and longer', 0o600);
    await writeFileDurable(path, 'new', 0o666);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).mode & 0o7777).toBe(0o666);
    expect(readdirSync(directory)).toEqual(['a']);
  });

  test('replaces a symbolic link, not the file behind it', async () => {
    const directory = temporaryDirectory();
    fill(directory, { behind: 'kept' });
    symlinkSync('behind', join(directory, 'link'));
    await writeFileDurable(join(directory, 'link'), 'new', 0o600);
    expect(readFileSync(join(directory, 'behind'), 'utf8')).toBe('kept');
    expect(lstatSync(join(directory, 'link')).isFile()).toBe(true);
  });

  test('leaves nothing behind when the target is a directory', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'a'));
    expect(await codeOf(async () => await writeFileDurable(join(directory, 'a'), 'x', 0o600))).toBe('io_error');
    expect(readdirSync(directory)).toEqual(['a']);
  });

  test('a missing directory is a stop that names the path', async () => {
    const path = join(temporaryDirectory(), 'absent', 'a');
    expect(await stopOf(async () => await writeFileDurable(path, 'x', 0o600))).toMatchObject({
      code: 'io_error',
      details: { path, errno: 'ENOENT' },
    });
  });
});

describe('writeNewDurable and renameDurable', () => {
  test('a target that exists is a stop and stays as it was', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'first', b: 'other' });
    expect(await codeOf(async () => await writeNewDurable(join(directory, 'a'), 'second', 0o600))).toBe(
      'target_exists',
    );
    expect(await codeOf(async () => await renameDurable(join(directory, 'b'), join(directory, 'a')))).toBe(
      'target_exists',
    );
    expect(readFileSync(join(directory, 'a'), 'utf8')).toBe('first');
    expect(readdirSync(directory).sort()).toEqual(['a', 'b']);
  });

  test('an empty directory in the way is not replaced either', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'source/a': '1' });
    mkdirSync(join(directory, 'target'));
    expect(await codeOf(async () => await renameDurable(join(directory, 'source'), join(directory, 'target')))).toBe(
      'target_exists',
    );
  });

  test.skipIf(requires('strace'))(
    'a directory is renamed on a filesystem that can not be told to replace nothing, and replaces nothing there either',
    () => {
      const directory = temporaryDirectory();
      fill(directory, { 'made/file': 'new', 'other/file': 'new' });
      mkdirSync(join(directory, 'empty'));
      const script = `
        const { renameDurable } = await import(${JSON.stringify(new URL('../../files/durable.js', import.meta.url).href)});
        await renameDurable('made', 'published');
        console.log(await renameDurable('other', 'empty').then(() => 'replaced', (error) => error.code));`;
      const { stdout } = spawnSync(
        'strace',
        [
          '-f',
          '-o',
          '/dev/null',
          '-e',
          'trace=renameat2',
          '-e',
          'inject=renameat2:error=EINVAL',
          process.execPath,
        ].concat(['--input-type=module', '-e', script]),
        { cwd: directory, encoding: 'utf8' },
      );
      expect(stdout.trim()).toBe('target_exists');
      expect(readFileSync(join(directory, 'published', 'file'), 'utf8')).toBe('new');
      expect(readdirSync(directory).sort()).toEqual(['empty', 'other', 'published']);
    },
  );

  test('write and rename what is new', async () => {
    const directory = temporaryDirectory();
    await writeNewDurable(join(directory, 'a'), 'first', 0o640);
    mkdirSync(join(directory, 'below'));
    await renameDurable(join(directory, 'a'), join(directory, 'below', 'b'));
    expect(readFileSync(join(directory, 'below', 'b'), 'utf8')).toBe('first');
  });
});

describe('removeTree and ensureDirectory', () => {
  test('a tree is removed, what its links point at is not, and again is fine', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'outside/kept': '1', 'tree/a/b': '2' });
    symlinkSync(join(directory, 'outside'), join(directory, 'tree', 'link'));
    await removeTree(join(directory, 'tree'));
    await removeTree(join(directory, 'tree'));
    await removeTree(join(directory, 'absent', 'below'));
    expect(existsSync(join(directory, 'tree'))).toBe(false);
    expect(readFileSync(join(directory, 'outside', 'kept'), 'utf8')).toBe('1');
  });

  test('directories that their owner may not write or read do not keep a tree from being removed', () => {
    const directory = temporaryDirectory();
    fill(directory, { 'tree/shut/below/file': '1', 'tree/dark/file': '2', 'outside/kept': '3' });
    symlinkSync(join(directory, 'outside'), join(directory, 'tree/shut/link'));
    for (const [path, mode] of [
      ['outside', 0o555],
      ['tree/shut/below', 0o500],
      ['tree/shut', 0o555],
      ['tree/dark', 0],
    ] as const)
      chmodSync(join(directory, path), mode);
    // Root may write everywhere: another user is asked
    const user = isRoot ? { uid: 65_534, gid: 65_534 } : {};
    if (isRoot) execFileSync('chown', ['-R', '--no-dereference', '65534:65534', directory]);
    const program = `
      const { removeTree } = await import(${JSON.stringify(new URL('../../files/durable.js', import.meta.url).href)});
      await removeTree(${JSON.stringify(join(directory, 'tree'))});`;
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      ...user,
      encoding: 'utf8',
    });
    expect([stderr, existsSync(join(directory, 'tree'))]).toEqual(['', false]);
    expect(statSync(join(directory, 'outside')).mode & 0o777).toBe(0o555);
    expect(readFileSync(join(directory, 'outside/kept'), 'utf8')).toBe('3');
  });

  test('directories are made with their parents and exactly their mode; what exists keeps its own', async () => {
    const directory = temporaryDirectory();
    await ensureDirectory(join(directory, 'a', 'b'), 0o777);
    await ensureDirectory(join(directory, 'a', 'b'), 0o700);
    expect(statSync(join(directory, 'a', 'b')).mode & 0o7777).toBe(0o777);
    expect(statSync(join(directory, 'a')).mode & 0o7777).toBe(0o777);
  });

  test('a file where the directory should be is a stop', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '1' });
    expect(await codeOf(async () => await ensureDirectory(join(directory, 'a'), 0o700))).toBe('target_exists');
    expect(await codeOf(async () => await ensureDirectory(join(directory, 'a', 'b'), 0o700))).toBe('target_exists');
  });

  test('a directory and a filesystem can be synced, an absent path is a stop', async () => {
    const directory = temporaryDirectory();
    await fsyncDirectory(directory);
    await syncFilesystem(directory);
    expect(await codeOf(async () => await fsyncDirectory(join(directory, 'absent')))).toBe('io_error');
  });
});

describe('system calls', () => {
  test('exchange swaps two names, a missing one is ENOENT', () => {
    const directory = temporaryDirectory();
    fill(directory, { 'left/a': '1', right: '2' });
    renameExchange(join(directory, 'left'), join(directory, 'right'));
    expect(readFileSync(join(directory, 'left'), 'utf8')).toBe('2');
    expect(readFileSync(join(directory, 'right', 'a'), 'utf8')).toBe('1');
    const error = failureOf(() => renameExchange(join(directory, 'left'), join(directory, 'absent')));
    expect(hasErrno(error, 'ENOENT')).toBe(true);
    expect(isErrnoError(error)).toBe(true);
  });

  test('a path with a NUL is a defect, not another file', () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '1' });
    expect(() => renameNoReplace(`${join(directory, 'a')}\0x`, join(directory, 'b'))).toThrow('defect');
    expect(existsSync(join(directory, 'a'))).toBe(true);
  });

  test('extended attributes are listed, read, set and removed, empty values too', () => {
    const path = join(temporaryDirectory(), 'a');
    writeFileSync(path, 'x');
    expect(listXattrs(path)).toEqual([]);
    setXattr(path, 'user.one', Buffer.from([0, 255, 10]));
    setXattr(path, 'user.none', Buffer.alloc(0));
    expect(listXattrs(path).sort()).toEqual(['user.none', 'user.one']);
    expect(getXattr(path, 'user.one')).toEqual(Buffer.from([0, 255, 10]));
    expect(getXattr(path, 'user.none')).toHaveLength(0);
    removeXattr(path, 'user.one');
    expect(
      hasErrno(
        failureOf(() => getXattr(path, 'user.one')),
        'ENODATA',
      ),
    ).toBe(true);
  });

  test.each([1_700_000_000_123_456_789n, 0n, -1n, -1_500_000_000n])(
    'times keep their nanoseconds: %s',
    (mtimeNanos) => {
      const path = join(temporaryDirectory(), 'a');
      writeFileSync(path, 'x');
      setMtime(path, mtimeNanos);
      expect(lstatSync(path, { bigint: true }).mtimeNs).toBe(mtimeNanos);
    },
  );

  test('a failed syncfs says which errno', async () => {
    const directory = temporaryDirectory();
    const descriptor = openSync(directory, 'r');
    await syncFilesystemOf(descriptor, directory);
    closeSync(descriptor);
    await expect(syncFilesystemOf(-1, directory)).rejects.toMatchObject({ code: 'EBADF', syscall: 'syncfs' });
  });

  test('a file without locks has no lock holder', () => {
    const path = join(temporaryDirectory(), 'a');
    writeFileSync(path, 'x');
    const descriptor = openSync(path, 'r');
    try {
      expect(lockHolder(descriptor, path, 0, 100)).toBe(null);
    } finally {
      closeSync(descriptor);
    }
  });
});

function failureOf(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
