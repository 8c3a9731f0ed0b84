// Modes, owners, times and extended attributes (P-15), and what is carried over by hard link.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { carryOver } from '../../files/hard-link.js';
import { applyMetadata, applyMetadataToAll, metadataOf, ownersDiffer, readMetadata } from '../../files/metadata.js';
import { setMtime, setXattr } from '../../files/system-calls.js';
import { walkTree } from '../../files/walk.js';
import { codeOf, fill, isRoot, temporaryDirectory } from './temporary.js';

const NANOS = 1_600_000_000_123_456_789n;

describe('metadata', () => {
  test('what was read from one file and applied to another reads the same', () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '1', b: '2' });
    chmodSync(join(directory, 'a'), 0o6751);
    setXattr(join(directory, 'a'), 'user.kind', Buffer.from([0, 1, 255]));
    setXattr(join(directory, 'b'), 'user.surplus', Buffer.from('x'));
    setMtime(join(directory, 'a'), NANOS);
    const metadata = readMetadata(join(directory, 'a'));
    expect(metadata).toMatchObject({ mode: 0o6751, mtimeNanos: `${NANOS}`, xattrs: { 'user.kind': 'AAH/' } });
    applyMetadata(join(directory, 'b'), metadata, { asRoot: isRoot });
    expect(readMetadata(join(directory, 'b'))).toEqual(metadata);
  });

  test('a file without attributes says nothing of them, and the walk knows the same', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '1' });
    const path = join(directory, 'a');
    expect(readMetadata(path)).not.toHaveProperty('xattrs');
    const entry = (await walkTree(directory, { detectDatabases: false })).find((walked) => walked.path === 'a');
    if (entry === undefined) throw new Error('not walked');
    expect(metadataOf(entry, path)).toEqual(readMetadata(path));
  });

  test('directories keep their times although their contents are given theirs', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'd/e/a': '1' });
    const targets = ['d', 'd/e', 'd/e/a'].map((path) => ({
      path: join(directory, path),
      metadata: { ...readMetadata(join(directory, path)), mtimeNanos: `${NANOS}` },
    }));
    await applyMetadataToAll(targets, { asRoot: isRoot });
    for (const { path } of targets) expect(lstatSync(path, { bigint: true }).mtimeNs).toBe(NANOS);
  });

  test('an access control list is kept with its mode', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: '1', b: '2' });
    // Version 2; user::rw-, user:1000:r--, group::r--, mask::r--, other::---
    const acl = Buffer.from(
      '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff',
      'hex',
    );
    setXattr(join(directory, 'a'), 'system.posix_acl_access', acl);
    const metadata = readMetadata(join(directory, 'a'));
    expect(metadata.xattrs).toHaveProperty(['system.posix_acl_access']);
    applyMetadata(join(directory, 'b'), metadata, { asRoot: isRoot });
    expect(readMetadata(join(directory, 'b'))).toEqual(metadata);
  });

  test.skipIf(!isRoot)('owners are given back, and set-id bits survive it (needs root)', () => {
    const path = join(temporaryDirectory(), 'a');
    writeFileSync(path, '1');
    applyMetadata(path, { mode: 0o4755, uid: 12345, gid: 12346, mtimeNanos: '0' }, { asRoot: true });
    expect(readMetadata(path)).toEqual({ mode: 0o4755, uid: 12345, gid: 12346, mtimeNanos: '0' });
  });

  test.skipIf(!isRoot)('root owns everything it needs; another user differs from any other (needs root)', () => {
    expect(ownersDiffer({ uid: 12345, gid: 12345 })).toBe(false);
    const script = `
      const { ownersDiffer } = await import(${JSON.stringify(new URL('../../files/metadata.js', import.meta.url).href)});
      process.setgroups([777]); process.setgid(555); process.setuid(555);
      console.log([[555, 555], [555, 777], [555, 556], [556, 555], [0, 0]].map(([uid, gid]) => ownersDiffer({ uid, gid })).join(' '));`;
    const said = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(said.stdout.trim()).toBe('false false true true true');
  });

  test('an absent file is a stop', async () => {
    expect(await codeOf(() => readMetadata(join(temporaryDirectory(), 'absent')))).toBe('io_error');
  });
});

describe('carryOver', () => {
  async function outsideOf(live: string, ...captured: string[]) {
    return (await walkTree(live, { detectDatabases: false })).filter(
      (entry) => entry.path !== '.' && !captured.includes(entry.path),
    );
  }

  test('files, links, sockets and FIFOs are linked, directories made alike, and times in staging kept', async () => {
    const directory = temporaryDirectory();
    const [live, staged] = [join(directory, 'live'), join(directory, 'staged')];
    fill(live, { '.env': 'secret', 'tls/key': 'key', 'app/state': 'old', 'app/log/today': 'log' });
    fill(staged, { 'app/state': 'new' });
    mkdirSync(join(live, 'empty'), { mode: 0o750 });
    chmodSync(join(live, 'tls'), 0o700);
    symlinkSync('/nowhere', join(live, 'tls/link'));
    expect(spawnSync('mkfifo', [join(live, 'fifo')]).status).toBe(0);
    if (isRoot) chownSync(join(live, 'tls'), 12345, 12345);
    for (const path of [live, join(live, 'tls'), join(live, 'empty'), staged, join(staged, 'app')])
      setMtime(path, NANOS);
    const carried = await carryOver(await outsideOf(live, 'app', 'app/state'), live, staged);
    expect(carried).toEqual({ linked: 5, directories: 3 });
    for (const path of ['.env', 'tls/key', 'tls/link', 'fifo', 'app/log/today']) {
      expect(lstatSync(join(staged, path)).ino).toBe(lstatSync(join(live, path)).ino);
    }
    expect(readlinkSync(join(staged, 'tls/link'))).toBe('/nowhere');
    expect(readFileSync(join(staged, 'app/state'), 'utf8')).toBe('new');
    for (const path of ['tls', 'empty'])
      expect(readMetadata(join(staged, path))).toEqual(readMetadata(join(live, path)));
    for (const path of [staged, join(staged, 'app')]) expect(statSync(path, { bigint: true }).mtimeNs).toBe(NANOS);
  });

  test('a directory that only the live tree has is made for what is carried into it', async () => {
    const directory = temporaryDirectory();
    const [live, staged] = [join(directory, 'live'), join(directory, 'staged')];
    fill(live, { 'a/b/kept': '1' });
    mkdirSync(staged);
    const outside = await outsideOf(live, 'a', 'a/b');
    expect(await carryOver(outside, live, staged)).toEqual({ linked: 1, directories: 2 });
    expect(readFileSync(join(staged, 'a/b/kept'), 'utf8')).toBe('1');
  });

  test.each([
    ['a file', { x: 'staged' }, { x: 'live' }],
    ['a directory in the place of a file', { 'x/y': 'staged' }, { x: 'live' }],
    ['a file in the place of a directory', { x: 'staged' }, { 'x/y': 'live' }],
  ])('%s at a target is unclear_target, and stays as it was', async (_what, inStaged, inLive) => {
    const directory = temporaryDirectory();
    fill(join(directory, 'live'), inLive);
    fill(join(directory, 'staged'), inStaged);
    const outside = await outsideOf(join(directory, 'live'));
    expect(await codeOf(async () => await carryOver(outside, join(directory, 'live'), join(directory, 'staged')))).toBe(
      'unclear_target',
    );
    for (const [path, content] of Object.entries(inStaged))
      expect(readFileSync(join(directory, 'staged', path), 'utf8')).toBe(content);
  });

  test('a directory of the live tree that became a link to elsewhere links nothing of there', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'live/x/key': 'ours', 'elsewhere/key': 'theirs' });
    mkdirSync(join(directory, 'staged'));
    const outside = await outsideOf(join(directory, 'live'));
    renameSync(join(directory, 'live/x'), join(directory, 'live/y'));
    symlinkSync('../elsewhere', join(directory, 'live/x'));
    expect(await codeOf(async () => await carryOver(outside, join(directory, 'live'), join(directory, 'staged')))).toBe(
      'source_changed',
    );
  });

  test('links in the staged tree are not followed out of it', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'live/x/y': '1', 'elsewhere/z': '1' });
    mkdirSync(join(directory, 'staged'));
    symlinkSync('../elsewhere', join(directory, 'staged/x'));
    const outside = await outsideOf(join(directory, 'live'));
    expect(await codeOf(async () => await carryOver(outside, join(directory, 'live'), join(directory, 'staged')))).toBe(
      'unclear_target',
    );
  });
});
