// A vault of format 1 that was made once: it is read, verified and restored for ever. And as it is when somebody has broken
// it: each way has its STOP, and what is left of it can be restored (docs/vault-format.md).
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { VerifyDepth } from '../../domain/protocol.js';
import type { StopCode } from '../../domain/stop.js';
import { temporaryDirectory } from '../files/temporary.js';
import { stopOf } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { column } from '../support/store.js';
import { CONTENTS, GoldenVault, PINS } from './golden-vault.js';

const [FIRST, SECOND] = ['backups/shop/0000000000000001', 'backups/shop/0000000000000002'] as const;
const [FIRST_ID, SECOND_ID] = ['6f1876ff-d6ed-47e5-9d20-81f88355cad1', 'de7349ce-3fef-4072-8990-8ad368174013'] as const;
const TRUST = 'trust/0000000000000001';
/** Of both backups; of the first; of the second. */
const PACKS = {
  shared: 'packs/86/8685a77f69054c41e606cfc2bc116491e66402af6337e90477630b659eadb505.age',
  second: 'packs/e6/e6973aae18fa6821d20c32a2aecddcb13a4f85df95bf814b5e67cc220de680b0.age',
} as const;

interface Broken {
  readonly what: string;
  readonly edit: (vault: GoldenVault) => void;
  readonly code: StopCode;
  /** Of vault_damaged: what is said of the objects, and which backups are harmed. */
  readonly objects?: readonly StopCode[];
  readonly harmed?: readonly number[];
  /** What can still be restored. */
  readonly left: readonly number[];
  /** `full` where it takes an identity to know. */
  readonly depth?: VerifyDepth;
  /** The host has seen it before it was broken. */
  readonly isKnown?: true;
}

const edited = (vault: GoldenVault, object: string, from: string, to: string): void =>
  vault.write(object, vault.read(object).toString('utf8').replace(from, to));

const BROKEN: readonly Broken[] = [
  {
    what: 'a pack of one backup is gone',
    edit: (vault) => vault.remove(PACKS.second),
    code: 'vault_damaged',
    objects: ['vault_object_missing'],
    harmed: [2],
    left: [1],
  },
  {
    what: 'a pack of both backups has another last byte',
    edit: (vault) => {
      const bytes = vault.read(PACKS.shared);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 0x80;
      vault.write(PACKS.shared, bytes);
    },
    code: 'vault_damaged',
    objects: ['checksum_mismatch'],
    harmed: [1, 2],
    left: [],
  },
  {
    what: 'a manifest is that of the other backup',
    edit: (vault) =>
      vault.write(`${SECOND}/${SECOND_ID}.manifest.age`, vault.read(`${FIRST}/${FIRST_ID}.manifest.age`)),
    code: 'vault_damaged',
    objects: ['vault_invalid'],
    harmed: [2],
    left: [1],
  },
  {
    what: 'an envelope says another host',
    edit: (vault) => edited(vault, `${SECOND}/envelope.json`, '"host":"test-host"', '"host":"best-host"'),
    code: 'vault_damaged',
    objects: ['signature_invalid'],
    harmed: [2],
    left: [1],
  },
  {
    what: 'an envelope says the same in other bytes',
    edit: (vault) => edited(vault, `${SECOND}/envelope.json`, '{"backupId"', '{ "backupId"'),
    code: 'vault_damaged',
    objects: ['vault_invalid'],
    harmed: [2],
    left: [1],
  },
  {
    what: 'an envelope has the signature of the other one',
    edit: (vault) =>
      vault.write(`${SECOND}/${SECOND_ID}.envelope.sig`, vault.read(`${FIRST}/${FIRST_ID}.envelope.sig`)),
    code: 'vault_damaged',
    objects: ['signature_invalid'],
    harmed: [2],
    left: [1],
  },
  {
    what: 'the first backup is gone',
    edit: (vault) => vault.remove(FIRST),
    code: 'vault_damaged',
    objects: ['chain_broken', 'chain_broken'],
    harmed: [1, 2],
    left: [2],
  },
  {
    what: 'the newest backup is gone, which the host has seen',
    edit: (vault) => vault.remove(SECOND),
    code: 'vault_damaged',
    objects: ['backup_vanished'],
    harmed: [2],
    left: [1],
    isKnown: true,
  },
  {
    what: 'the first backup comes again as the third',
    edit: (vault) => cpSync(vault.path(FIRST), vault.path('backups/shop/0000000000000003'), { recursive: true }),
    code: 'vault_damaged',
    objects: ['vault_object_foreign'],
    harmed: [3],
    left: [1, 2],
  },
  {
    what: 'the backups are those of another store',
    edit: (vault) => renameSync(vault.path('backups/shop'), vault.path('backups/other')),
    code: 'artefact_missing',
    left: [],
  },
  {
    what: 'an object is there that the format does not know',
    edit: (vault) => vault.write('notes.txt', 'who put this here?'),
    code: 'vault_damaged',
    objects: ['vault_object_foreign'],
    harmed: [],
    left: [1, 2],
  },
  {
    what: 'the vault key is gone',
    edit: (vault) => vault.remove('keys/1.age'),
    code: 'vault_damaged',
    objects: ['vault_object_missing'],
    harmed: [1, 2],
    left: [],
  },
  {
    what: 'the vault key is cut short',
    edit: (vault) => vault.write('keys/1.age', vault.read('keys/1.age').subarray(0, -1)),
    code: 'vault_damaged',
    objects: ['vault_invalid'],
    harmed: [1, 2],
    left: [],
    depth: 'full',
  },
  {
    what: 'a host is allowed that the admin never allowed',
    edit: (vault) => edited(vault, `${TRUST}/allowed_signers`, 'test-host', 'best-host'),
    code: 'vault_invalid',
    left: [],
  },
  {
    what: 'the trust is an old one under a new number',
    edit: (vault) => cpSync(vault.path(TRUST), vault.path('trust/0000000000000002'), { recursive: true }),
    code: 'vault_object_foreign',
    left: [],
  },
  {
    what: 'the vault says that it is of a later format',
    edit: (vault) => edited(vault, 'vault.json', 'holdfast-vault-1', 'holdfast-vault-2'),
    code: 'signature_invalid',
    left: [],
  },
  {
    what: 'the description of the vault is gone',
    edit: (vault) => vault.remove('vault.json'),
    code: 'vault_missing',
    left: [],
  },
];

describe('the golden vault of format 1', () => {
  test.each(['ciphertext', 'sample', 'full'] as const)('is verified, of depth %s', async (depth) => {
    const vault = new GoldenVault(temporaryDirectory());
    const report = await vault.verify('all', depth);
    expect(report).toMatchObject({ depth, backups: 2, files: 10, databases: 2, packs: 4, packBytes: 1210 });
    for (const reference of ['latest', '1', '2', FIRST_ID, SECOND_ID.slice(0, 10)])
      expect((await vault.verify(reference, depth)).backups).toBe(1);
  });

  test.each([1, 2])('is restored as it was: backup %i', async (number) => {
    const home = temporaryDirectory();
    const { 'a.db': database, ...files } = await new GoldenVault(home).restore(number);
    expect(files).toEqual(CONTENTS[number]);
    expect(database).toMatch(/^53514c69746520666f726d6174203300/);
    expect(column(join(home, 'restored', 'a.db'), 'SELECT v FROM item ORDER BY id')).toEqual(
      ['one', 'two', 'three'].slice(0, number + 1),
    );
  });

  test.skipIf(requires('age') || process.getuid?.() !== 0)(
    'is restored by recover.sh (needs root, whose files they were)',
    () => {
      const home = temporaryDirectory();
      const { directory, identityFile } = new GoldenVault(home);
      const target = join(home, 'target');
      execFileSync('sh', ['dist/vault/recover.sh', '-i', identityFile, directory, 'restore', 'shop', '1', target]);
      for (const [path, content] of Object.entries(CONTENTS[1] ?? {}))
        expect(readFileSync(join(target, 'data', path), 'utf8')).toBe(content);
    },
  );

  test('is no vault for who was given another id, or another admin', async () => {
    for (const pins of [
      { ...PINS, vault: '00000000-0000-4000-8000-000000000000' },
      { ...PINS, admin: `SHA256:${'A'.repeat(43)}` },
    ])
      expect((await stopOf(new GoldenVault(temporaryDirectory(), pins).verify('all', 'full'))).code).toBe(
        'vault_differs',
      );
  });
});

describe('the golden vault, broken', () => {
  test.each(BROKEN)('$what: $code', async ({ edit, code, objects, harmed, left, depth = 'ciphertext', isKnown }) => {
    const vault = new GoldenVault(temporaryDirectory());
    const before = [await vault.restore(1), await vault.restore(2)];
    if (isKnown === true) await vault.verify('latest', 'ciphertext');
    else vault.forget();
    edit(vault);
    const stop = await stopOf(vault.verify('all', depth));
    expect(stop.code).toBe(code);
    if (objects !== undefined) {
      const found = stop.details['objects'] as readonly { readonly code: StopCode }[];
      expect(found.map((object) => object.code)).toEqual(objects);
      expect(stop.details['backups']).toEqual((harmed ?? []).map((number) => `shop/${number}`));
    }
    for (const number of [1, 2])
      if (left.includes(number)) expect(await vault.restore(number)).toEqual(before[number - 1]);
      else await stopOf(vault.restore(number));
  });
});
