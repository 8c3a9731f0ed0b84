// The whole cycle at the command line: a backup, what can be asked about it, a restore by its plan, and back.
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { useEngine } from '../support/engine.js';
import { ITEMS, makeStore } from '../support/store.js';
import { CONTROL_CHARACTERS, jsonLines, run, startProgram, PROGRAM } from './room.js';
import type { Ended } from './room.js';

const engine = useEngine();
const holdfast = (...argv: readonly string[]): Promise<Ended> => run(engine().environment, ...argv);
const UUID = '6fa459ea-ee8a-4ca4-894e-db77e160355e';

/** The command that a plan ends with, as words. */
function commandIn(text: string): string[] {
  const found = /holdfast ((?:restore|rollback) .* --confirm [0-9a-f]{64})$/m.exec(text)?.[1];
  if (found === undefined) throw new Error(`no command in ${text}`);
  return found.split(' ');
}

describe('for people', () => {
  test('a store is backed up, listed, shown, verified, restored by its plan, and rolled back', async () => {
    const store = makeStore(engine(), 'people');
    const backup = await holdfast('backup', store.name);
    expect(backup).toMatchObject({ status: 0 });
    const name = /^backup (\S+) of store /.exec(backup.stdout)?.[1] ?? '';
    expect(backup.stdout).toMatch(/ {2}holds {5}1 database, 2 other files, .* KiB\n/);
    expect(backup.stdout).toMatch(/ {2}instant {3}\S+Z, writers paused for \S+ ms\n/);
    expect(backup.stdout).toMatch(/ {2}took {6}\S+ m?s, of which backup\.\w+ \S+ m?s\n/);
    expect(backup.stderr).toContain('Temporal UI: http://127.0.0.1:');

    // Another store's definition that can't be read is no reason not to look at this one
    const broken = join(engine().definitionsDirectory, 'broken.yaml');
    writeFileSync(broken, 'store: [');
    for (const command of ['list', 'show', 'watch', 'doctor'])
      expect((await holdfast(command, store.name)).stderr, command).not.toContain('definition_invalid');
    expect((await holdfast('backup', store.name)).stderr).toContain('STOP definition_invalid');
    rmSync(broken);

    expect((await holdfast('list', store.name)).stdout).toMatch(
      new RegExp(`^NAME .*\n${name}  .*  3  .*  readable\n$`),
    );
    const shown = await holdfast('show', store.name, '--files');
    expect(shown.stdout).toContain(`path      ${join(store.destination, name)}\n`);
    expect(shown.stdout).toMatch(/^data\/a\.db {2}1 {7}3 /m);
    expect(shown.stdout).toMatch(/^[0-9a-f]{64} {2}data\/files\/deep\/two$/m);
    expect((await holdfast('show', store.name, name.slice(0, 12))).stdout).not.toContain('data/files/one');
    expect((await holdfast('verify', store.name, name)).stdout).toMatch(
      new RegExp(`^backup ${name} is whole: 3 files, .*, 1 database checked\n`),
    );

    store.addItem('four');
    const planned = await holdfast('plan', store.name, 'latest');
    expect(planned).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/tables shrink by at most 10 rows in all; any row may be newer in data\/a.db/),
    });
    const refused = await holdfast('restore', store.name, 'latest');
    expect(refused).toMatchObject({ status: 77, stdout: expect.stringContaining('Replace store ') });
    expect(refused.stderr).toContain('STOP approval_missing: nothing was done');
    expect(commandIn(refused.stderr)).toEqual(commandIn(planned.stdout));
    expect(store.items()).toHaveLength(4);

    const restored = await holdfast(...commandIn(planned.stdout));
    expect(restored).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`back to it: \`holdfast rollback ${store.name}\``),
    });
    expect(store.items()).toHaveLength(3);
    const back = await holdfast('rollback', store.name);
    expect(back.status).toBe(77);
    expect(await holdfast(...commandIn(back.stderr))).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^rollback of store /),
    });
    expect(store.items()).toHaveLength(4);

    const status = await holdfast('status', store.name);
    expect(status.stdout).toMatch(/ {2}lock {6}free\n {2}fence {5}down\n {2}epoch {5}\S+ \(2\)\n/);
    expect(status.stdout).toMatch(/^ {2}rollback {2}\S+, replaced \S+Z by a rollback$/m);
    expect(await holdfast('status', store.name, '--gate')).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect((await holdfast('recover', store.name)).stdout).toBe(`${store.name}: nothing to recover\n`);
    expect((await holdfast('lock', 'show', store.name)).stdout).toMatch(/ is not locked \(token \d+\)\n$/);
    expect((await holdfast('lock', 'break', store.name)).stdout).toMatch(/ is not locked\n$/);
    expect((await holdfast('watch', store.name)).stdout).toBe(`nothing runs for ${store.name}\n`);
  });

  test('a plan that was confirmed for another state is 77, and nothing is done', async () => {
    const store = makeStore(engine(), 'mismatch');
    await holdfast('backup', store.name);
    const { status, stderr } = await holdfast('restore', store.name, 'latest', '--confirm', '0'.repeat(64));
    expect(stderr).toContain('STOP approval_mismatch: ');
    expect(status).toBe(77);
    expect(store.rollbackPoints()).toEqual([]);
  });

  test('the command that a plan prints is one that a shell reads back, spaces and all', async () => {
    const store = makeStore(engine(), 'spaces');
    store.define({ backup: { destination: join(store.directory, "it's a place") } });
    await holdfast('backup', store.name);
    const refused = await holdfast('restore', store.name, 'latest');
    const command = /confirm: holdfast (.*)$/m.exec(refused.stderr)?.[1] ?? '';
    const shell = startProgram(
      engine().environment,
      '/bin/sh',
      '-c',
      `exec '${process.execPath}' '${PROGRAM}' ${command}`,
    );
    expect(await shell.ended).toMatchObject({ status: 0, stdout: expect.stringContaining('restore of store') });
  });

  test('backup, show and verify say how many rows violate foreign keys, and the plan that they come back', async () => {
    const store = makeStore(engine(), 'violating', {
      contents: {
        'a.db': `PRAGMA foreign_keys = OFF; ${ITEMS} CREATE TABLE x (i REFERENCES item); INSERT INTO x VALUES (9)`,
      },
    });
    const said = '1 row that violates foreign keys: the application wrote them so, and a restore brings them back\n';
    expect((await holdfast('backup', store.name)).stdout).toContain(`  keys      ${said}`);
    expect((await holdfast('show', store.name)).stdout).toContain(`\ndata/a.db: ${said}`);
    expect((await holdfast('verify', store.name)).stdout).toContain(`  keys   ${said}`);
    const { stdout } = await holdfast('plan', store.name);
    expect(stdout).toContain('data/a.db comes back with 1 row that violates foreign keys, as when it was backed up');
  });

  test('several stores are shown one after the other', async () => {
    const [first, second] = [makeStore(engine(), 'several'), makeStore(engine(), 'several')];
    const { status, stdout } = await holdfast('status');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${first.name}\n(  .*\n)+\n${second.name}\n(  .*\n)+`, 'm'));
    expect((await holdfast('watch')).stdout).toBe(`nothing runs for ${first.name}, ${second.name}\n`);
  });
});

describe('outputs', () => {
  test('data goes to stdout and progress to stderr, without control characters where there is no terminal', async () => {
    const store = makeStore(engine(), 'streams');
    store.scriptHook('quiesce', 'sleep 1');
    store.define({ hooks: ['quiesce', 'resume'] });
    for (const extra of [{}, { NO_COLOR: '1' }, { FORCE_COLOR: '1', COLUMNS: '40' }]) {
      const { status, stdout, stderr } = await run({ ...engine().environment, ...extra }, 'backup', store.name);
      expect(status).toBe(0);
      expect(stdout).not.toContain('backup.quiesce\n');
      expect(stderr).toMatch(/^backup\.quiesce$/m);
      expect(stdout + stderr).not.toMatch(CONTROL_CHARACTERS);
    }
    expect(await run(engine().environment, 'backup', store.name, '--quiet')).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(/^backup /),
    });
  });

  test('a reader that goes away ends no protocol: the status is that of the backup', async () => {
    const store = makeStore(engine(), 'reader');
    const command = `'${process.execPath}' '${PROGRAM}' backup ${store.name} --json 2>&1; echo "status $?" >&2`;
    const { stdout, stderr } = await startProgram(engine().environment, '/bin/sh', '-c', `{ ${command}; } | head -n 1`)
      .ended;
    expect(JSON.parse(stdout)).toMatchObject({ type: 'started' });
    expect(stderr).toBe('status 0\n');
    expect(store.published()).toHaveLength(1);
  });

  test('a refusal tells nested facts line by line, never as JSON', async () => {
    const store = makeStore(engine(), 'nested');
    writeFileSync(
      join(engine().definitionsDirectory, `${store.name}.yaml`),
      `holdfast: 1\nstore: ${store.name}\nroots:\n  data: { path: ${store.root}, databases: [{ path: a.db, tables: [] }] }\nbackup: { destination: relative, every: day }\n`,
    );
    const { status, stderr } = await holdfast('list', store.name);
    expect(status).toBe(78);
    expect(stderr).toMatch(/^ {2}problems:\n {4}line 4, column \d+, key \S+, problem .*\n {4}line 5, /m);
    expect(stderr).not.toMatch(/[{}]/);
  });
});

describe('--json', () => {
  test('every line parses and the last is the result, for each command', async () => {
    const store = makeStore(engine(), 'json');
    const { lines, last } = jsonLines(await holdfast('backup', store.name, '--json'));
    expect(lines[0]).toMatchObject({
      type: 'started',
      workflowId: `holdfast/${store.name}`,
      url: expect.stringContaining('http'),
    });
    for (const line of lines.slice(1, -1))
      expect(line).toMatchObject({
        type: 'progress',
        step: expect.stringMatching(/^backup\./),
        bytesPerSecond: expect.any(Number),
      });
    expect(last).toMatchObject({
      type: 'result',
      protocol: 'backup',
      files: 3,
      cut: { pauseMillis: expect.any(Number) },
    });

    const { digest } = jsonLines(await holdfast('plan', store.name, '--json')).last;
    for (const argv of [
      ['list', store.name],
      ['show', store.name, '--files'],
      ['verify', store.name],
      ['restore', store.name, 'latest', '--confirm', String(digest)],
      ['status'],
      ['status', store.name, '--gate'],
      ['doctor', store.name],
      ['recover', store.name],
      ['recover', '--all'],
      ['lock', 'show', store.name],
      ['watch', store.name],
    ]) {
      const ended = await holdfast(...argv, '--json');
      expect({ argv, status: ended.status, stderr: ended.stderr }).toEqual({ argv, status: 0, stderr: '' });
      expect(jsonLines(ended).last.type).toBe('result');
    }
    const plan = jsonLines(await holdfast('plan', store.name, '--rollback', 'latest', '--json')).last;
    expect(plan).toMatchObject({ type: 'result', plan: { protocol: 'rollback' } });
  });

  test('a refusal is an error with its code, what is safe and what to do; that of a restore has the plan', async () => {
    const store = makeStore(engine(), 'json-refusal');
    await holdfast('backup', store.name);
    const ended = await holdfast('restore', store.name, 'latest', '--json');
    expect(ended.status).toBe(77);
    expect(jsonLines(ended).last).toMatchObject({
      code: 'approval_missing',
      exit: 77,
      safe: expect.any(String),
      remedy: expect.any(String),
      details: { digest: expect.stringMatching(/^[0-9a-f]{64}$/), plan: { store: store.name } },
    });
  });
});

describe('exit status', () => {
  test('64: an operation that is no UUID, before anything is started', async () => {
    const store = makeStore(engine(), 'status');
    for (const operation of ['12', '11111111-1111-1111-1111-111111111111'])
      expect((await holdfast('backup', store.name, '--operation', operation)).status).toBe(64);
    expect(await holdfast('backup', store.name, '--operation', '12')).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('`operation` is a UUID'),
    });
  });

  test('64: a backup and a rollback point to plan at once', async () => {
    const store = makeStore(engine(), 'status');
    expect(await holdfast('plan', store.name, 'latest', '--rollback', 'latest')).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('STOP ambiguous_intent: '),
    });
  });

  test('65: no such backup', async () => {
    const store = makeStore(engine(), 'status');
    expect(await holdfast('verify', store.name, 'nope')).toMatchObject({
      status: 65,
      stderr: expect.stringContaining('STOP artefact_missing: '),
    });
    expect(await holdfast('show', store.name)).toMatchObject({ status: 65 });
    expect(await holdfast('cancel', store.name)).toMatchObject({
      status: 65,
      stderr: expect.stringContaining('STOP operation_missing: '),
    });
  });

  test('64: a prefix of two backups, with both named', async () => {
    const store = makeStore(engine(), 'status');
    const { artefact } = await store.backup();
    for (const name of ['kept-a', 'kept-b']) cpSync(artefact, join(store.destination, name), { recursive: true });
    expect(await holdfast('show', store.name, 'kept')).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('candidates: kept-a, kept-b\n'),
    });
  });

  test('73: an operation that was carried out before', async () => {
    const store = makeStore(engine(), 'status');
    expect(await holdfast('backup', store.name, '--operation', UUID)).toMatchObject({ status: 0 });
    expect(await holdfast('backup', store.name, '--operation', UUID)).toMatchObject({
      status: 73,
      stderr: expect.stringContaining('STOP operation_repeated: '),
    });
    expect(store.published()).toHaveLength(1);
  });

  test('74: a destination below a file', async () => {
    const store = makeStore(engine(), 'status');
    writeFileSync(join(store.directory, 'file'), '');
    store.define({ backup: { destination: join(store.directory, 'file', 'backups') } });
    expect(await holdfast('backup', store.name)).toMatchObject({
      status: 74,
      stderr: expect.stringContaining('STOP io_error: '),
    });
  });

  test('78: a store that is not defined, with the one that was meant', async () => {
    const store = makeStore(engine(), 'defined');
    for (const command of ['backup', 'list', 'doctor', 'watch', 'cancel', 'plan']) {
      const { status, stderr } = await holdfast(command, store.name.replace('defined', 'defind'));
      expect({ command, status }).toEqual({ command, status: 78 });
      expect(stderr).toContain(`(did you mean ${store.name}?)`);
      expect(stderr).not.toContain('Temporal UI');
    }
  });
});

describe('doctor', () => {
  test('finds a pattern that matches nothing, and an audit log that was edited', async () => {
    const store = makeStore(engine(), 'doubtful', { databases: [{ path: 'a.db' }, { path: 'tenants/*.db' }] });
    const unmounted = await holdfast('doctor', store.name, '--json');
    expect(unmounted.status).toBe(78);
    expect(unmounted.stdout).toContain('member_missing: no database matches tenants/*.db');
    mkdirSync(store.path('tenants'));
    copyFileSync(store.path('a.db'), store.path('tenants/one.db'));
    await holdfast('backup', store.name);
    expect((await holdfast('doctor', store.name)).stdout).toMatch(/audit log.* [1-9]\d* lines/);
    const log = join(store.controlDirectory, 'audit.jsonl');
    writeFileSync(
      log,
      readFileSync(log, 'utf8').replace('"backup"', '"restore"').replace('lock acquired', 'lock released'),
    );
    const edited = await holdfast('doctor', store.name);
    expect([edited.status, /line \d+ of the audit log is not bound/.test(edited.stdout)]).toEqual([78, true]);
  });

  test('finds nothing in the way of a sound store', async () => {
    const store = makeStore(engine(), 'sound');
    const { status, stdout } = await holdfast('doctor', store.name);
    expect(status).toBe(0);
    const checks = [
      'exchange',
      'filesystem of data',
      'members of data',
      'hook detach',
      'destination',
      'in use',
      'state',
    ];
    for (const check of checks) expect(stdout).toMatch(new RegExp(`^  good  ${check}: `, 'm'));
  });

  test('is 78 with a remedy where a root or the destination is not fit, and looks on', async () => {
    const store = makeStore(engine(), 'unfit');
    store.define({ databases: [{ path: 'absent.db' }, { path: 'a.db' }], trees: [{ path: 'absent' }] });
    const { status, stdout, stderr } = await holdfast('doctor', store.name);
    expect(stdout).toMatch(/^ {2}stop {2}members of data: member_missing: .*\n {8}what to do: check the paths/m);
    expect(stdout).toMatch(/^ {2}good {2}destination: /m);
    expect(stderr).toMatch(/^STOP not_ready: 1 finding in the way of a backup or a restore$/m);
    expect(status).toBe(78);
    const ended = await holdfast('doctor', store.name, '--json');
    expect(ended.status).toBe(78);
    expect(jsonLines(ended).last).toMatchObject({
      type: 'error',
      code: 'not_ready',
      exit: 78,
      details: { stores: 1, stops: 1 },
    });
    expect(jsonLines(ended).lines).toContainEqual(
      expect.objectContaining({ type: 'finding', state: 'stop', remedy: expect.any(String) }),
    );
  });

  test('notes a database that no definition lists', async () => {
    const store = makeStore(engine(), 'unlisted', {
      contents: { 'a.db': 'CREATE TABLE item (v)', 'files/stray.db': 'CREATE TABLE stray (v)' },
    });
    const { status, stdout } = await holdfast('doctor', store.name);
    expect(stdout).toMatch(/^ {2}note {2}members of data: .*; not listed: files\/stray\.db\n {8}what to do: /m);
    expect(status).toBe(0);
  });

  test('says where definitions are looked for when there are none', async () => {
    const empty = join(engine().directory, 'empty');
    mkdirSync(empty, { mode: 0o755 });
    const environment = { ...engine().environment, HOLDFAST_DEFINITIONS_DIRECTORY: empty };
    expect(await run(environment, 'doctor')).toMatchObject({
      status: 0,
      stdout: `no stores are defined in ${empty}\n`,
    });
    expect(await run({ ...environment, HOLDFAST_DEFINITIONS_DIRECTORY: `${empty}/absent` }, 'doctor')).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('absent does not exist'),
    });
  });
});
