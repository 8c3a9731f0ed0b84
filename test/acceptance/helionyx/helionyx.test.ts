// Helionyx, on the definition and the Makefile that holdfast ships (profiles/helionyx/): clauses H-1 to H-14. That a
// restore is all or nothing across a crash at any instant is proved for every store in test/crash/; here, for two roots.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findSecret } from '../../../domain/secrets.js';
import { jsonLines } from '../../cli/room.js';
import type { Ended } from '../../cli/room.js';
import { stopOf, useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { LATEST, sql } from '../../support/store.js';
import { Helionyx } from './room.js';

/** Every file below a directory, relative to it. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

/** What the real `sha256sum -c` says of an artefact: its exit status. */
function sha256sum(artefact: string): number {
  try {
    execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'manifest.sha256'], {
      cwd: artefact,
      stdio: 'ignore',
    });
    return 0;
  } catch (error) {
    return (error as { status: number }).status;
  }
}

/** The command has done what it was asked for; what it said otherwise is told. */
async function done(work: Promise<Ended>): Promise<Ended> {
  const ended = await work;
  expect(ended.status, ended.stderr).toBe(0);
  return ended;
}

const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
const secondHasPassed = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1100));

describe.skipIf(requires('temporal'))('Helionyx', () => {
  const engine = useEngine();

  /** One that has a backup of three events, and has gone on since. */
  async function backedUp(options: ConstructorParameters<typeof Helionyx>[1] = {}): Promise<Helionyx> {
    const helionyx = new Helionyx(engine(), options);
    await done(helionyx.make('backup'));
    helionyx.accept('four');
    await secondHasPassed();
    return helionyx;
  }
  const timestamp = (helionyx: Helionyx): string => basename(helionyx.backups()[0] ?? '');

  test('H-1, H-4: a backup is data/backups/<env>/<YYYYmmddTHHMMSSZ>/ with events/ and projections/ as they were', async () => {
    const helionyx = new Helionyx(engine());
    writeFileSync(helionyx.path('data/events/empty.jsonl'), '');
    const backup = await helionyx.make('backup');
    expect(backup).toMatchObject({ status: 0, stdout: expect.stringMatching(/^backup \d{8}T\d{6}Z of store /) });
    const [artefact = ''] = helionyx.backups();
    expect(relative(helionyx.directory, artefact)).toMatch(
      new RegExp(`^data/backups/${helionyx.environment}/\\d{8}T\\d{6}Z$`),
    );
    expect(filesBelow(artefact)).toEqual([
      'config.json',
      'events/2026-02.jsonl',
      'events/empty.jsonl',
      'manifest.json',
      'manifest.sha256',
      'meta.json',
      'projections/projections.db',
    ]);
    expect(helionyx.events(join(artefact, 'events'))).toEqual(['one', 'two', 'three']);
  });

  test.skipIf(requires('git'))(
    'H-2: meta.json names environment, backup, instant and commit, or null for the commit',
    async () => {
      const helionyx = new Helionyx(engine());
      await helionyx.make('backup');
      const [first = ''] = helionyx.backups();
      const id = basename(first);
      expect(json(join(first, 'meta.json'))).toEqual({
        env: helionyx.environment,
        backup_id: id,
        created_at_utc: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        git_commit: null,
      });
      const git = (...argv: string[]): string =>
        execFileSync('git', ['-C', helionyx.directory, '-c', 'user.name=t', '-c', 'user.email=t@t', ...argv], {
          encoding: 'utf8',
        }).trim();
      git('init', '--quiet');
      git('commit', '--quiet', '--allow-empty', '--message', 'first');
      await secondHasPassed();
      await helionyx.make('backup');
      expect(json(join(helionyx.backups()[1] ?? '', 'meta.json'))).toMatchObject({
        git_commit: git('rev-parse', 'HEAD'),
      });
    },
  );

  test('H-3: config.json holds the six settings and no other; one that is not set is null', async () => {
    const helionyx = new Helionyx(engine());
    helionyx.settings({ LOG_LEVEL: null, API_HOST: '"0.0.0.0"  # everywhere' });
    await helionyx.make('backup');
    expect(json(join(helionyx.backups()[0] ?? '', 'config.json'))).toEqual({
      ENV: helionyx.environment,
      EVENT_STORE_PATH: 'data/events',
      PROJECTIONS_DB_PATH: './data/projections/projections.db',
      API_HOST: '0.0.0.0',
      API_PORT: '8000',
      LOG_LEVEL: null,
    });
  });

  test.each([
    ['ENV', 'another', /ENV of .* is not what the definition says/],
    ['API_PORT', 'hunter2', /API_PORT of .* is not of the shape/],
    ['API_HOST', 'localhost?key=hunter2', /API_HOST of .* is not of the shape/],
    ['LOG_LEVEL', 'hunter2', /LOG_LEVEL of .* is not of the shape/],
    ['EVENT_STORE_PATH', 'data/other', /EVENT_STORE_PATH of /],
    ['PROJECTIONS_DB_PATH', 'data/events/projections.db', /PROJECTIONS_DB_PATH of /],
    ['PROJECTIONS_DB_PATH', 'data/projections/other.db', /does not list the database other\.db/],
    ['EVENT_STORE_PATH', null, /does not say EVENT_STORE_PATH/],
  ])('H-3: settings of another store are refused (%s=%s), and nothing is backed up', async (name, value, message) => {
    const helionyx = new Helionyx(engine());
    const before = await helionyx.digest();
    helionyx.settings({ [name]: value });
    const refused = await helionyx.holdfast('backup', helionyx.store, '--json');
    expect(refused.status).toBe(78);
    expect(jsonLines(refused).last).toMatchObject({
      code: 'settings_invalid',
      message: expect.stringMatching(message),
    });
    expect(refused.stdout).not.toMatch(/another|hunter2/);
    expect(helionyx.backups()).toEqual([]);
    expect(await helionyx.digest()).toBe(before);
  });

  test('H-5: manifest.sha256 names every other file, odd names too, and the real `sha256sum -c` accepts it', async () => {
    const helionyx = new Helionyx(engine());
    for (const name of ['with space', '-dash', 'back\\slash', 'new\nline', 'ünïcode', '*star'])
      writeFileSync(helionyx.path(`data/events/${name}`), name);
    await helionyx.make('backup');
    const [artefact = ''] = helionyx.backups();
    expect(sha256sum(artefact)).toBe(0);
    const lines = readFileSync(join(artefact, 'manifest.sha256'), 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(filesBelow(artefact).length - 1);
    writeFileSync(join(artefact, 'events/new\nline'), 'changed');
    expect(sha256sum(artefact)).toBe(1);
  });

  test('H-6: files called .env are in no backup and stay where they are, and a restore leaves them', async () => {
    const helionyx = new Helionyx(engine(), { confirmation: 'none' });
    mkdirSync(helionyx.path('data/projections/.env.d'));
    for (const name of ['events/.env', 'events/.env.live', 'projections/.env.d/key'])
      writeFileSync(helionyx.path(`data/${name}`), 'OPENAI_API_KEY=sk-1');
    helionyx.define((definition) => {
      const { projections, ...others } = definition.roots;
      const databases = [...(projections?.databases ?? []), { path: '**/*.db', optional: true }];
      return {
        ...definition,
        confirmation: 'none',
        roots: { ...others, projections: { ...projections, databases } },
      } as typeof definition;
    });
    sql(helionyx.path('data/projections/.env.db'), 'CREATE TABLE secret (OPENAI_API_KEY)');
    await helionyx.make('backup');
    const [artefact = ''] = helionyx.backups();
    const text = filesBelow(artefact).map((name) => readFileSync(join(artefact, name), 'latin1'));
    expect(filesBelow(artefact).filter((name) => name.includes('.env'))).toEqual([]);
    expect(text.filter((content) => /OPENAI|TELEGRAM|sk-proj|AAHq/.test(content))).toEqual([]);
    await secondHasPassed();
    await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    expect(readFileSync(helionyx.path('data/projections/.env.d/key'), 'utf8')).toBe('OPENAI_API_KEY=sk-1');
  });

  test('H-6: a setting that looks like a secret refuses the backup, without saying it', async () => {
    const helionyx = new Helionyx(engine());
    helionyx.settings({ API_HOST: 'https://admin:hunter22@example.org' });
    const refused = await helionyx.holdfast('backup', helionyx.store, '--json');
    expect(refused.status).toBe(78);
    expect(jsonLines(refused).last).toMatchObject({ code: 'secret_found' });
    expect(refused.stdout).not.toContain('hunter22');
    expect(helionyx.backups()).toEqual([]);
  });

  test.each([
    ['removed', 'file_missing', (copy: string) => rmSync(join(copy, 'events/2026-02.jsonl'))],
    ['changed', 'checksum_mismatch', (copy: string) => writeFileSync(join(copy, 'events/2026-02.jsonl'), 'other\n')],
    ['added', 'file_extra', (copy: string) => writeFileSync(join(copy, 'events/more.jsonl'), '')],
    ['added beside them', 'file_extra', (copy: string) => writeFileSync(join(copy, 'notes.txt'), '')],
    ['changed: meta.json', 'checksum_mismatch', (copy: string) => writeFileSync(join(copy, 'meta.json'), '{}')],
    ['removed: config.json', 'file_missing', (copy: string) => rmSync(join(copy, 'config.json'))],
    ['removed: manifest.sha256', 'file_missing', (copy: string) => rmSync(join(copy, 'manifest.sha256'))],
    [
      'huge: manifest.sha256',
      'checksum_mismatch',
      (copy: string) => truncateSync(join(copy, 'manifest.sha256'), 3 * 1024 ** 3),
    ],
    [
      'that is a directory: manifest.sha256',
      'checksum_mismatch',
      (copy: string) => {
        rmSync(join(copy, 'manifest.sha256'));
        mkdirSync(join(copy, 'manifest.sha256'));
      },
    ],
    ['added: manifest.json.sig', 'file_extra', (copy: string) => writeFileSync(join(copy, 'manifest.json.sig'), '')],
    [
      'changed: manifest.sha256',
      'checksum_mismatch',
      (copy: string) => writeFileSync(join(copy, 'manifest.sha256'), ''),
    ],
  ])('H-7: a backup with a file %s is refused as %s before anything is touched', async (_what, code, damage) => {
    const helionyx = await backedUp({ confirmation: 'none' });
    const [artefact = ''] = helionyx.backups();
    damage(artefact);
    const before = await helionyx.digest();
    const refused = await helionyx.holdfast('restore', helionyx.store, timestamp(helionyx));
    expect(refused).toMatchObject({ status: 65, stderr: expect.stringContaining(`STOP ${code}`) });
    expect(await helionyx.digest()).toBe(before);
    expect(existsSync(helionyx.path(`data/rollbacks/${helionyx.environment}`))).toBe(false);
  });

  test('H-8, H-9, H-13: a restore first backs up the present state in the same layout, replaces both directories, and that backup gives the former state back', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    writeFileSync(helionyx.path('data/events/later.jsonl'), `${JSON.stringify({ seq: 5, text: 'five' })}\n`);
    sql(helionyx.path('data/projections/projections.db'), "INSERT INTO note (text) VALUES ('five')");
    const restored = await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    const [point = ''] = helionyx.backups('rollbacks');
    expect(restored.stdout).toContain(`copy      of it at ${point}`);
    expect(basename(point)).toMatch(/^\d{8}T\d{6}Z$/);
    expect(sha256sum(point)).toBe(0);
    expect(json(join(point, 'meta.json'))).toMatchObject({ env: helionyx.environment, backup_id: basename(point) });
    expect(helionyx.events(join(point, 'events'))).toEqual(['one', 'two', 'three', 'four', 'five']);
    expect([helionyx.events(), helionyx.notes()]).toEqual([
      ['one', 'two', 'three'],
      ['one', 'two', 'three'],
    ]);
    expect(existsSync(helionyx.path('data/events/later.jsonl'))).toBe(false);
    await secondHasPassed();
    await done(helionyx.make('restore', { BACKUP: point }));
    const all = ['one', 'two', 'three', 'four', 'five'];
    expect([helionyx.events(), helionyx.notes()]).toEqual([all, all]);
  });

  test('H-13: a rollback brings back the very state that the restore replaced', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    const before = await helionyx.digest();
    await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    expect(helionyx.events()).toEqual(['one', 'two', 'three']);
    await done(helionyx.make('rollback'));
    expect(await helionyx.digest()).toBe(before);
  });

  test('H-8: a present state that is damaged is kept as it is, without a backup of it, and the report says why', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    writeFileSync(helionyx.path('data/projections/projections.db'), 'not a database');
    const restored = await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    expect(restored.stdout).toContain('copy      none: it could not be backed up (not_a_database)');
    expect(helionyx.backups('rollbacks')).toEqual([]);
    expect(helionyx.notes()).toEqual(['one', 'two', 'three']);
    await done(helionyx.make('rollback'));
    expect(readFileSync(helionyx.path('data/projections/projections.db'), 'utf8')).toBe('not a database');
  });

  test('H-8: where the backup of the present state can not be made, nothing is replaced', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    const before = await helionyx.digest();
    mkdirSync(helionyx.path(`data/rollbacks/${helionyx.environment}/29990101T000000Z`), { recursive: true });
    const refused = await helionyx.holdfast('restore', helionyx.store, 'latest');
    expect(refused).toMatchObject({ status: 73, stderr: expect.stringContaining('step: request.plan') });
    expect(await helionyx.digest()).toBe(before);
  });

  test('H-10: a restore that fails when both directories were exchanged brings both back', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    const before = await helionyx.digest();
    // Fails after both were exchanged, and so undoes both
    helionyx.define((definition) => ({
      ...definition,
      confirmation: 'none',
      hooks: { ...definition.hooks, migrate: { argv: ['/bin/false'] } },
    }));
    const refused = await helionyx.holdfast('restore', helionyx.store, 'latest');
    expect(refused).toMatchObject({ status: 78, stderr: expect.stringContaining('STOP hook_failed') });
    expect(refused.stderr).toContain('settled: undone');
    expect(await helionyx.digest()).toBe(before);
    expect(await helionyx.holdfast('status', helionyx.store, '--gate')).toMatchObject({ status: 0 });
  });

  test.skipIf(requires('python3'))('H-11: at a terminal a live restore wants `yes`, and nothing else', async () => {
    const helionyx = await backedUp();
    const before = await helionyx.digest();
    for (const answer of ['y\n', 'YES\n', '\n', '\x04', '\x03']) {
      const refused = helionyx.makeOnTerminal('restore', { BACKUP: timestamp(helionyx), CONFIRM_LIVE: 'YES' });
      await refused.says(/Type yes to carry this out: /);
      refused.type(answer);
      const { status, stdout } = await refused.ended;
      expect([answer, status === 0]).toEqual([answer, false]);
      if (answer !== '\x03') expect(stdout).toContain('STOP approval_missing: nothing was done: yes was not typed');
      expect(await helionyx.digest()).toBe(before);
    }
    const accepted = helionyx.makeOnTerminal('restore', { BACKUP: timestamp(helionyx) });
    await accepted.says(/Type yes to carry this out: /);
    expect(accepted.stdout()).toContain('Replace store ');
    accepted.type('yes\n');
    expect(await accepted.ended).toMatchObject({ status: 0 });
    expect(helionyx.events()).toEqual(['one', 'two', 'three']);
  });

  test('H-11: without a terminal a live restore wants CONFIRM_LIVE=YES, and nothing else', async () => {
    const helionyx = await backedUp();
    const before = await helionyx.digest();
    for (const CONFIRM_LIVE of [undefined, 'yes', '1', '']) {
      const refused = await helionyx.make('restore', {
        BACKUP: timestamp(helionyx),
        ...(CONFIRM_LIVE !== undefined && { CONFIRM_LIVE }),
      });
      expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('STOP approval_missing') });
    }
    expect(await helionyx.digest()).toBe(before);
    // Anybody can have the digest of a plan
    const { digest } = jsonLines(await helionyx.holdfast('plan', helionyx.store, '--json')).last;
    const bypassing = await helionyx.holdfast('restore', helionyx.store, 'latest', '--confirm', String(digest));
    expect(bypassing).toMatchObject({ status: 77, stderr: expect.stringContaining('STOP approval_missing') });
    const program = await engine().holdfast.restore(helionyx.store, LATEST, String(digest), { requestedBy: 'program' });
    expect(await stopOf(program.result())).toMatchObject({ code: 'approval_missing' });
    expect(await helionyx.digest()).toBe(before);
    const accepted = await helionyx.make('restore', { BACKUP: timestamp(helionyx), CONFIRM_LIVE: 'YES' });
    expect(accepted).toMatchObject({ status: 0 });
    expect(helionyx.events()).toEqual(['one', 'two', 'three']);
  });

  test('H-12: `make restore` names a backup by its timestamp; without one, or one that is none, nothing is done', async () => {
    const helionyx = await backedUp({ confirmation: 'none' });
    const before = await helionyx.digest();
    const unnamed = await helionyx.make('restore');
    expect(unnamed).toMatchObject({ status: 2, stderr: expect.stringContaining('BACKUP: is missing: make restore') });
    for (const BACKUP of [
      '20200101T000000Z',
      '$(shell touch pwned)',
      '$$(touch pwned)',
      '`touch pwned`',
      "'; touch pwned; '",
      '--help',
    ])
      expect([BACKUP, (await helionyx.make('restore', { BACKUP })).status]).toEqual([BACKUP, 2]);
    expect((await helionyx.make('backup', { ENV: '$(shell touch pwned)' })).status).toBe(2);
    expect(existsSync('pwned')).toBe(false);
    expect(await helionyx.digest()).toBe(before);
    expect((await helionyx.make('backups')).stdout).toContain(timestamp(helionyx));
    await done(helionyx.make('verify', { BACKUP: timestamp(helionyx) }));
    await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
  });

  test('H-14: projections that lag behind the events of the backup are rebuilt from them', async () => {
    const helionyx = new Helionyx(engine(), { confirmation: 'none' });
    helionyx.append('not projected yet');
    await helionyx.make('backup');
    await secondHasPassed();
    await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    expect(helionyx.notes()).toEqual(['one', 'two', 'three', 'not projected yet']);
  });

  test('H-14: a backup without projections is restored, and they are rebuilt from the events', async () => {
    const helionyx = new Helionyx(engine(), { confirmation: 'none' });
    for (const name of readdirSync(helionyx.path('data/projections')))
      rmSync(helionyx.path(`data/projections/${name}`));
    await done(helionyx.make('backup'));
    rmSync(helionyx.path('data/events/2026-02.jsonl'));
    await secondHasPassed();
    await done(helionyx.make('restore', { BACKUP: timestamp(helionyx) }));
    expect([helionyx.events(), helionyx.notes()]).toEqual([
      ['one', 'two', 'three'],
      ['one', 'two', 'three'],
    ]);
  });

  test('instants rise: a backup that would not be the newest by its name is refused', async () => {
    const helionyx = new Helionyx(engine());
    await helionyx.make('backup');
    const [artefact = ''] = helionyx.backups();
    renameSync(artefact, join(artefact, '..', '29990101T000000Z'));
    const refused = await helionyx.holdfast('backup', helionyx.store);
    expect(refused).toMatchObject({ status: 73, stderr: expect.stringContaining('is the clock right?') });
    const wrong = await helionyx.holdfast('verify', helionyx.store, 'latest');
    expect(wrong).toMatchObject({ status: 65, stderr: expect.stringContaining('under another name') });
    cpSync(join(artefact, '..', '29990101T000000Z'), artefact, { recursive: true });
    expect(await helionyx.holdfast('verify', helionyx.store, basename(artefact))).toMatchObject({ status: 0 });
  });
});

test.each([
  'sk-proj-Xq8vT3kLm2Nw9Rb4Yc7ZdP1sGh6Jf0Ua',
  '8123456789:AAHq3kVb7Wx2Yc9Zd4Re6Tf1Ug5Ih8Oj0Pl',
  'AKIAIOSFODNN7EXAMPLE',
  'ghp_16C7e42F292c6912E7710c838347Ae178B4a',
  'postgres://app:correct-horse@db/prod',
  '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  'wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEY9',
])('H-6: %s looks like a secret', (value) => {
  expect(findSecret({ API_HOST: value })).toMatchObject({ name: 'API_HOST' });
});

test.each([
  'INFO',
  '0.0.0.0',
  '8000',
  'data/events',
  '/srv/helionyx/environments/production-2026/data/projections/projections.db',
  './data/event-store-v2/production-eu-central-1',
  'https://api.eu-central-1.internal.example.org:8443',
  null,
])('H-6: %s does not look like a secret', (value) => {
  expect(findSecret({ API_HOST: value })).toBe(null);
});
