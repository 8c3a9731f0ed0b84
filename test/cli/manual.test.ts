// The manual pages are those that the commands make, and roff has nothing to say against them.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { COMMANDS } from '../../cli/commands/index.js';
import { manualPages } from '../../cli/manual.js';
import { requires } from '../support/requires.js';

const DIRECTORY = 'docs/man';

describe('the manual pages', () => {
  test('are what `npm run docs` makes of the commands', () => {
    const made = Object.fromEntries(manualPages().map(({ name, text }) => [name, text]));
    const written = Object.fromEntries(
      readdirSync(DIRECTORY).map((name) => [name, readFileSync(join(DIRECTORY, name), 'utf8')]),
    );
    expect(written).toEqual(made);
  });

  test('are one a command, and one for each of its parts', () => {
    const names = manualPages().map(({ name }) => name);
    for (const command of COMMANDS.map((make) => make()))
      expect(names).toEqual(
        expect.arrayContaining(
          [command.name(), ...command.commands.map((part) => `${command.name()}-${part.name()}`)].map(
            (name) => `holdfast-${name}.1`,
          ),
        ),
      );
  });

  test.skipIf(requires('groff'))(
    'are shown as they are meant: no warning, options and examples that can be copied',
    () => {
      const show = (name: string): string =>
        execFileSync('groff', ['-man', '-Tutf8', '-ww', '-P-cbou', join(DIRECTORY, name)], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'pipe'],
        });
      for (const { name } of manualPages()) expect(show(name), name).toContain('NAME');
      const restore = show('holdfast-restore.1');
      expect(restore).toContain('--confirm <');
      expect(restore).toMatch(/^ +holdfast restore shop latest --confirm /m);
      expect(restore).toMatch(/^ +75 +busy/m);
    },
  );
});
