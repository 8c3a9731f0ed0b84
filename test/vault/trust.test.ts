// What a host believes of a vault: that it is the one it was given, and what the admin key said last.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../domain/canonical.js';
import { NAMESPACES, OBJECTS } from '../../domain/vault.js';
import { directoryPlace } from '../../vault/directory-place.js';
import { sign } from '../../vault/signatures.js';
import { abandonTrust, currentKey, initVault, openVault, publishTrust, renewVaultKey } from '../../vault/trust.js';
import { allow, makeSshKey, makeTrustRoom, NOW, refusal, revoke } from './trust-room.js';
import { vaultIdentities } from '../../vault/keys.js';
import type { TrustSeen } from '../../vault/trust.js';
import type { TrustRoom } from './trust-room.js';

const SEEN_NONE = { trustSeen: null };
const pathOf = (room: TrustRoom, name: string): string => join(room.directory, 'vault', name);
const trustPath = (room: TrustRoom, number: number, name = ''): string =>
  join(pathOf(room, OBJECTS.trust(number)), name);
const opening = (room: TrustRoom, trustSeen: TrustSeen | null = null) =>
  refusal(openVault(room.place, room.pin, { trustSeen }));
const act = (room: TrustRoom) => ({ adminKeyFile: room.admin.file, now: NOW });

function editJson(path: string, change: object): void {
  const value = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, `${canonicalJson({ ...value, ...change })}\n`);
}

async function signAgain(path: string, keyFile: string): Promise<void> {
  writeFileSync(`${path}.sig`, await sign(keyFile, NAMESPACES.admin, readFileSync(path)));
}

describe('a vault that was made', () => {
  test('opens with what its maker was told, and says what it was given', async () => {
    const room = await makeTrustRoom();
    const opened = await openVault(room.place, room.pin, { trustSeen: room.vault.trust });
    expect(opened.description).toEqual(room.vault.description);
    expect(opened.trust).toEqual(room.vault.trust);
    expect(opened.trust.definitions.get('shop')).toBe('holdfast: 1\nstore: shop\n');
    expect(currentKey(opened).number).toBe(1);
  });

  test('is read by ssh-keygen, sha256sum and age alone', async () => {
    const room = await makeTrustRoom();
    const run = (command: string, argv: readonly string[], options: object = {}): string =>
      execFileSync(command, argv, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...options });
    expect(run('sha256sum', ['-c', 'digests'], { cwd: trustPath(room, 1) }).match(/: OK$/gm)?.length).toBe(4);
    for (const name of ['vault.json', `${OBJECTS.trust(1)}/digests`]) {
      const path = pathOf(room, name);
      const parameters = ['-Y', 'check-novalidate', '-n', 'holdfast-admin', '-s', `${path}.sig`];
      expect(run('ssh-keygen', parameters, { input: readFileSync(path) })).toContain(room.pin.admin);
    }
    const identity = join(room.directory, 'vault-identity');
    writeFileSync(identity, run('age', ['-d', '-i', room.person.identityFile, pathOf(room, 'keys/1.age')]));
    expect(run('age-keygen', ['-y', identity]).trim()).toBe(currentKey(room.vault).recipient);
  });

  test('has recover.sh where the build has it', async () => {
    const room = await makeTrustRoom();
    const built = new URL('../../vault/recover.sh', import.meta.url);
    expect(existsSync(pathOf(room, 'recover.sh'))).toBe(existsSync(built));
  });

  test('is not made again, nor anything else where something is', async () => {
    const room = await makeTrustRoom();
    const init = {
      vault: randomUUID(),
      recipients: [room.person.recipient],
      texts: { allowedSigners: '', revokedKeys: '', definitions: new Map<string, string>() },
      ...act(room),
    };
    expect(await refusal(initVault(room.place, init))).toMatchObject({ code: 'target_exists' });
    const other = directoryPlace(join(room.directory, 'other'));
    mkdirSync(join(room.directory, 'other', 'photos'), { recursive: true });
    expect(await refusal(initVault(other, init))).toMatchObject({ code: 'target_exists' });
    const third = directoryPlace(join(room.directory, 'third'));
    expect(await refusal(initVault(third, { ...init, recipients: [] }))).toMatchObject({ code: 'usage' });
    expect(await refusal(initVault(third, { ...init, recipients: ['age1oops'] }))).toMatchObject({ code: 'usage' });
    const unclear = { ...init.texts, allowedSigners: `web1 ${room.host.publicKey}\n` };
    expect(await refusal(initVault(third, { ...init, texts: unclear }))).toMatchObject({ code: 'usage' });
  });

  test('by two at once is made by one', async () => {
    const room = await makeTrustRoom();
    const place = directoryPlace(join(room.directory, 'other'));
    const make = () =>
      initVault(place, {
        vault: randomUUID(),
        recipients: [room.person.recipient],
        texts: { allowedSigners: '', revokedKeys: '', definitions: new Map<string, string>() },
        ...act(room),
      });
    const ended = await Promise.allSettled([make(), make(), make()]);
    const made = ended.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(made.length).toBe(1);
    const pin = { vault: made[0]?.description.vault ?? '', admin: room.pin.admin };
    expect((await openVault(place, pin, SEEN_NONE)).trust).toEqual(made[0]?.trust);
  });
});

describe('a vault is refused', () => {
  test('where there is none', async () => {
    const room = await makeTrustRoom();
    rmSync(pathOf(room, 'vault.json'));
    expect(await opening(room)).toMatchObject({ code: 'vault_missing' });
  });

  test('that has another id or another admin than was given', async () => {
    const [room, other] = [await makeTrustRoom(), await makeTrustRoom()];
    const given = (pin: object) => refusal(openVault(room.place, { ...room.pin, ...pin }, SEEN_NONE));
    expect(await given({ vault: other.pin.vault })).toMatchObject({ code: 'vault_differs' });
    expect(await given({ admin: other.pin.admin })).toMatchObject({ code: 'vault_differs' });
    expect(await given(other.pin)).toMatchObject({ code: 'vault_differs' });
  });

  test('whose vault.json was edited, or signed by somebody else', async () => {
    const room = await makeTrustRoom();
    const path = pathOf(room, 'vault.json');
    editJson(path, { createdAt: '2020-01-01T00:00:00.000Z' });
    expect(await opening(room)).toMatchObject({ code: 'signature_invalid' });
    await signAgain(path, room.host.file);
    expect(await opening(room)).toMatchObject({ code: 'signer_unknown' });
    rmSync(`${path}.sig`);
    expect(await opening(room)).toMatchObject({ code: 'vault_object_missing' });
  });

  test('that was forged whole, with a recipient of the forger', async () => {
    const [room, forged] = [await makeTrustRoom(), await makeTrustRoom()];
    // Everything is the forger's but what vault.json says of itself
    cpSync(join(forged.directory, 'vault'), join(room.directory, 'vault'), { recursive: true });
    editJson(pathOf(room, 'vault.json'), { vault: room.pin.vault, admin: room.pin.admin });
    await signAgain(pathOf(room, 'vault.json'), forged.admin.file);
    expect(await opening(room)).toMatchObject({ code: 'signer_unknown' });
  });

  test('whose recipient was replaced in trust', async () => {
    const [room, forger] = [await makeTrustRoom(), await makeTrustRoom()];
    const keys = [{ number: 1, recipient: forger.person.recipient }];
    editJson(trustPath(room, 1, 'trust.json'), { keys });
    expect(await opening(room)).toMatchObject({ code: 'vault_invalid' });
    const lines = execFileSync(
      'sha256sum',
      ['allowed_signers', 'definitions/shop.yaml', 'revoked_keys', 'trust.json'],
      {
        cwd: trustPath(room, 1),
      },
    );
    writeFileSync(trustPath(room, 1, 'digests'), lines);
    expect(await opening(room)).toMatchObject({ code: 'signature_invalid' });
    await signAgain(trustPath(room, 1, 'digests'), forger.admin.file);
    expect(await opening(room)).toMatchObject({ code: 'signer_unknown' });
    // What holds with the admin's own signature, so that the refusals above were for the signature
    await signAgain(trustPath(room, 1, 'digests'), room.admin.file);
    expect((await openVault(room.place, room.pin, SEEN_NONE)).trust.keys).toEqual(keys);
  });

  test('of a newer format, and one that is not what the format says', async () => {
    const room = await makeTrustRoom();
    const path = pathOf(room, 'vault.json');
    const text = readFileSync(path, 'utf8');
    const as = async (changed: string): Promise<unknown> => {
      writeFileSync(path, changed);
      await signAgain(path, room.admin.file);
      return opening(room);
    };
    expect(await as(text.replace('holdfast-vault-1', 'holdfast-vault-2'))).toMatchObject({ code: 'vault_newer' });
    for (const changed of [
      text.replace('{', '{"more":1,'),
      text.replace('{', '{ '),
      text.trimEnd(),
      text.replace('{', `{"admin":"${room.pin.admin}",`),
      '\u{feff}' + text,
      'null\n',
      '[]\n',
      '',
    ])
      expect(await as(changed), JSON.stringify(changed)).toMatchObject({ code: 'vault_invalid' });
    expect(await as('x'.repeat(100_000))).toMatchObject({ code: 'vault_invalid' });
  });
});

describe('trust', () => {
  test('is what was published last', async () => {
    const room = await makeTrustRoom();
    const allowedSigners = room.vault.trust.allowedSigners + allow('web2', 'holdfast', room.host);
    const definitions = new Map([['desk', 'holdfast: 1\nstore: desk\n']]);
    const second = await publishTrust(room.vault, { allowedSigners, definitions }, act(room));
    const third = await revoke(room, second, room.host);
    expect((await openVault(room.place, room.pin, SEEN_NONE)).trust).toEqual(third.trust);
    expect(third.trust).toMatchObject({ number: 3, allowedSigners, definitions, keys: room.vault.trust.keys });
  });

  test('older than this host has seen is refused', async () => {
    const room = await makeTrustRoom();
    const { trust } = await revoke(room, room.vault, room.host);
    expect((await openVault(room.place, room.pin, { trustSeen: trust })).trust.number).toBe(2);
    rmSync(trustPath(room, 2), { recursive: true });
    expect(await opening(room, trust)).toMatchObject({ code: 'trust_rewound', details: { number: 1 } });
    // An admin who has not seen it publishes another of its number, and the key that was revoked would be believed again
    const vault = { ...room.vault, place: directoryPlace(room.place.location) };
    await publishTrust(vault, { definitions: new Map() }, act(room));
    expect(await opening(room, trust)).toMatchObject({ code: 'trust_rewound', details: { number: 2 } });
  });

  test('that is old does not become new by a higher number', async () => {
    const room = await makeTrustRoom();
    const { trust } = await revoke(room, room.vault, room.host);
    cpSync(trustPath(room, 1), trustPath(room, 3), { recursive: true });
    expect(await opening(room, trust)).toMatchObject({ code: 'vault_object_foreign' });
  });

  test('of another vault of the same admin is refused', async () => {
    const room = await makeTrustRoom();
    const place = directoryPlace(join(room.directory, 'other'));
    const { recipient } = room.person;
    const texts = { allowedSigners: '', revokedKeys: '', definitions: new Map<string, string>() };
    await initVault(place, { vault: randomUUID(), recipients: [recipient], texts, ...act(room) });
    rmSync(trustPath(room, 1), { recursive: true });
    cpSync(join(room.directory, 'other', OBJECTS.trust(1)), trustPath(room, 1), { recursive: true });
    expect(await opening(room)).toMatchObject({ code: 'vault_object_foreign' });
  });

  test.each([
    ['a file edited', 'vault_invalid', (path: string) => writeFileSync(join(path, 'allowed_signers'), '')],
    ['a file removed', 'vault_object_missing', (path: string) => rmSync(join(path, 'revoked_keys'))],
    ['a file added', 'vault_object_foreign', (path: string) => writeFileSync(join(path, 'more'), '')],
    [
      'a definition added',
      'vault_object_foreign',
      (path: string) => copyFileSync(join(path, 'definitions/shop.yaml'), join(path, 'definitions/desk.yaml')),
    ],
    ['digests edited', 'signature_invalid', (path: string) => writeFileSync(join(path, 'digests'), '')],
    ['digests removed', 'vault_object_missing', (path: string) => rmSync(join(path, 'digests'))],
    ['its signature removed', 'vault_invalid', (path: string) => rmSync(join(path, 'digests.sig'))],
    ['another name among the numbers', 'vault_object_foreign', (path: string) => mkdirSync(`${path}0`)],
  ])('with %s is refused: %s', async (_what, code, change) => {
    const room = await makeTrustRoom();
    change(trustPath(room, 1));
    expect(await opening(room)).toMatchObject({ code });
  });

  test.each([
    ['leads out of its directory', '../../vault.json'],
    ['names no file of trust', 'more'],
  ])('whose digests name what %s is refused', async (_what, file) => {
    const room = await makeTrustRoom();
    const path = trustPath(room, 1, 'digests');
    writeFileSync(path, `${readFileSync(path, 'utf8')}${'0'.repeat(64)}  ${file}\n`);
    await signAgain(path, room.admin.file);
    expect(await opening(room)).toMatchObject({ code: 'vault_invalid' });
  });

  test('of one number is published by one of two admins who try at once', async () => {
    const room = await makeTrustRoom();
    const ended = await Promise.allSettled([
      revoke(room, room.vault, room.host),
      revoke(room, room.vault, room.verifier),
    ]);
    const codes = ended.map((each) => (each.status === 'rejected' ? (each.reason as { code: string }).code : 'done'));
    expect(codes.sort()).toEqual(['done', 'trust_moved']);
    const winner = ended.find((each) => each.status === 'fulfilled');
    const opened = await openVault(room.place, room.pin, SEEN_NONE);
    expect(opened.trust).toEqual(winner?.value.trust);
    // Whoever looked before can't publish over it later
    expect(await refusal(revoke(room, room.vault, room.host))).toMatchObject({ code: 'trust_moved' });
    expect((await revoke(room, opened, room.host)).trust.number).toBe(3);
  });

  test('is published by the admin key alone', async () => {
    const room = await makeTrustRoom();
    const change = { allowedSigners: '' };
    const forged = publishTrust(room.vault, change, { adminKeyFile: room.host.file, now: NOW });
    expect(await refusal(forged)).toMatchObject({ code: 'signer_unknown' });
    const unclear = publishTrust(room.vault, { allowedSigners: `* ${room.host.publicKey}\n` }, act(room));
    expect(await refusal(unclear)).toMatchObject({ code: 'usage' });
    expect((await openVault(room.place, room.pin, SEEN_NONE)).trust).toEqual(room.vault.trust);
    // Neither has taken a number
    expect((await publishTrust(room.vault, change, act(room))).trust.number).toBe(2);
  });

  test('that was begun and not ended is passed over, and given up before the next', async () => {
    const room = await makeTrustRoom();
    mkdirSync(trustPath(room, 2));
    writeFileSync(trustPath(room, 2, 'trust.json'), 'what a killed one left');
    expect((await openVault(room.place, room.pin, { trustSeen: room.vault.trust })).trust).toEqual(room.vault.trust);
    expect(await refusal(revoke(room, room.vault, room.host))).toMatchObject({ code: 'trust_moved' });
    const byOthers = abandonTrust(room.vault, { adminKeyFile: room.host.file, now: NOW });
    expect(await refusal(byOthers)).toMatchObject({ code: 'signer_unknown' });
    expect(await abandonTrust(room.vault, act(room))).toBe(2);
    expect((await openVault(room.place, room.pin, { trustSeen: room.vault.trust })).trust).toEqual(room.vault.trust);
    expect((await revoke(room, room.vault, room.host)).trust.number).toBe(3);
    expect(await refusal(abandonTrust(room.vault, act(room)))).toMatchObject({ code: 'usage' });
    // Of one number it says nothing about another
    copyFileSync(trustPath(room, 2, 'digests.sig'), trustPath(room, 3, 'digests.sig'));
    expect(await opening(room)).toMatchObject({ code: 'signature_invalid' });
  });

  test('gets a new vault key, unless one was begun that no trust names', async () => {
    const room = await makeTrustRoom();
    const renew = () => renewVaultKey(room.vault, [room.person.recipient], act(room));
    expect(await refusal(renewVaultKey(room.vault, ['age1nobody'], act(room)))).toMatchObject({ code: 'usage' });
    writeFileSync(join(room.directory, 'vault', OBJECTS.key(2)), 'what a killed one left');
    expect(await refusal(renew())).toMatchObject({ code: 'trust_moved', details: { object: OBJECTS.key(2) } });
    rmSync(join(room.directory, 'vault', OBJECTS.key(2)));
    const { open, key } = await renew();
    expect([open.trust.number, key.number, currentKey(open)]).toEqual([2, 2, key]);
    expect(key.recipient).not.toBe(room.vault.trust.keys[0]?.recipient);
    expect((await vaultIdentities(open, [room.person.identity])).length).toBe(2);
    // Whoever did not know of it can't take the number again
    expect(await refusal(renew())).toMatchObject({ code: 'trust_moved' });
  });

  test('is made of files that the digests name in order, for people who compare', async () => {
    const room = await makeTrustRoom();
    const lines = readFileSync(trustPath(room, 1, 'digests'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => line.slice(66))).toEqual([
      'allowed_signers',
      'definitions/shop.yaml',
      'revoked_keys',
      'trust.json',
    ]);
  });

  test('needs no more than one key file of another type', async () => {
    const room = await makeTrustRoom();
    const admin = makeSshKey(room.directory, 'admin-ecdsa', 'ecdsa');
    const place = directoryPlace(join(room.directory, 'other'));
    const texts = { allowedSigners: '', revokedKeys: '', definitions: new Map<string, string>() };
    const vault = await initVault(place, {
      vault: randomUUID(),
      recipients: [room.person.recipient],
      texts,
      adminKeyFile: admin.file,
      now: NOW,
    });
    const pin = { vault: vault.description.vault, admin: vault.description.admin };
    expect((await openVault(place, pin, SEEN_NONE)).description).toEqual(vault.description);
  });
});
