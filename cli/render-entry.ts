// Entries of backups, for people and as JSON. Names are whatever somebody has called a file: none of them steers a terminal.
import type { ManifestEntry } from '../domain/manifest.js';

const KINDS = { directory: 'd', file: '-', database: 's' } as const;
const BITS = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'] as const;
const SIZE_COLUMNS = 14;

/** `<root>/<path>`, a root alone. */
function nameOf({ root, path }: Pick<ManifestEntry, 'root' | 'path'>): string {
  return path === '.' ? root : `${root}/${path}`;
}

/** As it is, or as a JSON string where anything in it means something to a terminal or could be taken for such a string. */
export function printable(name: string): string {
  return /^"|[\p{Cc}\p{Cf}\u2028\u2029]/u.test(name)
    ? JSON.stringify(name).replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, escapeOf)
    : name;
}

function escapeOf(character: string): string {
  return [...Array(character.length).keys()]
    .map((index) => String.raw`\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
    .join('');
}

/** As `ls -l` has it: kind (`s` for a database), permissions, size, time, name. */
export function entryLine(entry: ManifestEntry): string {
  const size = entry.type === 'directory' ? '-' : String(entry.sizeBytes);
  return `${KINDS[entry.type]}${permissions(entry.mode)}  ${size.padStart(SIZE_COLUMNS)}  ${timeOf(entry)}  ${printable(nameOf(entry))}`;
}

/** What the manifest says of it, and its name; not where its bytes lie. `kind` is the manifest's `type`. */
export function entryFact(entry: ManifestEntry): object {
  const { root, path, mode, uid, gid, mtimeNanos, xattrs } = entry;
  const metadata = { root, path, mode, uid, gid, mtimeNanos, ...(xattrs !== undefined && { xattrs }) };
  const known = { name: nameOf(entry), kind: entry.type, ...metadata };
  return entry.type === 'directory' ? known : { ...known, sizeBytes: entry.sizeBytes, sha256: entry.sha256 };
}

function timeOf({ mtimeNanos }: ManifestEntry): string {
  const date = new Date(Number(BigInt(mtimeNanos) / 1_000_000n));
  return Number.isNaN(date.getTime()) ? '-'.padEnd(20) : `${date.toISOString().slice(0, 19)}Z`;
}

/** Set-id and sticky as `ls` shows them. */
function permissions(mode: number): string {
  const letters: string[] = BITS.map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-'));
  for (const [bit, index, set] of [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const)
    if ((mode & bit) !== 0) letters[index] = letters[index] === 'x' ? set : set.toUpperCase();
  return letters.join('');
}
