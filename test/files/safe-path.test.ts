// Relative paths that stay inside their root (F-1, P-15).
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assertRelativePath, compareBytes, joinInside } from '../../files/safe-path.js';
import { codeOf } from './temporary.js';

describe('assertRelativePath', () => {
  test.each([
    '',
    '/',
    '/a',
    '.',
    '..',
    'a/..',
    '../a',
    'a/../b',
    'a/./b',
    'a//b',
    'a/',
    './a',
    'a\0b',
    '\ud800',
    'x'.repeat(4097),
  ])('refuses %j', async (path) => {
    expect(await codeOf(() => assertRelativePath(path))).toBe('path_unsafe');
  });

  test.each(['a', 'a/b', '...', 'a\\b', '..a/b..', ' ', 'ä/\u{1f600}', 'new\nline', '-rf', 'x'.repeat(4096)])(
    'accepts %j',
    (path) => {
      expect(() => assertRelativePath(path)).not.toThrow();
    },
  );

  test('whatever is accepted stays below the root', () => {
    const part = fc.constantFrom('..', '.', '', 'a', '/', '\0', '\\', 'b..');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const path = parts.join('/');
        try {
          assertRelativePath(path);
        } catch {
          return true;
        }
        return joinInside('/root/of', path) === `/root/of/${path}`;
      }),
    );
  });
});

test('joinInside knows the root itself and refuses what leaves it', async () => {
  expect(joinInside('/srv/a', '.')).toBe('/srv/a');
  expect(joinInside('/srv/a', 'b/c')).toBe('/srv/a/b/c');
  expect(await codeOf(() => joinInside('/srv/a', '../b'))).toBe('path_unsafe');
});

test('compareBytes orders as UTF-8 bytes do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (left, right) => {
      expect(Math.sign(compareBytes(left, right))).toBe(
        Math.sign(Buffer.compare(Buffer.from(left), Buffer.from(right))),
      );
    }),
  );
  expect(compareBytes('\u{10000}', '\uffff')).toBeGreaterThan(0);
});
