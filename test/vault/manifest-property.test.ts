// Manifests of a vault, whatever is in them: lines round trip exactly; no changed byte and no cut is ever accepted, and
// each is a STOP, never a defect - also where the digest that the envelope has is that of the damage.
import { createHash, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Envelope, ObjectFact, RunTuple, VaultManifestLine } from '../../domain/vault.js';
import { manifestFile, readManifest } from '../../vault/manifest.js';
import { comparePlaces } from '../../vault/manifest-check.js';
import { stopOf, temporaryDirectory } from '../files/temporary.js';
import { BACKUP, IDENTITY, PACKS, database, directory, envelopeOf, file, writeManifest } from './manifest-lines.js';

const BLOCK_BYTES = 64 * 1024 + 16;

async function read(source: Uint8Array | string, envelope: Envelope): Promise<readonly VaultManifestLine[]> {
  const lines: VaultManifestLine[] = [];
  const bytes = typeof source === 'string' ? manifestFile(source) : source;
  for await (const line of readManifest(bytes, { name: 'manifest.age', envelope, identities: [IDENTITY] }))
    lines.push(line);
  return lines;
}

const name = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(...'ab.-_ *?[]{}!()\'"\\$`\n\t\r\u007F#~%;&|<>=,:@^'.split('')), minLength: 1 }),
    fc.string({ unit: 'grapheme', minLength: 1 }),
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.constantFrom('.hidden', '..x', '-rf', '\u00E9', 'e\u0301', '\u{1F600}', '\uFF5E', '__proto__', 'toString', '\n'),
  )
  .filter((each) => !/^\.{1,2}$|^\.holdfast$|[/\0]/.test(each) && Buffer.byteLength(each) < 200);
const metadata = fc.record(
  {
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.nat(),
    gid: fc.nat(),
    mtimeNanos: fc.bigInt({ min: -(10n ** 27n), max: 10n ** 27n }).map(String),
    xattrs: fc.dictionary(
      name,
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('base64')),
      { noNullPrototype: true, maxKeys: 3 },
    ),
  },
  { requiredKeys: ['mode', 'uid', 'gid', 'mtimeNanos'] },
);
const run = fc.tuple(
  fc.nat({ max: 1 }),
  fc.nat({ max: 900 }),
  fc.integer({ min: 1, max: 100 }),
  fc.integer({ min: 1, max: 2 ** 32 }),
);
const sha256 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const entry = fc.record({
  root: fc.constantFrom('data', '-r', 'd\u00E9'),
  path: fc.array(name, { minLength: 1, maxLength: 4 }),
  kind: fc.constantFrom('file', 'database', 'directory'),
  metadata,
  runs: fc.array(run, { maxLength: 4 }),
  sha256,
});
type Entry = typeof entry extends fc.Arbitrary<infer Value> ? Value : never;

interface Place {
  readonly root: string;
  readonly path: string;
}

/** A tree of which every entry is one, and the directories that it needs. */
function linesOf(entries: readonly Entry[]): readonly VaultManifestLine[] {
  const places = new Map<string, { readonly place: Place; readonly line: VaultManifestLine }>();
  const databases: VaultManifestLine[] = [];
  const keyOf = ({ root, path }: Place): string => `${root}/${path}`;
  const put = (place: Place, line: VaultManifestLine): boolean => {
    if (places.has(keyOf(place))) return false;
    places.set(keyOf(place), { place, line });
    return true;
  };
  for (const { root, path, kind, runs, ...each } of entries) {
    put({ root, path: '.' }, directory(root, '.'));
    const parents = path.slice(0, -1).map((_, index) => path.slice(0, index + 1).join('/'));
    const isInFile = parents.some((parent) => {
      const line = places.get(keyOf({ root, path: parent }))?.line;
      return line !== undefined && 'file' in line;
    });
    const place = { root, path: path.join('/') };
    if (isInFile) continue;
    for (const parent of parents) put({ root, path: parent }, directory(root, parent));
    if (kind === 'directory') {
      put(place, { directory: { ...place, ...each.metadata } });
      continue;
    }
    const sizeBytes = runs.reduce((sum, [, , , size]) => sum + size, 0);
    const facts = { ...each.metadata, sizeBytes, sha256: each.sha256, runs: runs as readonly RunTuple[] };
    const isPut = put(place, { file: { type: kind, ...place, ...facts } });
    if (isPut && kind === 'database') databases.push(database(root, place.path));
  }
  const sorted = [...places.values()].sort((left, right) => comparePlaces(left.place, right.place));
  return [{ backup: BACKUP }, ...databases, ...sorted.map(({ line }) => line)];
}

test('whatever names, times and attributes there are, lines are read as they were written', async () => {
  const spool = temporaryDirectory();
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 30 }), async (entries) => {
      const lines = linesOf(entries);
      const named = new Set(lines.flatMap((line) => ('file' in line ? line.file.runs.map(([pack]) => pack) : [])));
      // Packs are those that runs name: what is after the last one is left out, what is before it is named by a file
      const packs = named.has(1) ? PACKS : PACKS.slice(0, named.size);
      const whole =
        named.has(1) && !named.has(0)
          ? [...lines, directory('\u{1F600}', '.'), file('\u{1F600}', 'first', { runs: [[0, 0, 1, 10]] })]
          : lines;
      const written = await writeManifest(spool, whole, packs);
      const envelope = envelopeOf(written, packs, written.totals);
      expect(await read(written.path, envelope)).toEqual([...whole, { end: { lines: whole.length } }]);
    }),
    { numRuns: 150 },
  );
});

/** Enough for several blocks of ciphertext. */
async function longManifest(): Promise<{ readonly bytes: Buffer; readonly envelope: Envelope }> {
  const files = Array.from({ length: 6000 }, (_, index) =>
    file('data', String(index).padStart(5, '0'), {
      sha256: createHash('sha256').update(String(index)).digest('hex'),
    }),
  );
  const packs = PACKS.slice(0, 1);
  const lines = [{ backup: BACKUP }, directory('data', '.'), ...files];
  const written = await writeManifest(temporaryDirectory(), lines, packs);
  const bytes = readFileSync(written.path);
  expect(bytes.length).toBeGreaterThan(3 * BLOCK_BYTES);
  return { bytes, envelope: envelopeOf(written, packs, written.totals) };
}

const factOf = (bytes: Uint8Array): ObjectFact => ({
  sha256: createHash('sha256').update(bytes).digest('hex'),
  sizeBytes: bytes.length,
});

async function assertRefused(bytes: Uint8Array, envelope: Envelope, why: string): Promise<void> {
  for (const manifest of [envelope.manifest, factOf(bytes)]) {
    const { code } = await stopOf(() => read(bytes, { ...envelope, manifest }));
    expect(['vault_invalid', 'vault_sealed'], `${why}: ${code}`).toContain(code);
  }
}

test('no changed byte is accepted', async () => {
  const { bytes, envelope } = await longManifest();
  expect(await read(bytes, envelope)).toHaveLength(6003);
  const headerBytes = bytes.indexOf('\n', bytes.indexOf('\n---') + 1) + 1;
  const borders = [0, 1, 2, 3].map((block) => headerBytes + 16 + block * BLOCK_BYTES);
  const at = [
    ...Array.from({ length: headerBytes + 17 }, (_, index) => index),
    ...borders.flatMap((border) => [border - 17, border - 16, border - 1, border, border + 1]),
    ...Array.from({ length: 150 }, () => randomInt(bytes.length)),
    bytes.length - 1,
  ];
  for (const index of at) {
    const changed = Buffer.from(bytes);
    changed[index] = (changed[index] ?? 0) ^ (1 << randomInt(8));
    await assertRefused(changed, envelope, `byte ${index}`);
  }
});

test('no cut is accepted, and nothing that follows', async () => {
  const { bytes, envelope } = await longManifest();
  const headerBytes = bytes.indexOf('\n', bytes.indexOf('\n---') + 1) + 1;
  const borders: number[] = [];
  for (let border = headerBytes + 16; border < bytes.length; border += BLOCK_BYTES) borders.push(border);
  expect(borders.length).toBeGreaterThan(3);
  const ends = [
    0,
    1,
    21,
    22,
    headerBytes - 1,
    headerBytes,
    headerBytes + 1,
    ...borders.flatMap((border) => [
      border - 17,
      border - 16,
      border - 1,
      border,
      border + 1,
      border + 15,
      border + 16,
    ]),
    ...Array.from({ length: 60 }, () => randomInt(bytes.length)),
    bytes.length - 17,
    bytes.length - 16,
    bytes.length - 1,
  ];
  for (const end of ends) await assertRefused(bytes.subarray(0, end), envelope, `${end} bytes`);
  for (const more of ['x', 'x'.repeat(16), 'x'.repeat(BLOCK_BYTES)])
    await assertRefused(Buffer.concat([bytes, Buffer.from(more)]), envelope, `${more.length} more`);
  await assertRefused(Buffer.concat([bytes, bytes]), envelope, 'twice');
});
