// Relative paths that stay inside their root. Every path that comes from a manifest or a definition passes here
// before it is joined to a directory (F-1, P-15): paths are strings with `/` between parts, compared byte by byte.
import { join } from 'node:path';
import { LIMITS } from '../domain/limits.js';
import { assert, Stop } from '../domain/stop.js';

/**
 * Accepts `a/b`; refuses absolute paths, `.`, `..`, empty parts, NUL, lone surrogates, and what is longer than
 * LIMITS.pathBytesMax. A backslash is an ordinary character of a Linux name.
 * @throws Stop path_unsafe
 */
export function assertRelativePath(path: string): void {
  const refusal = whyUnsafe(path);
  if (refusal !== null) throw new Stop('path_unsafe', `a path ${refusal}`, { path: path.slice(0, 200) });
}

function whyUnsafe(path: string): string | null {
  if (path === '') return 'is empty';
  if (path.startsWith('/')) return 'is absolute';
  if (path.includes('\0')) return 'holds a NUL';
  const bytes = Buffer.from(path, 'utf8');
  if (bytes.length > LIMITS.pathBytesMax) return `is longer than ${LIMITS.pathBytesMax} bytes`;
  if (bytes.toString('utf8') !== path) return 'is not well-formed Unicode';
  for (const part of path.split('/')) {
    if (part === '') return 'has an empty part';
    if (part === '.' || part === '..') return `has a part ${part}`;
  }
  return null;
}

/**
 * The absolute path of a relative one; `.` is the root itself.
 * @throws Stop path_unsafe
 */
export function joinInside(root: string, relative: string): string {
  assert(root.startsWith('/'), 'a root is an absolute path');
  if (relative === '.') return root;
  assertRelativePath(relative);
  return join(root, relative);
}

/** Orders strings by their UTF-8 bytes, which JavaScript's own order (UTF-16 units) differs from beyond U+FFFF. */
export function compareBytes(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index += 1) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a !== b) return isSurrogate(a) === isSurrogate(b) ? a - b : isSurrogate(a) ? 1 : -1;
  }
  return left.length - right.length;
}

/** Surrogates stand for characters above all others, though their own numbers lie below U+E000. */
function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
