// Completion, asked by the real shells: commands, options, stores, backups, files.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { BASH_COMPLETION, requires } from '../support/requires.js';
import { PROGRAM, run } from './room.js';

const OLDER = '000001-20261121T120000Z-1b4e28ba';
const NEWER = '000002-20261121T130000Z-2c5f39cb';
let directory = '';
let environment: Environment = {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-completion-'));
  const [definitions, backups, programs] = ['stores', 'backups', 'bin'].map((name) => join(directory, name));
  for (const path of [definitions, backups, programs]) mkdirSync(path ?? '', { mode: 0o755 });
  symlinkSync(PROGRAM, join(programs ?? '', 'holdfast'));
  chmodSync(PROGRAM, 0o755);
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
  return stdout.split('\n').flatMap((line) => (line.includes('\t') ? [line.split('\t', 1)[0] ?? ''] : []));
}

describe('what may come next', () => {
  test('is a command, and then one of its parts', async () => {
    expect(await candidates('re')).toEqual(['restore', 'recover']);
    expect(await candidates('lock', '')).toEqual(expect.arrayContaining(['show', 'break']));
    expect(await candidates('')).not.toContain('complete');
  });

  test('is an option of the command, or of all', async () => {
    expect(await candidates('restore', 'shop', '--')).toEqual(
      expect.arrayContaining(['--confirm', '--json', '--quiet']),
    );
  });

  test('is a store that is defined here, and a backup that it has, the newest first', async () => {
    expect(await candidates('backup', 's')).toEqual(['shed', 'shop']);
    expect(await candidates('restore', 'shop', '')).toEqual(['latest', NEWER, OLDER]);
    expect(await candidates('show', 'shop', '000001')).toEqual([OLDER]);
    expect(await candidates('restore', 'unknown', '')).toEqual([]);
  });

  test('is a file where one is wanted, and a shell for its script', async () => {
    const stores = join(directory, 'stores');
    expect(await candidates('config', 'validate', `${stores}/sh`)).toEqual([
      `${stores}/shed.yaml`,
      `${stores}/shop.yaml`,
    ]);
    expect(await candidates('completion', '')).toEqual(['bash', 'zsh', 'fish', 'powershell']);
  });

  test('is nothing where nothing can be known', async () => {
    rmSync(join(directory, 'stores', 'shed.yaml'));
    writeFileSync(join(directory, 'stores', 'shed.yaml'), 'store: [');
    expect(await candidates('restore', 'shed', '')).toEqual([]);
    expect(await candidates('cancel', '--host', '')).toEqual([]);
  });
});

describe('in a real shell', () => {
  const shell = (program: string, ...argv: readonly string[]): string =>
    execFileSync(program, argv, { env: { ...environment }, encoding: 'utf8' });

  test.skipIf(requires('bash-completion'))('bash completes a store', () => {
    const script = `
      source ${BASH_COMPLETION}
      source <(holdfast completion bash)
      COMP_WORDS=(holdfast backup sho) COMP_CWORD=2 COMP_LINE='holdfast backup sho' COMP_POINT=19
      __holdfast_complete
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect(shell('bash', '--norc', '-c', script).trim()).toBe('shop');
  });

  test.skipIf(requires('fish'))('fish completes a command and a store', () => {
    const script = "holdfast completion fish | source; complete -C 'holdfast bac'; complete -C 'holdfast backup sho'";
    expect(shell('fish', '--no-config', '-c', script)).toMatch(/^backup\t.*\nshop\b/);
  });

  test.skipIf(requires('zsh'))('zsh reads its script', () => {
    const path = join(directory, '_holdfast');
    writeFileSync(path, shell('holdfast', 'completion', 'zsh'));
    expect(shell('zsh', '-f', '-n', path)).toBe('');
    expect(
      shell('zsh', '-f', '-c', `autoload -U compinit; compinit -D; source ${path}; print \${_comps[holdfast]}`),
    ).toMatch(/holdfast/);
  });
});
