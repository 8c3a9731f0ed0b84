// What is wrong with one store is no matter of another one: its definition, its disk. `recover --all` at boot and the
// start-up gate look at each store by itself. Clauses SM-8, SM-9.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { loadDefinitionAlone } from '../../definitions/load.js';
import { roomOf } from '../../control/store-room.js';
import { jsonLines, run } from '../cli/room.js';
import type { Ended } from '../cli/room.js';
import { claimant, startChild, temporaryDirectory } from '../control/room.js';

let directory: string;
let definitions: string;

beforeEach(() => {
  directory = temporaryDirectory();
  definitions = join(directory, 'definitions');
  mkdirSync(definitions, { mode: 0o755 });
});

const holdfast = (...argv: readonly string[]): Promise<Ended> =>
  run({ ...process.env, HOLDFAST_DEFINITIONS_DIRECTORY: definitions }, ...argv);

function define(store: string): void {
  mkdirSync(join(directory, store));
  const definition = {
    holdfast: 1,
    store,
    roots: { data: { path: join(directory, store), trees: [{ path: '.' }] } },
    backup: { destination: join(directory, 'backups', store) },
    hooks: {
      quiesce: { argv: ['/bin/true'] },
      resume: { argv: ['/bin/sh', '-c', `: > '${join(directory, `${store} was resumed`)}'`] },
    },
  };
  // JSON is YAML, too
  writeFileSync(join(definitions, `${store}.yaml`), JSON.stringify(definition), { mode: 0o644 });
}

/** A worker of the store that is killed after it has paused the application. @returns the control directory */
async function leaveUnfinished(store: string): Promise<string> {
  const room = await roomOf(await loadDefinitionAlone(definitions, store));
  const worker = startChild({ room, does: 'own', claimant: claimant(), events: [{ event: 'quiescing' }], stays: true });
  await worker.line();
  await worker.kill();
  return room.controlDirectory;
}

const wasResumed = (store: string): boolean => existsSync(join(directory, `${store} was resumed`));

describe('holdfast recover --all', () => {
  test.each([
    ['is malformed', '{', 'definition_invalid', 78],
    ['others can write', null, 'definition_untrusted', 78],
  ] as const)('recovers the others where a definition %s, and tells it', async (_what, text, code, status) => {
    for (const store of ['a-broken', 'b-sound']) define(store);
    await leaveUnfinished('b-sound');
    const path = join(definitions, 'a-broken.yaml');
    if (text === null) chmodSync(path, 0o666);
    else writeFileSync(path, text);
    const ended = await holdfast('recover', '--all', '--json');
    expect(wasResumed('b-sound')).toBe(true);
    expect(ended.status).toBe(status);
    expect(jsonLines(ended).lines).toMatchObject([
      { type: 'recovered', store: 'b-sound' },
      { type: 'error', code, details: { store: 'a-broken' } },
    ]);
  });

  test('recovers the others where the system refuses what one store needs, which is io_error and no defect', async () => {
    for (const store of ['a-refused', 'b-sound']) define(store);
    const controlDirectory = await leaveUnfinished('a-refused');
    await leaveUnfinished('b-sound');
    // A file that can't be removed by unlink
    rmSync(join(controlDirectory, 'ballast'));
    mkdirSync(join(controlDirectory, 'ballast'));
    const ended = await holdfast('recover', '--all', '--json');
    expect([wasResumed('a-refused'), wasResumed('b-sound')]).toEqual([false, true]);
    expect(ended.status).toBe(74);
    expect(jsonLines(ended).last).toMatchObject({
      code: 'io_error',
      details: { store: 'a-refused', controlDirectory },
    });
  });
});

describe('holdfast status --gate', () => {
  test('is open for a store while the definition of another one is malformed', async () => {
    for (const store of ['broken', 'sound']) define(store);
    writeFileSync(join(definitions, 'broken.yaml'), '{');
    expect(await holdfast('status', 'sound', '--gate')).toMatchObject({ status: 0, stderr: '' });
    expect(await holdfast('status', 'broken', '--gate')).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('STOP definition_invalid: '),
    });
    expect(readFileSync(join(definitions, 'broken.yaml'), 'utf8')).toBe('{');
  });
});

describe.each([
  ['status', ['status', 'sound']],
  ['lock show', ['lock', 'show', 'sound']],
  ['lock break', ['lock', 'break', 'sound']],
] as const)('holdfast %s', (_name, argv) => {
  test('looks at its store while the definition of another one is malformed', async () => {
    for (const store of ['broken', 'sound']) define(store);
    writeFileSync(join(definitions, 'broken.yaml'), '{');
    expect(await holdfast(...argv)).toMatchObject({ status: 0, stderr: '' });
  });

  test('says which store comes closest to one that is not defined', async () => {
    for (const store of ['broken', 'sound']) define(store);
    writeFileSync(join(definitions, 'broken.yaml'), '{');
    expect(await holdfast(...argv.map((word) => word.replace('sound', 'sond')))).toMatchObject({
      status: 78,
      stderr: expect.stringMatching(
        /^STOP definition_missing: there is no sond\.yaml in .* \(did you mean sound\?\)$/m,
      ),
    });
  });
});
