// Digests of trees, and what is mounted where, on real filesystems.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  assertSupportedFilesystem,
  assertSupportedMagic,
  filesystemKind,
  filesystemKindOf,
  isMountPoint,
  mountsBelow,
  parseMountInfo,
} from '../../files/mounts.js';
import { treeDigest } from '../support/tree-digest.js';
import { codeOf, fill, isRoot, temporaryDirectory } from './temporary.js';

describe('treeDigest', () => {
  test.each<[string, (directory: string) => void]>([
    [
      'content',
      (directory) => {
        writeFileSync(join(directory, 'a/b'), 'X');
        utimesSync(join(directory, 'a/b'), 1, 1);
      },
    ],
    ['mode', (directory) => chmodSync(join(directory, 'a/b'), 0o600)],
    ['time', (directory) => utimesSync(join(directory, 'a/b'), 2, 2)],
    ['name', (directory) => renameSync(join(directory, 'a/b'), join(directory, 'a/c'))],
    [
      'link',
      (directory) => {
        rmSync(join(directory, 'link'));
        symlinkSync('other', join(directory, 'link'));
      },
    ],
    ['empty directory', (directory) => mkdirSync(join(directory, 'd'))],
  ])('another %s is another digest', async (_what, change) => {
    const directory = temporaryDirectory();
    fill(directory, { 'a/b': 'x' });
    symlinkSync('target', join(directory, 'link'));
    utimesSync(join(directory, 'a/b'), 1, 1);
    const before = await treeDigest(directory);
    expect(await treeDigest(directory)).toEqual(before);
    change(directory);
    expect((await treeDigest(directory)).sha256).not.toBe(before.sha256);
  });

  test('without times a copy is the same', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'one/a/b': 'x', 'two/a/b': 'x' });
    utimesSync(join(directory, 'two/a/b'), 1, 1);
    expect(await treeDigest(join(directory, 'one'), { times: 'none' })).toEqual(
      await treeDigest(join(directory, 'two'), { times: 'none' }),
    );
  });
});

describe('mounts', () => {
  test('mountinfo is parsed with its escapes and optional fields', () => {
    const text =
      '36 35 98:0 /mnt1\\040x /mnt2\\134y rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n40 35 0:5 / /p rw - proc proc rw,hidepid=2\n\n';
    expect(parseMountInfo(text)).toEqual([
      {
        id: 36,
        device: '98:0',
        root: '/mnt1 x',
        mountPoint: '/mnt2\\y',
        type: 'ext3',
        source: '/dev/root',
        superOptions: ['rw', 'errors=continue'],
      },
      {
        id: 40,
        device: '0:5',
        root: '/',
        mountPoint: '/p',
        type: 'proc',
        source: 'proc',
        superOptions: ['rw', 'hidepid=2'],
      },
    ]);
  });

  test('what is a mount point is known, and what is mounted below it', async () => {
    expect(await isMountPoint('/proc')).toBe(true);
    expect(await isMountPoint('/proc/absent/below')).toBe(false);
    expect(await isMountPoint(temporaryDirectory())).toBe(false);
    expect(await mountsBelow(temporaryDirectory())).toEqual([]);
    expect(await mountsBelow('/')).toContain('/proc');
  });

  test.each([
    [0xef53, 'ext4', null],
    [0x58465342, 'xfs', null],
    [0x9123683e, 'btrfs', null],
    [-0x6edc97c2, 'btrfs', null],
    [0x6969, 'nfs', 'unsupported_filesystem'],
    [0x01021994, 'tmpfs', 'unsupported_filesystem'],
    [0x858458f6, 'ramfs', 'unsupported_filesystem'],
    [0xff534d42, 'cifs', 'unsupported_filesystem'],
    [0x65735546, 'fuse', 'unsupported_filesystem'],
    [0x12345678, 'unknown-12345678', 'unsupported_filesystem'],
  ])('magic 0x%x is %s: %s', async (magic, kind, code) => {
    expect(filesystemKindOf(magic)).toBe(kind);
    if (code === null) expect(() => assertSupportedMagic('/x', magic)).not.toThrow();
    else expect(await codeOf(() => assertSupportedMagic('/x', magic))).toBe(code);
  });

  test.skipIf(!isRoot)(
    'a real tmpfs is refused, a real XFS is not, and a store can be exchanged on it (needs root)',
    async () => {
      const directory = temporaryDirectory();
      const [memory, disk] = [join(directory, 'memory'), join(directory, 'disk')];
      for (const path of [memory, disk]) mkdirSync(path);
      mount(['-t', 'tmpfs', 'none', memory], memory);
      expect(await codeOf(async () => await assertSupportedFilesystem(memory))).toBe('unsupported_filesystem');
      execFileSync('truncate', ['-s', '320M', join(directory, 'image')]);
      execFileSync('mkfs.xfs', ['-q', join(directory, 'image')]);
      mount(['-o', 'loop', join(directory, 'image'), disk], disk);
      expect(await filesystemKind(disk)).toBe('xfs');
      await assertSupportedFilesystem(disk);
      const { performExchange, planExchange } = await import('../../files/exchange.js');
      fill(disk, { 'data/a': 'old', 'staged/a': 'new' });
      await performExchange(
        await planExchange([
          { root: 'data', mode: 'root', livePath: join(disk, 'data'), stagedPath: join(disk, 'staged'), untouched: [] },
        ]),
      );
      expect(readFileSync(join(disk, 'data/a'), 'utf8')).toBe('new');
    },
  );
});

function mount(argv: string[], mountPoint: string): void {
  execFileSync('mount', argv);
  onTestFinished(() => {
    execFileSync('umount', [mountPoint]);
  });
}
