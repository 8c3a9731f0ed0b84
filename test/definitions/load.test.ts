// Definitions: read only from where nobody else can write, refused with the line that is wrong (DESIGN.md "Workflows").
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { writeDefinition } from '../../definitions/text.js';
import { loadDefinition, loadDefinitions, parseDefinition } from '../../definitions/load.js';
import { LIMITS } from '../../domain/limits.js';
import { Stop } from '../../domain/stop.js';
import { requires } from '../support/requires.js';
import { codeOf, stopOf, temporaryDirectory } from '../control/room.js';

interface Place {
  readonly root?: string;
  readonly destination?: string;
}

const yaml = (
  store: string,
  { root = `/srv/${store}`, destination = `/var/backups/${store}` }: Place = {},
): string => `holdfast: 1
store: ${store}
roots:
  data:
    path: ${root}
    trees:
      - path: files
backup:
  destination: ${destination}
`;

function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = join(temporaryDirectory(), 'stores');
  mkdirSync(directory, { mode: 0o755 });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(directory, name), text, { mode: 0o644 });
    chmodSync(join(directory, name), 0o644);
  }
  return directory;
}

describe('the definitions directory', () => {
  test('holds one file a store; only *.yaml is read', async () => {
    const directory = directoryWith({
      'one.yaml': yaml('one'),
      'two.yaml': yaml('two'),
      'notes.txt': 'x',
      'one.yaml.bak': '{',
    });
    expect((await loadDefinitions(directory)).map(({ store }) => store)).toEqual(['one', 'two']);
    expect(await loadDefinition(directory, 'two')).toMatchObject({
      store: 'two',
      roots: [{ name: 'data', path: '/srv/two' }],
    });
  });

  test('that does not exist, or has no such store, is definition_missing', async () => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    expect(await codeOf(loadDefinitions(join(directory, 'absent')))).toBe('definition_missing');
    expect(await stopOf(loadDefinition(directory, 'two'))).toMatchObject({
      code: 'definition_missing',
      details: { stores: ['one'] },
    });
  });

  test('a name that is no store id never becomes a path', async () => {
    expect(await codeOf(loadDefinition(directoryWith({}), '../etc/passwd'))).toBe('usage');
  });

  test.each([
    ['world', 0o757],
    ['group', 0o775],
  ])('that the %s can write is definition_untrusted', async (_who, mode) => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    chmodSync(directory, mode);
    expect(await codeOf(loadDefinition(directory, 'one'))).toBe('definition_untrusted');
  });

  test.each([
    ['world', 0o646],
    ['group', 0o664],
  ])('a file that the %s can write is definition_untrusted, also for other stores', async (_who, mode) => {
    const directory = directoryWith({ 'one.yaml': yaml('one'), 'two.yaml': yaml('two') });
    chmodSync(join(directory, 'two.yaml'), mode);
    expect(await codeOf(loadDefinition(directory, 'one'))).toBe('definition_untrusted');
  });

  test.skipIf(requires('root'))('a file of another user is definition_untrusted', async () => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    chownSync(join(directory, 'one.yaml'), 12_345, 12_345);
    expect(await codeOf(loadDefinition(directory, 'one'))).toBe('definition_untrusted');
  });

  test('may be a symbolic link: what it leads to is what is judged', async () => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    const link = join(temporaryDirectory(), 'link');
    symlinkSync(directory, link);
    expect((await loadDefinition(link, 'one')).store).toBe('one');
    chmodSync(directory, 0o777);
    expect(await codeOf(loadDefinition(link, 'one'))).toBe('definition_untrusted');
  });

  test('a file that links into a directory that others can write is definition_untrusted', async () => {
    const open = join(temporaryDirectory(), 'open');
    mkdirSync(open);
    writeFileSync(join(open, 'one.yaml'), yaml('one'));
    chmodSync(join(open, 'one.yaml'), 0o644);
    chmodSync(open, 0o777);
    const directory = directoryWith({});
    symlinkSync(join(open, 'one.yaml'), join(directory, 'one.yaml'));
    expect(await codeOf(loadDefinition(directory, 'one'))).toBe('definition_untrusted');
  });
});

describe('definitions that come and go', () => {
  test('do not disturb the operations of other stores', async () => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    const aside = join(temporaryDirectory(), 'two.yaml');
    writeFileSync(aside, yaml('two'), { mode: 0o644 });
    let going = true;
    onTestFinished(() => void (going = false));
    const toggling = (async () => {
      while (going) {
        await copyFile(aside, join(directory, 'two.tmp'));
        await rename(join(directory, 'two.tmp'), join(directory, 'two.yaml'));
        await sleep(3);
        await rm(join(directory, 'two.yaml'));
        await sleep(1);
      }
    })();
    for (let time = 0; time < 300; time += 1) expect((await loadDefinition(directory, 'one')).store).toBe('one');
    going = false;
    await toggling;
  });

  test('a link that leads nowhere is no definition that went: what it says can not be ruled out', async () => {
    const directory = directoryWith({ 'one.yaml': yaml('one') });
    symlinkSync(join(directory, 'absent'), join(directory, 'two.yaml'));
    expect(await codeOf(loadDefinition(directory, 'one'))).toBe('definition_missing');
  });
});

describe('a definition', () => {
  test.each([
    ['a misspelt key', yaml('one').replace('trees:', 'treess:'), 6, /treess/],
    ['a misspelt key at the top', `${yaml('one')}hoks: {}\n`, 10, /hoks/],
    ['a relative root', yaml('one', { root: 'srv' }), 5, /absolute/],
    ['no YAML', 'holdfast: 1\nstore: [one\n', 3, /./],
    ['an alias', 'holdfast: 1\nstore: &name one\nroots: *name\n', 3, /alias/],
    ['nothing in it', '', 1, /^nothing is defined: a definition is `key: value`/],
    ['nothing but a comment', '# to come\n', 1, /^nothing is defined/],
    ['a list', '- holdfast: 1\n', 1, /^no keys: a definition is/],
    ['a word', '\nshop\n', 2, /^no keys/],
    ['a key twice', 'holdfast: 1\nstore: one\nstore: two\n', 3, /unique/i],
    [
      'a database twice',
      yaml('one').replace('    trees:', '    databases:\n      - path: a.db\n      - path: a.db\n    trees:'),
      8,
      /a\.db is listed twice/,
    ],
  ])('with %s is definition_invalid and names the line', (_what, text, line, problem) => {
    try {
      parseDefinition(text, '/etc/one.yaml');
      expect.fail('it was accepted');
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      expect(error.code).toBe('definition_invalid');
      const place = `/etc/one.yaml:${line}: `;
      expect(error.message.slice(0, place.length)).toBe(place);
      expect(error.message.slice(place.length)).toMatch(problem);
      expect(error.message).not.toContain(': : ');
    }
  });

  test('in a file of another name, or too large, is definition_invalid', async () => {
    expect(await codeOf(loadDefinitions(directoryWith({ 'two.yaml': yaml('one') })))).toBe('definition_invalid');
    expect(
      await codeOf(
        loadDefinitions(directoryWith({ 'one.yaml': `${yaml('one')}#${'x'.repeat(LIMITS.definitionBytesMax)}` })),
      ),
    ).toBe('definition_invalid');
  });

  test('that swells by aliases is refused', () => {
    expect(() => parseDefinition(`a: &a [x, x]\nb: [*a, *a]\n${yaml('one')}`, 'x')).toThrow();
  });
});

describe('places that overlap', () => {
  test.each([
    ['two roots that are one', { root: '/srv/a' }, { root: '/srv/a' }],
    ['a root in a root of another store', { root: '/srv/a' }, { root: '/srv/a/b' }],
    ['a destination in the root of its own store', { root: '/srv/a', destination: '/srv/a/backups' }, {}],
    ['a root in the destination of another store', { destination: '/var/b' }, { root: '/var/b/root' }],
  ])('%s: roots_overlap', async (_what, one, two) => {
    expect(
      await codeOf(loadDefinitions(directoryWith({ 'one.yaml': yaml('one', one), 'two.yaml': yaml('two', two) }))),
    ).toBe('roots_overlap');
  });

  test('names that only begin alike do not, and destinations may be shared', async () => {
    const files = {
      'one.yaml': yaml('one', { root: '/srv/a', destination: '/var/b' }),
      'two.yaml': yaml('two', { root: '/srv/ab', destination: '/var/b' }),
    };
    expect(await loadDefinitions(directoryWith(files))).toHaveLength(2);
  });

  test('are seen through symbolic links, also where the last part does not exist yet', async () => {
    const real = join(temporaryDirectory(), 'real');
    mkdirSync(real);
    const link = join(temporaryDirectory(), 'link');
    symlinkSync(real, link);
    const files = {
      'one.yaml': yaml('one', { root: join(real, 'data') }),
      'two.yaml': yaml('two', { root: join(link, 'data') }),
    };
    expect(await codeOf(loadDefinitions(directoryWith(files)))).toBe('roots_overlap');
  });

  test('a root above the control directory of another store is seen', async () => {
    const files = {
      'one.yaml': yaml('one', { root: '/srv/a' }),
      'two.yaml': yaml('two', { root: '/srv/.holdfast/a' }),
    };
    expect(await codeOf(loadDefinitions(directoryWith(files)))).toBe('roots_overlap');
  });
});

test('a definition that is written out reads back as the same, whatever the arguments of its hooks are', () => {
  const given = parseDefinition(yaml('shop'), 'shop.yaml');
  const pieces = [
    ' ',
    '\n',
    '\n\n',
    '\t',
    '"',
    "'",
    '#',
    ': ',
    '- ',
    '\\',
    '|',
    '\r',
    '\u0007',
    '\u2028',
    'é',
    'word ',
  ];
  const argument = fc
    .array(fc.oneof(fc.constantFrom(...pieces), fc.constant('x'.repeat(60)), fc.string()), { maxLength: 12 })
    .map((parts) => parts.join(''))
    .filter((text) => text !== '');
  fc.assert(
    fc.property(argument, (text) => {
      const definition = { ...given, hooks: { verify: { argv: ['/bin/sh', '-c', text], timeoutSeconds: 20 } } };
      expect(parseDefinition(writeDefinition(definition).trimEnd(), 'shop.yaml')).toEqual(definition);
    }),
    // Folded at the first blank, it came back with another number of line ends
    { numRuns: 500, examples: [[`${'x'.repeat(60)}\u0007word ${'x'.repeat(60)}\n \n\né`], ['  \n']] },
  );
});
