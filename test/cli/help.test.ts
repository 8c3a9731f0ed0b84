// What the command line says without doing anything: help, complaints about its arguments, and their statuses.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { COMMANDS } from '../../cli/commands/index.js';
import { closestName } from '../../domain/closest-name.js';
import type { Environment } from '../../client/state-directory.js';
import { CONTROL_CHARACTERS, jsonLines, run } from './room.js';

let directory = '';
let environment: Environment = {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  const definitions = join(directory, 'stores');
  mkdirSync(definitions, { mode: 0o755 });
  environment = {
    PATH: process.env['PATH'],
    HOME: directory,
    HOLDFAST_STATE_DIRECTORY: join(directory, 'state'),
    HOLDFAST_DEFINITIONS_DIRECTORY: definitions,
    HOLDFAST_HOST: 'test-host',
  };
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const commands = COMMANDS.map((command) => command());
const names = commands.map((command) => command.name());
const WITH_PARTS = commands.flatMap((command) => [
  [command.name()],
  ...command.commands.map((part) => [command.name(), part.name()]),
]);

describe('help', () => {
  test('of the program names every command, the environment and its defaults, in 80 columns', async () => {
    const { status, stdout, stderr } = await run(environment, '--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const name of names) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    for (const name of [
      'HOLDFAST_DEFINITIONS_DIRECTORY',
      'HOLDFAST_STATE_DIRECTORY',
      'HOLDFAST_HOST',
      'TEMPORAL_ADDRESS',
    ])
      expect(stdout).toContain(name);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(stdout).not.toMatch(CONTROL_CHARACTERS);
  });

  test.each(WITH_PARTS.map((words) => [words.join(' '), words] as const))(
    'of %s has examples of it and exit statuses',
    async (name, words) => {
      const { status, stdout, stderr } = await run(environment, ...words, '--help');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(new RegExp(`Examples:\n  \\$ .*holdfast ${words[0] ?? ''}|ExecStartPre`));
      expect(stdout).toContain(`holdfast ${name}`);
      for (const line of ['   0  done', '  64  ', '  70  a defect', '--json', '--host <name>'])
        expect(stdout).toContain(line);
      expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    },
  );

  test('and the version are a result with --json', async () => {
    expect(jsonLines(await run(environment, 'backup', '--help', '--json')).last).toMatchObject({
      type: 'result',
      text: expect.stringContaining('Usage: holdfast backup'),
    });
    expect(jsonLines(await run(environment, '--json', '--version')).last).toMatchObject({
      type: 'result',
      text: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });
});

describe('arguments that are not understood', () => {
  const cases: readonly (readonly [argv: readonly string[], message: RegExp, help: string])[] = [
    [[], /no command was given/, 'holdfast --help'],
    [['bakup', 'shop'], /unknown command 'bakup'.*did you mean backup/i, 'holdfast --help'],
    [['backup'], /missing required argument 'store'/, 'holdfast backup --help'],
    [['backup', 'shop', 'attic'], /too many arguments/, 'holdfast backup --help'],
    [
      ['backup', 'shop', '--operatoin', 'x'],
      /unknown option '--operatoin'.*did you mean --operation/i,
      'holdfast backup --help',
    ],
    [['restore', 'shop', 'latest', '--confrim', 'x'], /did you mean --confirm/i, 'holdfast restore --help'],
    [['restore', 'shop', 'latest', '--confirm'], /argument missing/, 'holdfast restore --help'],
    [['lock', 'brake', 'shop'], /unknown command 'brake'.*did you mean break/i, 'holdfast lock --help'],
    [['lock'], /no command was given/, 'holdfast lock --help'],
  ];

  test.each(cases)('%j: 64, with the help to read', async (argv, message, help) => {
    const { status, stdout, stderr } = await run(environment, ...argv);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toContain(`  help: ${help}\n`);
  });

  test.each(cases)('%j --json: the last line is an error', async (argv, message, help) => {
    const ended = await run(environment, ...argv, '--json');
    expect(ended).toMatchObject({ status: 64, stderr: '' });
    expect(jsonLines(ended).last).toMatchObject({
      type: 'error',
      code: 'usage',
      exit: 64,
      message: expect.stringMatching(message),
      details: { help },
    });
  });

  test.each([
    [['recover'], /name one store, or give --all/],
    [['recover', 'shop', '--all'], /name one store, or give --all/],
    [['status', '--gate'], /a gate is for one store/],
    [['status', 'Shop!'], /not a store id/],
    [['cancel', "x' OR HoldfastStore != 'x"], /not a store id/],
    [['list', 'shop', '--host', 'attic'], /looks at the host it runs on, which is test-host; run it on attic/],
    [['recover', '--all', '--host', 'attic'], /run it on attic/],
  ] as const)('%j: 64', async (argv, message) => {
    const { status, stderr } = await run(environment, ...argv);
    expect(stderr).toMatch(message);
    expect(status).toBe(64);
  });
});

describe('an engine that does not answer', () => {
  const away = { TEMPORAL_ADDRESS: '127.0.0.1:1' };

  test('is 69 for what needs it, with its address', async () => {
    const { status, stderr } = await run({ ...environment, ...away }, 'backup', 'shop');
    expect(stderr).toMatch(/^STOP engine_unreachable: temporal at 127\.0\.0\.1:1 does not answer\n/);
    expect(stderr).toContain('  what to do: check TEMPORAL_ADDRESS');
    expect(status).toBe(69);
  });

  test('is 69 for `up` too', async () => {
    expect(jsonLines(await run({ ...environment, ...away }, 'up', '--json', '--quiet')).last).toMatchObject({
      code: 'engine_unreachable',
      exit: 69,
    });
  });

  test('is not asked by what looks at this host itself', async () => {
    expect(await run({ ...environment, ...away }, 'status')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^no stores are defined in /),
    });
    expect(await run({ ...environment, ...away }, 'recover', '--all')).toMatchObject({ status: 0 });
  });
});

describe('the closest name', () => {
  test.each([
    ['shp', ['shop', 'attic'], 'shop'],
    ['attci', ['shop', 'attic'], 'attic'],
    ['shop-1', ['shop-2', 'shop-3'], undefined],
    ['zebra', ['shop', 'attic'], undefined],
    ['x', [], undefined],
  ] as const)('to %s among %j is %s', (wanted, known, closest) => {
    expect(closestName(wanted, known)).toBe(closest);
  });
});
