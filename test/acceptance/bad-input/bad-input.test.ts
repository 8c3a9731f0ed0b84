// What a backup or a restore may meet that it must not accept, at the command line: each a STOP with its exit status and
// its remedy, and the store with the digest that it had. What a full disk and a refused call do is in test/crash/.
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { acquireLock } from '../../../control/lock.js';
import { openStoreRoom } from '../../../control/store-room.js';
import { STOPS } from '../../../domain/stop.js';
import type { StopCode } from '../../../domain/stop.js';
import { PROGRAM, jsonLines, run, startProgram } from '../../cli/room.js';
import type { Ended } from '../../cli/room.js';
import { Victim, toldOf } from '../../crash/victim.js';
import { alterConsistently, damagedCopy, editManifest, rot } from '../../support/artefact.js';
import { useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { LATEST, makeStore, sql } from '../../support/store.js';
import type { TestStore } from '../../support/store.js';

/** Of names, modes and contents, whatever the names are made of; without what merely reading a database leaves. */
const digestOf = ({ root }: TestStore): string =>
  execFileSync('/bin/sh', [
    '-c',
    'tar -c --sort=name --mtime=@0 --exclude="*-wal" --exclude="*-shm" -C "$0" . | sha256sum',
    root,
  ]).toString();

const HOOKS = ['detach', 'attach', 'quiesce', 'resume'] as const;
/** What statfs(2) answers on NFS. */
const NFS = 0x6969;
const SIZE = /"path":"files\/one"/;

describe.skipIf(requires('temporal'))('bad input', () => {
  const engine = useEngine();
  const holdfast = (argv: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> =>
    run({ ...engine().environment, ...environment }, ...argv);
  const definitionPath = (name: string): string => join(engine().definitionsDirectory, `${name}.yaml`);

  /** The command is refused with the code, its exit status and its remedy, and the store is what it was. */
  async function refused(
    store: TestStore,
    code: StopCode,
    argv: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const before = [digestOf(store), store.published().length, store.epochCounter()];
    const people = await holdfast(argv, environment);
    const { exit, remedy } = STOPS[code];
    expect(people.stderr).toContain(`STOP ${code}: `);
    expect(people.stderr).toContain(`what to do: ${remedy}`);
    expect(people.status).toBe(exit);
    const json = await holdfast([...argv, '--json'], environment);
    expect(json.status).toBe(exit);
    expect(jsonLines(json).last).toMatchObject({ type: 'error', code, exit });
    expect([digestOf(store), store.published().length, store.epochCounter()]).toEqual(before);
    expect(store.leftovers()).toEqual([]);
  }

  const make = (purpose: string, options: Parameters<typeof makeStore>[2] = {}): TestStore =>
    makeStore(engine(), purpose, { hooks: HOOKS, ...options });

  test.each([
    ['is missing', 'definition_missing', (path: string) => rmSync(path)],
    ['is no YAML', 'definition_invalid', (path: string) => writeFileSync(path, 'store: [')],
    ['has an unknown key', 'definition_invalid', (path: string) => writeFileSync(path, 'holdfast: 1\nrots: {}\n')],
    ['can be written by others', 'definition_untrusted', (path: string) => chmodSync(path, 0o666)],
  ] as const)('a definition that %s: %s', async (_what, code, spoil) => {
    const store = make('defined');
    spoil(definitionPath(store.name));
    await refused(store, code, ['backup', store.name]);
  });

  test('a definition whose root lies in that of another: roots_overlap', async () => {
    const [store, other] = [make('outer'), make('inner')];
    const text = readFileSync(definitionPath(other.name), 'utf8');
    writeFileSync(definitionPath(other.name), text.replace(other.root, join(store.root, 'files')));
    await refused(store, 'roots_overlap', ['backup', store.name]);
  });

  test.each([
    ['no manifest', 'manifest_missing', (copy: string) => rmSync(join(copy, 'manifest.json'))],
    [
      'a manifest that is cut off',
      'manifest_invalid',
      (copy: string) =>
        writeFileSync(join(copy, 'manifest.json'), readFileSync(join(copy, 'manifest.json')).subarray(0, 900)),
    ],
    [
      'a manifest that was edited',
      'checksum_mismatch',
      (copy: string) => {
        const text = readFileSync(join(copy, 'manifest.json'), 'utf8');
        writeFileSync(join(copy, 'manifest.json'), text.replace('"createdBy":"', '"createdBy":"not '));
      },
    ],
    [
      'an absolute path',
      'path_unsafe',
      (copy: string) => editManifest(copy, (text) => text.replace(SIZE, '"path":"/etc/passwd"')),
    ],
    [
      'a path with ..',
      'path_unsafe',
      (copy: string) => editManifest(copy, (text) => text.replace(SIZE, '"path":"files/../../x"')),
    ],
    [
      'a path twice',
      'path_unsafe',
      (copy: string) => editManifest(copy, (text) => text.replace('"path":"files/deep/two"', '"path":"files/one"')),
    ],
    [
      'a path that is not UTF-8',
      'manifest_invalid',
      (copy: string) => {
        const bytes = readFileSync(join(copy, 'manifest.json'));
        bytes[bytes.indexOf('files/one') + 6] = 0xff;
        writeFileSync(join(copy, 'manifest.json'), bytes);
      },
    ],
    ['a file missing', 'file_missing', (copy: string) => rmSync(join(copy, 'data/data/files/one'))],
    ['a file too many', 'file_extra', (copy: string) => writeFileSync(join(copy, 'data/data/files/three'), '')],
    [
      'a byte of a file changed',
      'checksum_mismatch',
      (copy: string) => writeFileSync(join(copy, 'data/data/files/one'), 'onE'),
    ],
    [
      'a symbolic link for a file',
      'symlink_found',
      (copy: string) => {
        rmSync(join(copy, 'data/data/files/one'));
        symlinkSync('/etc/hostname', join(copy, 'data/data/files/one'));
      },
    ],
    [
      'a FIFO for a file',
      'special_file_found',
      (copy: string) => {
        rmSync(join(copy, 'data/data/files/one'));
        execFileSync('mkfifo', [join(copy, 'data/data/files/one')]);
      },
    ],
    ['a damaged database', 'integrity_failed', (copy: string) => alterConsistently(copy, 'a.db', rot)],
    [
      'a file that is no database',
      'not_a_database',
      (copy: string) => alterConsistently(copy, 'a.db', (path) => writeFileSync(path, 'x'.repeat(8192))),
    ],
    [
      'a database without a required table',
      'required_table_missing',
      (copy: string) =>
        alterConsistently(copy, 'a.db', (path) => sql(path, 'ALTER TABLE item RENAME TO items', 'delete')),
    ],
  ] as const)('a backup with %s is not restored: %s', async (_what, code, damage) => {
    const store = make('restored', { databases: [{ path: 'a.db', requiredTables: ['item'] }] });
    const { artefact } = await store.backup();
    store.write('files/one', 'newer');
    const copy = damagedCopy(artefact, store.directory, damage);
    // What can be seen without the bytes is refused by the plan, all else by its execution
    const planned = await holdfast(['plan', store.name, copy, '--json']);
    const digest = jsonLines(planned).last['digest'];
    const confirmed = typeof digest === 'string' ? ['--confirm', digest] : [];
    await refused(store, code, ['restore', store.name, copy, ...confirmed]);
  });

  test.each([
    ['a symbolic link', 'symlink_found', (store: TestStore) => symlinkSync('/etc/hostname', store.path('files/link'))],
    ['a FIFO', 'special_file_found', (store: TestStore) => execFileSync('mkfifo', [store.path('files/fifo')])],
    [
      'a socket',
      'special_file_found',
      async (store: TestStore) => {
        const server = createServer();
        await new Promise<void>((resolve) => server.listen(store.path('files/socket'), resolve));
        onTestFinished(() => new Promise((resolve) => server.close(() => resolve(undefined))));
      },
    ],
    [
      'a name that is not UTF-8',
      'path_not_utf8',
      (store: TestStore) => writeFileSync(Buffer.concat([Buffer.from(store.path('files/')), Buffer.from([0xff])]), ''),
    ],
    ['a damaged database', 'integrity_failed', (store: TestStore) => rot(store.path('a.db'))],
    [
      'a listed file that is no database',
      'not_a_database',
      (store: TestStore) => writeFileSync(store.path('a.db'), 'x'.repeat(8192)),
    ],
    [
      'a database without a required table',
      'required_table_missing',
      (store: TestStore) => sql(store.path('a.db'), 'ALTER TABLE item RENAME TO items'),
    ],
    ['a database missing', 'member_missing', (store: TestStore) => rmSync(store.path('a.db'))],
  ] as const)('a store with %s is not backed up: %s', async (_what, code, spoil) => {
    const store = make('captured', { databases: [{ path: 'a.db', requiredTables: ['item'] }] });
    await store.backup();
    // More than one page, so that there is something to damage
    sql(store.path('a.db'), 'INSERT INTO item (v) SELECT hex(zeroblob(500)) FROM item, item AS b, item AS c');
    await spoil(store);
    await refused(store, code, ['backup', store.name]);
  });

  test.skipIf(requires('root'))('a store with a device is not backed up: special_file_found (needs root)', async () => {
    const store = make('device');
    await store.backup();
    execFileSync('mknod', [store.path('files/null'), 'c', '1', '3']);
    await refused(store, 'special_file_found', ['backup', store.name]);
  });

  test('names that differ only in case are two files, and both come back', async () => {
    const store = make('cases', { files: { 'files/Name': 'upper', 'files/name': 'lower' } });
    await store.backup();
    rmSync(store.path('files/name'));
    await store.restore();
    expect([store.read('files/Name'), store.read('files/name')]).toEqual(['upper', 'lower']);
  });

  test.skipIf(requires('mount'))('targets that can not be written to: read-only mounts (needs root)', async () => {
    const store = make('readonly');
    await store.backup();
    const { digest } = await store.plan();
    for (const [path, argv] of [
      [store.destination, ['backup', store.name]],
      [store.directory, ['restore', store.name, 'latest', '--confirm', digest]],
    ] as const) {
      const before = await store.digest();
      execFileSync('mount', ['--bind', path, path]);
      try {
        execFileSync('mount', ['-o', 'remount,ro,bind', path]);
        const ended = await holdfast(argv);
        expect(ended.stderr).toMatch(/^STOP (?:io_error|permission_denied|not_exchangeable): /m);
        expect([74, 77, 78]).toContain(ended.status);
        expect(await store.digest()).toBe(before);
      } finally {
        execFileSync('umount', ['-l', path]);
      }
    }
    expect(store.leftovers()).toEqual([]);
    await store.restore();
  });

  /** @param options of the commands, such as the host that shall refuse */
  async function refusedOnFilesystem(store: TestStore, digest: string, ...options: readonly string[]): Promise<void> {
    for (const argv of [
      ['backup', store.name],
      ['plan', store.name, 'latest'],
      ['restore', store.name, 'latest', '--confirm', digest],
    ])
      await refused(store, 'unsupported_filesystem', [...argv, ...options]);
  }

  test.skipIf(requires('mount'))(
    'a store on a filesystem that forgets, a tmpfs: unsupported_filesystem (needs root)',
    async () => {
      const store = make('tmpfs');
      await store.backup();
      store.write('files/one', 'newer');
      const { digest } = await store.plan();
      const copy = `${store.directory}.copy`;
      execFileSync('cp', ['-a', store.directory, copy]);
      execFileSync('mount', ['-t', 'tmpfs', 'none', store.directory]);
      try {
        execFileSync('cp', ['-a', `${copy}/.`, store.directory]);
        await refusedOnFilesystem(store, digest);
        const doctor = await holdfast(['doctor', store.name]);
        expect(doctor.stdout).toContain('filesystem of data: unsupported_filesystem: ');
        expect(doctor.status).toBe(78);
      } finally {
        execFileSync('umount', ['-l', store.directory]);
        rmSync(copy, { recursive: true });
      }
    },
  );

  // Kernels of test machines have no NFS to mount, so statfs(2) is made to answer what it answers there
  test.skipIf(requires('strace'))('a store on NFS: unsupported_filesystem', async () => {
    const store = make('nfs');
    await store.backup();
    store.write('files/one', 'newer');
    const victim = await Victim.start(engine(), 'nfs-host');
    onTestFinished(() => victim.end());
    const { digest } = await store.plan(LATEST, { host: victim.host });
    const { changed } = await victim.told({ directory: store.root, magic: NFS }, () =>
      refusedOnFilesystem(store, digest, '--host', victim.host),
    );
    expect(changed.join('\n')).toContain('NFS_SUPER_MAGIC');
    const tracing = ['-f', '-o', '/dev/null', ...toldOf(store.root, NFS)];
    const doctor = startProgram(
      engine().environment,
      'strace',
      ...tracing,
      process.execPath,
      PROGRAM,
      'doctor',
      store.name,
    );
    expect(await doctor.ended).toMatchObject({
      status: 78,
      stdout: expect.stringContaining(`filesystem of data: unsupported_filesystem: ${store.root} is on nfs`),
    });
    // It was the filesystem that was refused, and nothing is left of it
    await store.restore(LATEST, { host: victim.host });
    expect(store.read('files/one')).toBe('one');
  });

  test('a lock whose owner works: store_locked, and two restores at once are one', async () => {
    const store = make('locked');
    await store.backup();
    store.write('files/one', 'newer');
    const { digest } = await store.plan();
    const hook = store.holdHook('detach');
    const first = await store.startRestore();
    await hook.held();
    for (const argv of [
      ['restore', store.name, 'latest', '--confirm', digest],
      ['backup', store.name],
    ]) {
      const ended = await holdfast(argv);
      expect(ended).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP store_locked: ') });
    }
    hook.letGo();
    await first.result();
    expect([store.read('files/one'), store.epochCounter()]).toEqual(['one', 1]);
  });

  test('a lock whose owner nobody knows: store_locked, until it is broken by its name', async () => {
    const store = make('unknown');
    await store.backup();
    const operation = '6fa459ea-ee8a-4ca4-894e-db77e160355e';
    const room = await openStoreRoom(engine().definitionsDirectory, store.name);
    // Of a run of another engine, and alive: it is this test's own process
    await acquireLock(
      room,
      {
        operation,
        protocol: 'backup',
        workflowId: 'holdfast/elsewhere',
        runId: 'elsewhere',
        namespaceId: 'elsewhere',
        host: 'elsewhere',
      },
      async () => 'unknown',
    );
    const before = await store.digest();
    const ended = await holdfast(['backup', store.name]);
    expect(ended).toMatchObject({ status: 75, stderr: expect.stringContaining('STOP store_locked: ') });
    expect(await store.digest()).toBe(before);
    expect(await holdfast(['lock', 'break', store.name, '--confirm', operation])).toMatchObject({ status: 0 });
    expect(await holdfast(['backup', store.name])).toMatchObject({ status: 0 });
  });

  test.each([
    ['zeros', 0],
    ['a header, and no pages', 100],
  ] as const)('a lock.db of %s: lock_damaged, until it is moved away as the remedy says', async (_what, keptBytes) => {
    const store = make('lockless');
    await store.backup();
    const path = join(store.controlDirectory, 'lock.db');
    const damaged = readFileSync(path).fill(0, keptBytes);
    writeFileSync(path, damaged);
    const before = digestOf(store);
    for (const argv of [
      ['backup', store.name],
      ['status', store.name],
      ['status', store.name, '--gate'],
      ['recover', store.name],
    ]) {
      const ended = await holdfast(argv);
      const { exit, remedy } = STOPS['lock_damaged'];
      expect(ended.status).toBe(exit);
      expect(ended.stderr).toMatch(new RegExp(`^STOP lock_damaged: .*${path} is no sound database$`, 'm'));
      expect(ended.stderr).toContain(`what to do: ${remedy}`);
    }
    const doctor = await holdfast(['doctor', store.name]);
    expect(doctor.stdout).toMatch(/^ {2}stop {2}state: lock_damaged: .*\n {8}what to do: .*move lock\.db/m);
    expect([digestOf(store), readFileSync(path).equals(damaged)]).toEqual([before, true]);
    rmSync(path);
    const noted = await holdfast(['backup', store.name]);
    const note = join(engine().environment['HOLDFAST_STATE_DIRECTORY'] ?? '', 'stores', `${store.name}.json`);
    expect(noted.stderr).toMatch(new RegExp(`^STOP root_missing: .*though ${note} has noted`, 'm'));
    rmSync(note);
    expect(await holdfast(['backup', store.name])).toMatchObject({ status: 0 });
  });

  test('Temporal not reachable: engine_unreachable', async () => {
    const store = make('unreachable');
    await store.backup();
    await refused(store, 'engine_unreachable', ['backup', store.name], { TEMPORAL_ADDRESS: '127.0.0.1:1' });
  });
});
