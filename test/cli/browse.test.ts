// Looking into backups without restoring them, wherever they lie: holdfast ls, cat, find, diff, and the time of --at.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';
import { makeVaultFor } from '../vault/vault-of-engine.js';
import type { TestVault } from '../vault/vault-of-engine.js';
import { CONTROL_CHARACTERS, jsonLines, run, startProgram, PROGRAM } from './room.js';
import type { JsonLine } from './room.js';

const KINDS = ['a directory', 'a vault'] as const;
const FILES = { 'files/one': 'one', 'files/deep/two': 'two', 'files/empty': '', 'files/deep/photo.jpg': 'jpeg' };

describe.skipIf(requires('temporal', 'age')).each(KINDS)('backups in %s', (kind) => {
  const engine = useEngine();
  let vault: TestVault;
  beforeAll(async () => {
    vault = await makeVaultFor(engine(), 'main');
  });

  const storeOf = (purpose: string, options: StoreOptions = {}): TestStore =>
    makeStore(engine(), purpose, { ...options, ...(kind === 'a vault' && { backup: { vault: vault.name } }) });
  const holdfast = (...argv: readonly string[]) => run(engine().environment, ...argv);
  const json = async (...argv: readonly string[]) => jsonLines(await holdfast(...argv, '--json'));
  const namesOf = (lines: readonly JsonLine[]): unknown[] =>
    lines.filter(({ type }) => type !== 'result').map(({ name }) => name);
  const scratch = (): readonly string[] => {
    const path = join(engine().directory, 'state', 'scratch');
    return existsSync(path) ? readdirSync(path) : [];
  };

  test('ls lists roots, then what is below a path, to any depth when asked', async () => {
    const store = storeOf('listed', { files: FILES });
    await store.backup();
    const roots = await json('ls', store.name, 'latest');
    expect(namesOf(roots.lines)).toEqual(['data']);
    expect(roots.last).toMatchObject({ count: 1, backupId: expect.any(String) });
    expect(namesOf((await json('ls', store.name, 'latest', 'data/files/')).lines)).toEqual([
      'data/files/deep',
      'data/files/empty',
      'data/files/one',
    ]);
    expect(namesOf((await json('ls', store.name, '1', 'data', '-r')).lines)).toEqual([
      'data/a.db',
      'data/files',
      'data/files/deep',
      'data/files/deep/photo.jpg',
      'data/files/deep/two',
      'data/files/empty',
      'data/files/one',
    ]);
    const { lines } = await json('ls', store.name, 'latest', 'data/files/one');
    expect(lines[0]).toMatchObject({
      name: 'data/files/one',
      sizeBytes: 3,
      sha256: createHash('sha256').update('one').digest('hex'),
    });
    expect(lines[0]).not.toHaveProperty('runs');
    const shown = (await holdfast('ls', store.name, 'latest', 'data/files/one')).stdout;
    expect(shown).toMatch(/^-rw.{7} +3 {2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}data\/files\/one\n$/);
    expect((await json('ls', store.name, 'latest', 'data/nothing')).last).toMatchObject({ code: 'file_missing' });
    expect((await json('ls', store.name, '99')).last).toMatchObject({ code: 'artefact_missing', exit: 65 });
  });

  test('no name steers the terminal that it is shown on', async () => {
    const store = storeOf('hostile', { files: { 'files/\u001B[2J\r\n"x': 'x' } });
    await store.backup();
    const { stdout } = await holdfast('ls', store.name, 'latest', 'data/files');
    expect(stdout).not.toMatch(CONTROL_CHARACTERS);
    expect(stdout).toContain(String.raw`"data/files/\u001b[2J\r\n\"x"`);
    expect((await holdfast('find', store.name, '*x')).stdout).not.toMatch(CONTROL_CHARACTERS);
  });

  test('cat prints exactly the bytes of one file, and leaves nothing behind', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024 + 17, 'not zero').toString('latin1');
    const store = storeOf('printed', { files: { ...FILES, 'files/large': large } });
    await store.backup();
    expect((await holdfast('cat', store.name, 'latest', 'data/files/large')).stdout).toBe(large);
    expect(await holdfast('cat', store.name, 'latest', 'data/files/empty')).toMatchObject({ status: 0, stdout: '' });
    const target = join(store.directory, 'copy.db');
    const { last } = await json('cat', store.name, 'latest', 'data/a.db', '--output', target);
    expect(last).toMatchObject({ output: target, type: 'result', sha256: digestOf(target) });
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect((await json('cat', store.name, 'latest', 'data/a.db', '-o', target)).last).toMatchObject({
      code: 'target_exists',
    });
    for (const name of ['data/files', 'data/none'])
      expect((await json('cat', store.name, 'latest', name, '-o', `${target}-2`)).last).toMatchObject({
        code: 'file_missing',
      });
    for (const words of [['latest', 'data/files/one', '--json'], ['latest']])
      expect((await holdfast('cat', store.name, ...words)).status).toBe(64);
    expect(scratch()).toEqual([]);
  });

  test('what a killed command has left in clear is removed by the next one', async () => {
    const store = storeOf('left');
    await store.backup();
    const left = join(engine().directory, 'state', 'scratch', '1_1_another-boot_pid:[1]_aaaaaaaa');
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, 'file'), 'in clear');
    await holdfast('cat', store.name, 'latest', 'data/a.db');
    expect(scratch()).toEqual([]);
  });

  test('cat into a reader that goes away ends well', async () => {
    const store = storeOf('piped', { files: { 'files/large': 'x'.repeat(3 * 1024 * 1024) } });
    await store.backup();
    const command = `'${process.execPath}' '${PROGRAM}' cat ${store.name} latest data/files/large | head -c 5; echo " \${PIPESTATUS[0]}"`;
    expect(await startProgram(engine().environment, 'bash', '-c', command).ended).toMatchObject({
      stdout: 'xxxxx 0\n',
      stderr: '',
    });
    expect(scratch()).toEqual([]);
  });

  test('cat prints nothing of a file that does not check', async () => {
    const store = storeOf('flipped', { files: { 'files/one': `unlike any other ${kind}`.repeat(5000) } });
    const known = new Set(packsOf(vault));
    const { artefact } = await store.backup();
    const paths =
      kind === 'a vault' ? packsOf(vault).filter((path) => !known.has(path)) : [join(artefact, 'data/data/files/one')];
    for (const path of paths) {
      const bytes = readFileSync(path);
      bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    }
    const { status, stdout, stderr } = await holdfast('cat', store.name, 'latest', 'data/files/one');
    expect({ status, stdout }).toEqual({ status: 65, stdout: '' });
    expect(stderr).toMatch(kind === 'a vault' ? /STOP vault_invalid/ : /STOP checksum_mismatch/);
    const target = join(store.directory, 'not-sound');
    const written = await holdfast('cat', store.name, 'latest', 'data/files/one', '--output', target);
    expect(written.status).toBe(65);
    expect(readdirSync(store.directory).filter((name) => name.includes('not-sound'))).toEqual([]);
    expect(scratch()).toEqual([]);
  });

  test('find looks into every backup, or into one, and says which', async () => {
    const store = storeOf('sought', { files: FILES });
    await store.backup();
    store.write('files/deep/second.jpg', 'second');
    await store.backup();
    const { lines, last } = await json('find', store.name, '*.jpg');
    expect(
      lines.slice(0, -1).map(({ name, backup }) => [String(backup).split('/').at(-1)?.slice(-2) ?? '', name]),
    ).toHaveLength(3);
    expect(namesOf(lines)).toEqual([
      'data/files/deep/photo.jpg',
      'data/files/deep/photo.jpg',
      'data/files/deep/second.jpg',
    ]);
    expect(last).toMatchObject({ backups: 2, count: 3 });
    expect(namesOf((await json('find', store.name, 'data/*.db', '--backup', '1')).lines)).toEqual(['data/a.db']);
    expect((await json('find', store.name, 'none')).last).toMatchObject({ type: 'result', backups: 2, count: 0 });
    expect((await holdfast('find', store.name, '*.jpg', '--backup', '2')).stdout).toMatch(
      /^ +2 {2}\S+Z {2}-\S+ +4 {2}\S+ {2}data\/files\/deep\/photo.jpg\n/,
    );
  });

  test('find does not say that nothing is there where it could not look', async () => {
    const store = storeOf('half', { files: FILES });
    const [first] = [await store.backup(), await store.backup()];
    const manifest =
      kind === 'a vault'
        ? join(vault.directory, 'backups', store.name, '0000000000000001', 'envelope.json')
        : join(first.artefact, 'manifest.json');
    writeFileSync(manifest, `${readFileSync(manifest, 'utf8')} `.replace('"host"', '"hast"'));
    const { lines, last } = await json('find', store.name, 'photo.jpg');
    expect(namesOf(lines.slice(0, -1))).toEqual(['data/files/deep/photo.jpg']);
    expect(last).toMatchObject({
      type: 'error',
      code: kind === 'a vault' ? 'vault_invalid' : 'manifest_invalid',
      details: { backups: expect.arrayContaining([expect.objectContaining({ path: expect.stringMatching(/1/) })]) },
    });
  });

  test('diff tells of files by what differs, and of rows by key', async () => {
    const store = storeOf('differing', {
      files: FILES,
      contents: {
        'a.db': `CREATE TABLE item (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO item (v) VALUES ('one'), ('two'), ('three');
          CREATE TABLE same (k TEXT PRIMARY KEY, v); INSERT INTO same VALUES ('k', 1), ('l', 2);`,
      },
    });
    await store.backup();
    sql(
      store.path('a.db'),
      "UPDATE item SET v = 'TWO' WHERE id = 2; DELETE FROM item WHERE id = 3; INSERT INTO item VALUES (7, 'seven'), (8, 'eight')",
    );
    store.write('files/one', 'eno');
    store.write('files/new', 'new');
    renameSync(store.path('files/deep/photo.jpg'), store.path('files/photo.jpg'));
    await store.backup();
    const { lines, last } = await json('diff', store.name, '1', '2', '--rows', '--keys', '1');
    expect(lines.filter(({ type }) => type === 'difference').map(({ name, change }) => [change, name])).toEqual([
      ['changed', 'data/a.db'],
      ['removed', 'data/files/deep/photo.jpg'],
      ['added', 'data/files/new'],
      ['changed', 'data/files/one'],
      ['added', 'data/files/photo.jpg'],
    ]);
    expect(lines.find(({ name }) => name === 'data/files/one')).toMatchObject({ differences: ['content', 'time'] });
    expect(last).toMatchObject({ added: 2, removed: 1, changed: 2 });
    expect(lines.find(({ type }) => type === 'rows')).toMatchObject({
      name: 'data/a.db',
      tablesSame: 1,
      schema: [],
      tables: [
        {
          table: 'item',
          key: ['id'],
          added: { count: 2, keys: [['7']] },
          removed: { count: 1, keys: [['3']] },
          changed: { count: 1, keys: [['2']] },
        },
      ],
    });
    const { stdout } = await holdfast('diff', store.name, '1', '2', 'data/a.db', '--rows');
    expect(stdout.split('\n')).toEqual([
      expect.stringMatching(/^~ data\/a\.db {2}\(content/),
      '    table item, by id: 2 added, 1 removed, 1 changed',
      '      + 7',
      '      + 8',
      '      - 3',
      '      ~ 2',
      '    1 table without a difference',
      '',
    ]);
    expect((await json('diff', store.name, '2', 'latest')).last).toMatchObject({ added: 0, removed: 0, changed: 0 });
    expect((await json('diff', store.name, '1', '2', 'data/none')).last).toMatchObject({ code: 'file_missing' });
    expect(scratch()).toEqual([]);
  });

  describe('by time', () => {
    test('--at is the newest backup that shows no later state, and the plan names it', async () => {
      const store = storeOf('timed', { files: FILES });
      const before = new Date(Date.now() - 1000).toISOString();
      await store.backup();
      await pause();
      const between = new Date().toISOString();
      await pause();
      store.write('files/late', 'late');
      await store.backup();
      const after = new Date(Date.now() + 1000).toISOString();
      const show = async (at: string) => (await json('show', store.name, '--at', at)).last;
      expect(await show(between)).toMatchObject({ number: 1 });
      expect(await show(after)).toMatchObject({ number: 2 });
      expect(await show(before)).toMatchObject({ code: 'artefact_missing' });
      // The same instant, as another place on earth has it
      const local = new Date(Date.parse(between) + 5.5 * 3_600_000).toISOString().replace('Z', '+05:30');
      expect(await show(local)).toMatchObject({ number: 1 });
      const { last } = await json('plan', store.name, '--at', between);
      expect(last).toMatchObject({
        plan: { source: { path: expect.stringMatching(kind === 'a vault' ? /\/1$/ : /\/000001-/) } },
      });
      expect(namesOf((await json('find', store.name, 'late', '--at', between)).lines)).toEqual([]);
      expect(namesOf((await json('ls', store.name, '--at', after, 'data/files/late')).lines)).toEqual([
        'data/files/late',
      ]);
      expect((await holdfast('cat', store.name, '--at', after, 'data/files/late')).stdout).toBe('late');
      const restored = await json('restore', store.name, '--at', between);
      expect(restored.last).toMatchObject({ code: 'approval_missing' });
      const { digest } = restored.last['details'] as { readonly digest: string };
      expect((await json('restore', store.name, '--at', between, '--confirm', digest)).last).toMatchObject({
        type: 'result',
      });
      expect(existsSync(store.path('files/late'))).toBe(false);
    });

    test('a broken backup that might be the one is not passed over', async () => {
      const store = storeOf('broken', { files: FILES });
      await store.backup();
      const second = await store.backup();
      await pause();
      const between = new Date().toISOString();
      await pause();
      await store.backup();
      const path =
        kind === 'a vault'
          ? join(vault.directory, 'backups', store.name, '0000000000000002', 'envelope.json')
          : join(second.artefact, 'manifest.json');
      writeFileSync(path, '{}');
      const code = kind === 'a vault' ? 'vault_invalid' : 'manifest_invalid';
      expect((await json('show', store.name, '--at', between)).last).toMatchObject({ code });
      const early = new Date(Date.parse(second.cut.instant) - 60_000).toISOString();
      expect((await json('show', store.name, '--at', early)).last).toMatchObject({ code: 'artefact_missing' });
    });

    test.each([
      ['show', 'STORE', 'latest', '--at', '2026-11-21T10:00:00Z'],
      ['plan', 'STORE', 'latest', '--at', '2026-11-21T10:00:00Z'],
      ['restore', 'STORE', 'latest', '--at', '2026-11-21T10:00:00Z'],
      ['ls', 'STORE', 'latest', 'data', '--at', '2026-11-21T10:00:00Z'],
      ['cat', 'STORE', 'latest', 'data/x', '--at', '2026-11-21T10:00:00Z'],
      ['find', 'STORE', 'x', '--backup', 'latest', '--at', '2026-11-21T10:00:00Z'],
      ['restore', 'STORE'],
      ['ls', 'STORE'],
      ['show', 'STORE', '--at', '2026-11-21T10:00:00'],
      ['show', 'STORE', '--at', '2026-02-30T10:00:00Z'],
      ['show', 'STORE', '--at', 'yesterday'],
      ['diff', 'STORE', '1', '2', '--keys', 'many'],
    ])('%s %s %s %s %s: usage', async (...argv) => {
      const store = storeOf('misused');
      const ended = await holdfast(...argv.map((word) => word.replace('STORE', store.name)), '--json');
      expect(jsonLines(ended).last).toMatchObject({ code: 'usage', exit: 64 });
    });
  });
});

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));
const digestOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

function packsOf({ directory }: TestVault): readonly string[] {
  mkdirSync(join(directory, 'packs'), { recursive: true });
  return readdirSync(join(directory, 'packs'), { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, 'packs', name))
    .filter((path) => statSync(path).isFile());
}
