// Globs and odd names: a name that is escaped matches itself and nothing else, and matching always ends.
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { compileGlobs, escapeGlob, isGlob } from '../../files/globs.js';

const GLOBS = JSON.stringify(new URL('../../files/globs.js', import.meta.url).href);

/** In a process of its own: a loop that does not end can't be interrupted from within. */
const PROPERTY = `
  import { compileGlobs, escapeGlob } from ${GLOBS};
  const CHARACTERS = Array.from('ab.*?[]{}()!+@|\\\\\\\\"\\'^$,-~<>#%& :;=\`\\n\\ue000\\u00e9\\u{1f600}');
  let seed = 20240607;
  const below = (bound) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % bound;
  };
  const nameOf = (length) => Array.from({ length }, () => CHARACTERS[below(CHARACTERS.length)]).join('');
  const isName = (name) => name !== '.' && name !== '..';
  const names = Array.from({ length: 3000 }, () => nameOf(1 + below(7))).filter(isName);
  const wrong = [];
  const claim = (glob, path, expected) => {
    if (compileGlobs([glob])(path) !== expected) wrong.push([glob, path, expected]);
  };
  for (const [index, name] of names.entries()) {
    const other = names[(index * 7 + 1) % names.length];
    const glob = escapeGlob(name);
    claim(glob, name, true);
    if (other !== name && other !== glob) claim(glob, other, false);
    for (const near of [name + 'a', 'a' + name, name.slice(1), name.slice(0, -1)])
      if (near !== '' && near !== glob) claim(glob, near, near === name);
    claim(glob + '/**', name + '/' + other, true);
    claim('x/*' + glob, 'x/' + other + name, true);
  }
  console.log(JSON.stringify(wrong.slice(0, 20)));
`;

test('an escaped name matches itself and no other, whatever is in it, and matching ends', () => {
  const found = execFileSync(process.execPath, ['--input-type=module', '--eval', PROPERTY], { timeout: 60_000 });
  expect(JSON.parse(found.toString())).toEqual([]);
});

test.each([
  ['**/*.db', ['a.db', 'x/y/.hidden.db'], ['a.db-wal']],
  ['tenant-?/[ab].db', ['tenant-1/a.db'], ['tenant-10/a.db', 'tenant-1/c.db']],
  ['{one,t\\wo}/*', ['one/x', 'two/new\nline'], ['three/x', 'one/x/y']],
  ['!(cache)/**', ['data/x'], ['cache/x']],
  ['!important', ['!important'], ['other']],
  ['say "so".*', ['say "so".txt'], ['say so.txt']],
  ['back\\\\slash\\*', ['back\\slash*'], ['back\\slash', 'backslash*']],
  ['dir\\/*', ['dir/x'], ['dir']],
  ['end*\\', ['end of it\\'], ['end of it']],
  ['[\\]-]x', [']x', '-x'], ['\\x']],
  ['[z-\\*]', ['[z-\\*]'], ['z', '*']],
  ['notes[1].txt', ['notes[1].txt', 'notes1.txt'], ['notes2.txt']],
] as const)('%j matches what it means', (glob, matching, others) => {
  const matches = compileGlobs([glob]);
  expect([...matching, ...others].filter(matches)).toEqual(matching);
});

test('no glob matches nothing, and what is escaped is read as one', () => {
  expect(compileGlobs([])('a')).toBe(false);
  expect(['*.db', 'a{b,c}', 'x/[12].db', '\\**'].map(isGlob)).toEqual([true, true, true, true]);
  expect(['a.db', 'x/y.db', escapeGlob('a*[1]{b}!(c)\\\\')].map(isGlob)).toEqual([false, false, true]);
  for (const glob of ['\\!\\(neg\\).db', '!\\(neg\\).db'])
    expect(['!(neg).db', 'link.db', 'neg.db'].filter(compileGlobs([glob])), glob).toEqual(['!(neg).db']);
});
