// Completion, asked by the real shells, but PowerShell: commands, options, stores, backups, files. Whatever was typed, and whatever files
// are called, nothing is carried out and nothing is written.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { eventually } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { PROGRAM, jsonLines, run, startProgramOnTerminal } from './room.js';

const OLDER = '000001-20261121T120000Z-1b4e28ba';
const NEWER = '000002-20261121T130000Z-2c5f39cb';
let directory = '';
let environment: Environment = {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-completion-'));
  const [definitions, backups, programs] = ['stores', 'backups', 'bin'].map((name) => join(directory, name));
  for (const path of [definitions, backups, programs]) mkdirSync(path ?? '', { mode: 0o755 });
  // It says what it was given, so that a line that was completed shows what it means to the shell
  writeFileSync(
    join(programs ?? '', 'holdfast'),
    `#!/bin/sh
case $1 in complete | completion) exec '${process.execPath}' '${PROGRAM}' "$@" ;; esac
printf '%s\\0' "$@" > "$HOME/given.new" && mv "$HOME/given.new" "$HOME/given"
`,
    { mode: 0o755 },
  );
  for (const store of ['shop', 'shed']) {
    const path = join(definitions ?? '', `${store}.yaml`);
    writeFileSync(
      path,
      `{ holdfast: 1, store: ${store}, roots: { data: { path: /srv/${store}, databases: [{ path: a.db }] } }, backup: { destination: ${backups ?? ''} } }`,
    );
    chmodSync(path, 0o644);
  }
  for (const name of [OLDER, NEWER, '.hidden']) mkdirSync(join(backups ?? '', name));
  environment = {
    PATH: `${programs ?? ''}:${process.env['PATH'] ?? ''}`,
    HOME: directory,
    HOLDFAST_DEFINITIONS_DIRECTORY: definitions,
  };
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What may stand in place of the last word. */
async function candidates(...words: readonly string[]): Promise<readonly string[]> {
  const { status, stdout, stderr } = await run(environment, 'complete', '--', ...words);
  expect([status, stderr]).toEqual([0, '']);
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t', 1)[0] ?? '']));
}

describe('what may come next', () => {
  test('is a command, and then one of its parts', async () => {
    expect(await candidates('re')).toEqual(['restore', 'recover']);
    expect(await candidates('lock', '')).toEqual(['show', 'break', 'help']);
    expect(await candidates('')).not.toContain('complete');
    expect(await candidates('--json', '--host', 'lock', 'ba')).toEqual(['backup']);
  });

  test('is an option of the command, or of all', async () => {
    expect(await candidates('restore', 'shop', '--')).toEqual(
      expect.arrayContaining(['--confirm', '--json', '--quiet']),
    );
    expect(await candidates('restore', '--conf')).toEqual(['--confirm']);
  });

  test('is a store that is defined here, and a backup that it has, the newest first', async () => {
    expect(await candidates('backup', 's')).toEqual(['shed', 'shop']);
    expect(await candidates('watch', 'shop', 'sh')).toEqual(['shed', 'shop']);
    expect(await candidates('restore', 'shop', '')).toEqual(['latest', NEWER, OLDER]);
    expect(await candidates('show', '--host', 'other', 'shop', '000001')).toEqual([OLDER]);
    expect(await candidates('restore', 'unknown', '')).toEqual([]);
    expect(await candidates('restore', 'shop', 'latest', '')).toEqual([]);
  });

  test('is a file where one is wanted, which the shell completes, and a shell for its script', async () => {
    for (const words of [
      ['init', 'a'],
      ['init', '--destination', ''],
      ['config', 'validate', 'a', './b'],
    ])
      expect(await candidates(...words)).toEqual([':files']);
    expect(await candidates('completion', '')).toEqual(['bash', 'zsh', 'fish', 'powershell']);
  });

  test('is nothing where nothing can be known', async () => {
    rmSync(join(directory, 'stores', 'shed.yaml'));
    writeFileSync(join(directory, 'stores', 'shed.yaml'), 'store: [');
    expect(await candidates('restore', 'shed', '')).toEqual([]);
    expect(await candidates('cancel', '--host', '')).toEqual([]);
    expect(await candidates('init', '--destination=')).toEqual([]);
    expect(await candidates('init', '--destination', '=', '')).toEqual([]);
  });

  test('is never a name that means something to a shell', async () => {
    const names = [
      's;touch pwned',
      's$(touch pwned)',
      's`touch pwned`',
      's\ntouch pwned',
      "s'",
      's"',
      's\\',
      's p',
      's*',
    ];
    for (const name of names) writeFileSync(join(directory, 'stores', `${name}.yaml`), '');
    expect(await candidates('backup', 's')).toEqual(['shed', 'shop']);
    for (const name of names) rmSync(join(directory, 'stores', `${name}.yaml`));
    for (const name of names) mkdirSync(join(directory, 'backups', name));
    expect(await candidates('restore', 'shop', 's')).toEqual([]);
    for (const name of names) rmSync(join(directory, 'backups', name), { recursive: true });
  });
});

test.each(['bash', 'zsh', 'fish', 'powershell'])(
  'a script for %s is printed, or as one line of JSON',
  async (shell) => {
    const { status, stdout } = await run(environment, 'completion', shell);
    expect(status).toBe(0);
    expect(stdout).toMatch(/completion for holdfast[^]*\n$/);
    expect(jsonLines(await run(environment, 'completion', shell, '--json')).last).toEqual({
      type: 'result',
      shell,
      script: stdout,
    });
  },
);

// No registry has a PowerShell that this could be run in: what is held here is what can be read
test('the script for PowerShell, which is not run here, evaluates nothing, and starts holdfast by its path alone', async () => {
  const { stdout } = await run(environment, 'completion', 'powershell');
  const code = stdout.replaceAll(/^\s*#.*$/gm, '');
  expect(new Set(code.match(/\b[A-Z][a-z]+-[A-Z]\w+/g))).toEqual(
    new Set(['Register-ArgumentCompleter', 'Get-Command', 'Get-Location', 'Where-Object']),
  );
  expect(code).not.toMatch(/&|\biex\b|\[scriptblock\]|ExpandString|\.Invoke|ConvertFrom/i);
  expect(code.match(/ProcessStartInfo\]::new\(.*/g)).toEqual(['ProcessStartInfo]::new($program.Source)']);
  expect(code.match(/ArgumentList\.Add\(.*/g)).toEqual(
    ["'complete'", "'--'", '$word', '$begun'].map((word) => `ArgumentList.Add(${word})`),
  );
});

/** How a person has it: the script is read twice, because that must do no harm. */
const SHELLS = {
  bash: {
    argv: ['bash', '--norc', '--noprofile', '-i'],
    setUp: 'source <(holdfast completion bash); source <(holdfast completion bash)',
    clearLine: '\u0015',
  },
  zsh: {
    argv: ['zsh', '-f', '-i'],
    setUp:
      'autoload -U compinit; compinit -u -D; source <(holdfast completion zsh); source <(holdfast completion zsh); HISTFILE=',
    clearLine: '\u0015',
  },
  fish: {
    argv: ['fish', '--no-config', '-i'],
    setUp: 'holdfast completion fish | source; holdfast completion fish | source',
    clearLine: '\u0015',
  },
} as const;

/** A file each in a directory of its own, so that a tabulator completes all of it. */
const NAMES = [
  'plain',
  'two words',
  '$(touch pwned)',
  '`touch pwned`',
  '(touch pwned)',
  ';touch pwned;',
  'x>precious',
  'x|tee precious',
  '"\'\\',
  '$HOME *',
  '~',
  'x!y#{a,b}[c]?',
  '--json',
];

describe.each(Object.entries(SHELLS))('in a real %s', (name, { argv, setUp, clearLine }) => {
  const needs = requires(name as keyof typeof SHELLS, 'python3');
  let place = '';

  beforeEach(() => {
    place = join(directory, name);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'precious'), 'precious');
  });

  type Typed = (line: string) => Promise<readonly string[]>;

  /** Types lines, and hands back what `holdfast` was given by each. */
  async function atPrompt(use: (typed: Typed) => Promise<void>): Promise<string> {
    const shell = startProgramOnTerminal({ ...environment, PS1: '> ' }, 'env', '-C', place, ...argv);
    const given = join(directory, 'given');
    const typed: Typed = async (line) => {
      rmSync(given, { force: true });
      shell.type(`${line}\r`);
      await eventually(`holdfast ran after ${line}: ${shell.stdout()}`, () => existsSync(given), 20_000);
      return readFileSync(given, 'utf8').split('\0').slice(0, -1);
    };
    expect(await typed(`${setUp}; holdfast ready`)).toEqual(['ready']);
    await use(typed);
    shell.type('exit\r');
    await shell.ended;
    expect(readFileSync(join(place, 'precious'), 'utf8')).toBe('precious');
    expect([directory, place].filter((each) => existsSync(join(each, 'pwned')))).toEqual([]);
    return shell.stdout();
  }

  test.skipIf(needs)('commands, stores and backups are completed', async () => {
    const shown = await atPrompt(async (typed) => {
      expect(await typed('holdfast bac\tsho\t')).toEqual(['backup', 'shop']);
      expect(await typed('holdfast show shop 000002\t')).toEqual(['show', 'shop', NEWER]);
      expect(await typed('holdfast restore --conf\tx shop lat\t')).toEqual([
        'restore',
        '--confirm',
        'x',
        'shop',
        'latest',
      ]);
    });
    expect(shown).not.toMatch(/readonly|not found|Unknown command|error/i);
  });

  test.skipIf(needs)('a file is completed whatever its name, quoted so that it is that name', async () => {
    await atPrompt(async (typed) => {
      for (const [index, file] of NAMES.entries()) {
        mkdirSync(join(place, `d${index}`));
        writeFileSync(join(place, `d${index}`, file), '');
        expect(await typed(`holdfast config validate d${index}/\t`)).toEqual([
          'config',
          'validate',
          `d${index}/${file}`,
        ]);
      }
    });
  });

  test.skipIf(needs)('nothing that was typed is carried out, and no redirection is made', async () => {
    await atPrompt(async (typed) => {
      for (const line of [
        'holdfast config show shop > precious ',
        'holdfast config show shop > precious --',
        "holdfast show shop '$(touch pwned)' ",
        "holdfast show '`touch pwned`",
        'holdfast show shop $(touch pwned) ',
        'holdfast init $(touch pwned) --',
        'holdfast show "a;touch pwned;" ',
        'holdfast show shop \\; touch pwned ',
      ])
        expect(await typed(`${line}\t${clearLine}holdfast next`)).toEqual(['next']);
    });
  });
});
