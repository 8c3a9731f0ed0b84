// vault/recover.sh as a person has it: a shell, coreutils, age, zstd and jq, and nothing else on PATH.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { chmodSync, chownSync, lutimesSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { generateIdentity } from 'age-encryption';
import { describe, expect, test } from 'vitest';
import { compress } from 'zstd-napi';
import { canonicalJson } from '../../domain/canonical.js';
import { OBJECTS } from '../../domain/vault.js';
import type { Envelope } from '../../domain/vault.js';
import { seal } from '../../vault/age-file.js';
import { fill, isRoot, temporaryDirectory } from '../files/temporary.js';
import { requires } from '../support/requires.js';
import { BACKUP, RECIPIENT, directory, file } from './manifest-lines.js';
import { makeSmallVault, pictureOf } from './small-vault.js';
import type { SmallOptions, SmallVault } from './small-vault.js';

const SCRIPT = new URL('../../vault/recover.sh', import.meta.url).pathname;
const BACKUP_DIRECTORY = OBJECTS.backup(BACKUP.store, BACKUP.number);

function findProgram(name: string): string | null {
  for (const place of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(place, name);
    try {
      accessSync(path);
      return path;
    } catch {
      continue; // Not in this directory: the next one decides.
    }
  }
  return null;
}

/** A directory with links to the programs that the script says it needs. */
function toolbox(shell: string): string {
  const place = temporaryDirectory();
  const listed = /^# coreutils: (.*)$/m.exec(readFileSync(SCRIPT, 'utf8'))?.[1]?.split(' ') ?? [];
  expect(listed.length).toBeGreaterThan(10);
  for (const name of [...listed, 'age', 'zstd', 'jq']) symlinkSync(findProgram(name) ?? '', join(place, name));
  symlinkSync(shell, join(place, 'sh'));
  return place;
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const SHELLS = ['dash', 'bash', 'busybox'].flatMap((name) => findProgram(name) ?? []);

function recover(argv: readonly string[], shell = SHELLS[0] ?? '/bin/sh', cwd = temporaryDirectory()): Ended {
  const path = toolbox(shell);
  // Under the name sh: bash then does what POSIX says, and busybox is its shell
  const { status, stdout, stderr } = spawnSync(join(path, 'sh'), [SCRIPT, ...argv], {
    cwd,
    env: { PATH: path },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** Names that mean something to a shell, and bytes that mean something to nobody. */
const FILES: Readonly<Record<string, string | Uint8Array>> = {
  'plain.txt': 'plain',
  empty: '',
  "it's": 'quote',
  'two\nlines\n': 'newlines',
  '\n': 'a newline alone',
  'tab\there': 'tab',
  'return\r': 'return',
  'back\\slash\\n': 'backslash',
  '$(touch oops) `touch oops`': 'substitution',
  '-rf': 'dash',
  '--': 'dashes',
  ' leading and trailing ': 'spaces',
  '*': 'star',
  '~': 'tilde',
  '\u00E9': 'composed',
  'e\u0301': 'decomposed',
  '\u{1F600}': 'beyond',
  '"double"; rm -rf .': 'semicolon',
  'incomplete-x': 'like a name of the script',
  'dir/-n/deep \'er\'/x\n"y"': 'deep',
  'dir-/x': 'beside',
  'zero.db': new Uint8Array(50_000),
};

function makeTree(): string {
  const tree = join(temporaryDirectory(), 'tree');
  const random = Buffer.concat(
    Array.from({ length: 3000 }, (_, index) => createHash('sha256').update(String(index)).digest()),
  );
  fill(tree, { ...FILES, 'random.db': random, 'copy.bin': random, 'half.bin': random.subarray(0, 50_000) });
  mkdirSync(join(tree, 'hollow'));
  chmodSync(join(tree, "it's"), 0o4751);
  chmodSync(join(tree, '-rf'), 0o400);
  if (isRoot) chownSync(join(tree, 'plain.txt'), 1234, 4321);
  utimesSync(join(tree, 'plain.txt'), 0, -1.25);
  lutimesSync(join(tree, 'empty'), 5_000_000_000, 5_000_000_000.5);
  utimesSync(join(tree, 'hollow'), 1, 1);
  chmodSync(join(tree, 'dir/-n'), 0o500);
  chmodSync(join(tree, 'hollow'), 0o1777);
  utimesSync(join(tree, 'dir'), 2, 2);
  return tree;
}

const makeVault = (tree: string, options: SmallOptions = {}): Promise<SmallVault> =>
  makeSmallVault(temporaryDirectory(), { data: tree, '-r o\'ot"': join(tree, 'dir') }, options);

function restore(vault: SmallVault, target: string, shell?: string): Ended {
  return recover(['-i', vault.identityFile, vault.directory, 'restore', 'shop', target], shell);
}

async function assertSame(tree: string, target: string): Promise<void> {
  expect(readdirSync(target).sort()).toEqual(['-r o\'ot"', 'data']);
  expect(await pictureOf(join(target, 'data'), isRoot)).toEqual(await pictureOf(tree, isRoot));
  expect(await pictureOf(join(target, '-r o\'ot"'), isRoot)).toEqual(await pictureOf(join(tree, 'dir'), isRoot));
}

const SMALL = { chunkBytes: () => 1000, packBytes: 5000 } as const;

describe.skipIf(requires('age', 'zstd', 'jq'))('recover.sh', () => {
  test.each(SHELLS)('restores every name, byte, mode, time and owner with %s alone', async (shell) => {
    const tree = makeTree();
    const target = join(temporaryDirectory(), 'target');
    const ended = restore(await makeVault(tree), target, shell);
    expect(ended).toMatchObject({ status: 0, stdout: '' });
    expect(ended.stderr).toContain('not checked: signatures');
    await assertSame(tree, target);
  });

  test.each<[string, SmallOptions]>([
    ['packs as holdfast writes them', { isReal: true }],
    ['chunks that are shared, in many packs', SMALL],
    ['single chunks among those of others', { ...SMALL, hasStrangers: true }],
    ['chunks of many sizes', { chunkBytes: (path) => 7 + path.length * 613, packBytes: 20_000, hasStrangers: true }],
  ])('puts files together from %s', async (_, options) => {
    const tree = makeTree();
    const target = temporaryDirectory();
    expect(restore(await makeVault(tree, options), target)).toMatchObject({ status: 0 });
    await assertSame(tree, target);
  });

  test('takes relative directories with any name', async () => {
    const tree = makeTree();
    const vault = await makeVault(tree);
    const place = temporaryDirectory();
    renameSync(vault.directory, join(place, "-v 'x'\n"));
    const argv = ['-i', "./-v 'x'\n/.tmp-person", '--', "-v 'x'\n", 'restore', 'shop', '1', "-t 'y'\n"];
    const ended = recover(argv, undefined, place);
    expect(ended.stderr).toContain('restored backup 1');
    expect(ended.status).toBe(0);
    await assertSame(tree, join(place, "-t 'y'\n"));
    // What the removal at the end of this test goes by
    renameSync(join(place, "-v 'x'\n"), vault.directory);
  });

  test('says what it does not restore', async () => {
    const vault = await makeVault(makeTree(), { xattrs: { 'plain.txt': { 'user.a': 'YQ==' } } });
    const { stderr, status } = restore(vault, temporaryDirectory());
    expect(status).toBe(0);
    expect(stderr).toContain('not restored: extended attributes of 1 files and directories');
  });

  test('says what a filesystem does not take, and ends with 3', async () => {
    const vault = await makeVault(makeTree(), {
      alter: (line) =>
        'file' in line && line.file.path === 'plain.txt'
          ? { file: { ...line.file, mtimeNanos: '9'.repeat(28) } }
          : line,
    });
    const target = temporaryDirectory();
    const { stderr, status } = restore(vault, target);
    expect(status).toBe(3);
    expect(stderr).toContain('not restored: the owners, modes or times that are named above');
    expect(readdirSync(target)).toHaveLength(2);
  });

  test('lists and shows without an identity, and says which packs are missing', async () => {
    const vault = await makeVault(makeTree(), SMALL);
    expect(recover([vault.directory, 'list'])).toMatchObject({
      status: 0,
      stdout: '"shop"  1 backups, the newest is 1 of "2026-01-02T03:04:05.000Z"\n',
    });
    expect(recover([vault.directory, 'show', 'shop']).stdout).toMatch(
      /^1 {2}"2026-\S+ {2}host "alpha" {2}\d+ files, 2 databases, \d+ bytes\n$/,
    );
    rmSync(join(vault.directory, OBJECTS.pack(vault.packs[1]?.sha256 ?? '')));
    expect(recover([vault.directory, 'show', 'shop']).stdout).toContain(`1 OF ${vault.packs.length} PACKS ARE MISSING`);
  });
});

describe.skipIf(requires('age', 'zstd', 'jq'))('recover.sh refuses', () => {
  /** A pack that a file has to itself in part: what is harmed, and what is not. */
  async function damaged(
    change: (path: string) => void,
  ): Promise<Ended & { readonly target: string; readonly pack: string }> {
    const tree = join(temporaryDirectory(), 'tree');
    const noise = (seed: string): Buffer =>
      Buffer.concat(
        Array.from({ length: 200 }, (_, index) =>
          createHash('sha256')
            .update(seed + index)
            .digest(),
        ),
      );
    fill(tree, { "a 'b'\n": noise('a'), sound: noise('s'), zz: noise('z') });
    const vault = await makeSmallVault(temporaryDirectory(), { data: tree }, { packBytes: 6000 });
    const pack = vault.packs[0]?.sha256 ?? '';
    change(join(vault.directory, OBJECTS.pack(pack)));
    const target = temporaryDirectory();
    return { ...restore(vault, target), target, pack };
  }

  test.each<[string, (path: string) => void]>([
    [
      'is changed',
      (path) => {
        const bytes = readFileSync(path);
        bytes[3000] = (bytes[3000] ?? 0) ^ 1;
        writeFileSync(path, bytes);
      },
    ],
    ['is cut short', (path) => writeFileSync(path, readFileSync(path).subarray(0, -1))],
    ['is missing', (path) => rmSync(path)],
    [
      'is a directory',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
  ])('a pack that %s, and names it and what it harms', async (_, change) => {
    const { status, stderr, target, pack } = await damaged(change);
    expect(status).toBe(1);
    expect(stderr).toContain(`DAMAGED: pack ${pack}`);
    expect(stderr.match(/HARMED: .*/g)).toEqual([String.raw`HARMED: "data/a 'b'\n"`]);
    const [left, ...others] = readdirSync(target);
    expect(left).toMatch(/^incomplete-/);
    expect(others).toEqual([]);
    expect(readdirSync(join(target, left ?? '', 'data'))).toEqual(['sound', 'zz']);
  });

  test('a pack whose frames are none, though its name is right', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    await replacePack(vault, Buffer.from('no frame at all'.repeat(10_000)));
    const { status, stderr } = restore(vault, temporaryDirectory());
    expect(status).toBe(1);
    expect(stderr).toContain("can't be decompressed");
    expect(stderr).toContain('HARMED: "data/plain.txt"');
  });

  test.each(['plain.txt', 'two\nlines\n', 'return\r', 'back\\slash\\n', 'empty'])(
    'a file whose digest is not that of the manifest: %j',
    async (path) => {
      const vault = await makeSmallVault(
        temporaryDirectory(),
        { data: makeTree() },
        {
          alter: (line) =>
            'file' in line && line.file.path === path ? { file: { ...line.file, sha256: '0'.repeat(64) } } : line,
        },
      );
      const target = temporaryDirectory();
      const { status, stderr } = restore(vault, target);
      expect(status).toBe(1);
      expect(stderr.match(/.*FAILED/g)).toHaveLength(1);
      expect(stderr).toContain('backup 1 of store shop is damaged');
      expect(readdirSync(target)).toEqual([expect.stringMatching(/^incomplete-/)]);
    },
  );

  test('a manifest that is changed, missing, or of another backup', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    const path = join(vault.directory, OBJECTS.manifest(BACKUP.store, BACKUP.number, BACKUP.backupId));
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.concat([bytes, Buffer.from('x')]));
    expect(restore(vault, temporaryDirectory())).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is damaged: its sha256'),
    });
    rmSync(path);
    expect(restore(vault, temporaryDirectory())).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is missing'),
    });
    await forge(vault, [{ backup: { ...BACKUP, number: 2 } }, directory('data', '.')]);
    expect(restore(vault, temporaryDirectory())).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('it is of another backup'),
    });
  });

  const start = [{ backup: BACKUP }, directory('data', '.')];
  const empty = { sizeBytes: 0, runs: [] };
  test.each<[string, readonly unknown[]]>([
    ['leaves its target', [...start, file('data', '../../oops', empty)]],
    ['is absolute', [...start, file('data', '/oops', empty)]],
    ['ends in a NUL', [...start, file('data', 'oops\0', empty)]],
    ['has a root that leaves', [{ backup: BACKUP }, directory('..', '.')]],
    ['has a root that is a path', [{ backup: BACKUP }, directory('a/b', '.')]],
    ['has a name twice', [...start, file('data', 'a', empty), file('data', 'a', empty)]],
    ['has an unknown line', [...start, { link: { root: 'data', path: 'a' } }]],
    ['has a pack that the envelope has not', [...start, file('data', 'a', { runs: [[1000, 0, 20, 10]] })]],
    ['has runs of another size', [...start, file('data', 'a', { sizeBytes: 3 })]],
    [
      'has an owner that is a command',
      [
        { backup: BACKUP },
        { directory: { root: 'data', path: '.', mode: 1, uid: '0;touch oops', gid: 0, mtimeNanos: '0' } },
      ],
    ],
    [
      'has a time that is a command',
      [
        { backup: BACKUP },
        { directory: { root: 'data', path: '.', mode: 1, uid: 0, gid: 0, mtimeNanos: '0;touch oops' } },
      ],
    ],
  ])('a manifest that %s', async (_, lines) => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    await forge(vault, lines);
    const target = temporaryDirectory();
    const { status, stderr } = restore(vault, target);
    expect(status).toBe(1);
    expect(stderr).toContain("can't be used");
    expect(readdirSync(target)).toEqual([]);
    expect(existsSync(join(dirname(target), 'oops'))).toBe(false);
  });

  test('a manifest without its end', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    await forge(vault, start, []);
    expect(restore(vault, temporaryDirectory())).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('its end is missing'),
    });
  });

  test('an envelope of another place, and digests that are paths', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    const path = join(vault.directory, BACKUP_DIRECTORY, 'envelope.json');
    const envelope = JSON.parse(readFileSync(path, 'utf8')) as Envelope;
    for (const other of [
      { number: 2 },
      { store: 'other' },
      { format: 'holdfast-envelope-2' },
      { packs: [{ sha256: '../../x', sizeBytes: 1 }] },
      { backupId: '../x' },
    ]) {
      writeFileSync(path, canonicalJson({ ...envelope, ...other }));
      expect(restore(vault, temporaryDirectory())).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("envelope.json can't be used"),
      });
    }
  });

  test('a target that is not empty, an identity of somebody else, what is not there, and what makes no sense', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    const full = temporaryDirectory();
    fill(full, { '.hidden': 'x' });
    expect(restore(vault, full)).toMatchObject({ status: 1, stderr: expect.stringContaining('is not empty') });
    expect(readdirSync(full)).toEqual(['.hidden']);
    const stranger = join(temporaryDirectory(), 'identity');
    writeFileSync(stranger, `${await generateIdentity()}\n`);
    const target = join(temporaryDirectory(), 'target');
    const run = (...argv: string[]): Ended => recover(['-i', vault.identityFile, ...argv]);
    const by = (identity: string): Ended => recover(['-i', identity, vault.directory, 'restore', 'shop', target]);
    expect(by(stranger)).toMatchObject({ status: 1, stderr: expect.stringContaining('no vault key opens') });
    for (const wanted of ['2', '0', 'x', '-1', '1; touch oops'])
      expect(run(vault.directory, 'restore', 'shop', wanted, target).status).toBe(1);
    for (const store of ['other', '../backups/shop', '.', ''])
      expect(run(vault.directory, 'restore', store, target).status).toBe(1);
    expect(run(temporaryDirectory(), 'list').status).toBe(1);
    for (const argv of [
      [],
      [vault.directory],
      [vault.directory, 'restore', 'shop'],
      [vault.directory, 'destroy', 'shop'],
    ])
      expect(run(...argv)).toMatchObject({ status: 2, stderr: expect.stringContaining('usage: ') });
    expect(recover([vault.directory, 'restore', 'shop', target]).status).toBe(2);
    expect(existsSync(target)).toBe(false);
  });

  test('to go on without a tool', async () => {
    const vault = await makeSmallVault(temporaryDirectory(), { data: makeTree() });
    const path = toolbox(SHELLS[0] ?? '/bin/sh');
    rmSync(join(path, 'zstd'));
    const run = (): Buffer =>
      execFileSync(join(path, 'sh'), [SCRIPT, vault.directory, 'list'], { env: { PATH: path }, stdio: 'pipe' });
    expect(run).toThrow('zstd is not on PATH');
  });
});

function writeEnvelope(vault: SmallVault, change: (envelope: Envelope) => Envelope): void {
  const path = join(vault.directory, BACKUP_DIRECTORY, 'envelope.json');
  writeFileSync(path, canonicalJson(change(JSON.parse(readFileSync(path, 'utf8')) as Envelope)));
}

const factOf = (bytes: Uint8Array): { sha256: string; sizeBytes: number } => ({
  sha256: createHash('sha256').update(bytes).digest('hex'),
  sizeBytes: bytes.length,
});

/** Whoever may write to a vault can seal what he likes. */
async function forge(
  vault: SmallVault,
  lines: readonly unknown[],
  end: readonly unknown[] = [{ end: { lines: lines.length } }],
): Promise<void> {
  const text = [...lines, ...end].map((line) => `${JSON.stringify(line)}\n`).join('');
  const sealed = await seal(RECIPIENT, compress(Buffer.from(text)));
  writeFileSync(join(vault.directory, OBJECTS.manifest(BACKUP.store, BACKUP.number, BACKUP.backupId)), sealed);
  writeEnvelope(vault, (envelope) => ({ ...envelope, manifest: factOf(sealed) }));
}

/** The first pack by another one. */
async function replacePack(vault: SmallVault, plain: Uint8Array): Promise<void> {
  const sealed = await seal(RECIPIENT, plain);
  const path = join(vault.directory, OBJECTS.pack(factOf(sealed).sha256));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, sealed);
  writeEnvelope(vault, (envelope) => ({ ...envelope, packs: [factOf(sealed), ...envelope.packs.slice(1)] }));
}
