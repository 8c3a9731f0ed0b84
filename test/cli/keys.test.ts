// holdfast keys: a vault is made, hosts are allowed and revoked, people changed, and the kit brings it back on an empty host.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { loadVaultSettings } from '../../definitions/vaults.js';
import { OBJECTS } from '../../domain/vault.js';
import { directoryPlace } from '../../vault/directory-place.js';
import { countersign } from '../../vault/countersignatures.js';
import { seenOf } from '../../vault/seen.js';
import { fingerprintOf } from '../../vault/signatures.js';
import { openVault } from '../../vault/trust.js';
import type { OpenVault } from '../../vault/trust.js';
import { commitMany, makePerson, makeSshKey, temporaryDirectory } from '../vault/trust-room.js';
import type { Person, SshKey } from '../vault/trust-room.js';
import { jsonLines, run } from './room.js';
import type { Ended } from './room.js';

interface Room {
  readonly directory: string;
  readonly definitions: string;
  readonly vault: string;
  readonly environment: Environment;
  readonly admin: SshKey;
  readonly host: SshKey;
  readonly person: Person;
  readonly keys: (...argv: readonly string[]) => Promise<Ended>;
  readonly init: (...argv: readonly string[]) => Promise<Ended>;
}

function makeRoom(): Room {
  const directory = temporaryDirectory();
  const definitions = join(directory, 'stores');
  mkdirSync(definitions, { mode: 0o755 });
  writeFileSync(
    join(definitions, 'shop.yaml'),
    `holdfast: 1\nstore: shop\nroots:\n  data:\n    path: ${directory}/live\n    trees: [{}]\nbackup:\n  destination: ${directory}/backups\n`,
  );
  const environment = {
    PATH: process.env['PATH'],
    HOME: directory,
    HOLDFAST_STATE_DIRECTORY: join(directory, 'state'),
    HOLDFAST_DEFINITIONS_DIRECTORY: definitions,
    HOLDFAST_HOST: 'web1',
  };
  const [admin, host] = [makeSshKey(directory, 'admin'), makeSshKey(directory, 'web1')];
  const person = makePerson(directory, 'person');
  const vault = join(directory, 'vault');
  const keys = (...argv: readonly string[]) => run(environment, 'keys', ...argv);
  const init = (...argv: readonly string[]) =>
    keys('init', 'main', '--directory', vault, '--admin-key', admin.file, '--recipient', person.recipient, ...argv);
  return { directory, definitions, vault, environment, admin, host, person, keys, init };
}

/** With a vault whose host `web1` signs. */
async function makeVaultRoom(...argv: readonly string[]): Promise<Room> {
  const room = makeRoom();
  const ended = await room.init('--host-key', room.host.file, ...argv);
  expect(ended).toMatchObject({ status: 0 });
  return room;
}

async function opened({ definitions }: Room): Promise<OpenVault> {
  const settings = await loadVaultSettings(definitions, 'main');
  return openVault(directoryPlace(settings.directory), settings, { trustSeen: null });
}

const codeOf = (ended: Ended): unknown => jsonLines(ended).last['code'];

describe('keys init', () => {
  test('makes a vault that this host knows by its settings, with the definitions of its stores', async () => {
    const room = makeRoom();
    const { last } = jsonLines(await room.init('--host-key', room.host.file, '--json'));
    const settings = await loadVaultSettings(room.definitions, 'main');
    expect(last).toMatchObject({ vault: settings.vault, admin: fingerprintOf(room.admin.publicKey) });
    expect(settings).toMatchObject({ directory: room.vault, signingKeyFile: room.host.file, identityFile: null });
    const { trust } = await opened(room);
    expect(trust.signers.signers).toMatchObject([{ principal: 'web1', namespaces: ['holdfast'] }]);
    expect(trust.definitions.get('shop')).toBe(readFileSync(join(room.definitions, 'shop.yaml'), 'utf8'));
    expect(statSync(room.vault).mode & 0o077).toBe(0);
    expect(codeOf(await room.init('--json'))).toBe('target_exists');
  });

  test('leaves nothing where it refuses', async () => {
    const room = makeRoom();
    const attempt = async (...argv: readonly string[]): Promise<unknown> => {
      const code = codeOf(await room.init(...argv, '--json'));
      expect([existsSync(room.vault), existsSync(join(room.definitions, 'vaults/main.yaml'))]).toEqual([false, false]);
      return code;
    };
    expect(await attempt('--recipient', 'age1mistyped')).toBe('usage');
    expect(await attempt('--host-key', join(room.directory, 'no-key'))).toBe('io_error');
    const { identityFile } = makePerson(room.directory, 'second');
    expect(await attempt('--identity-file', identityFile)).toBe('usage');
    chmodSync(room.admin.file, 0o644);
    expect(await attempt()).toBe('secret_exposed');
    chmodSync(room.admin.file, 0o600);
    writeFileSync(join(room.definitions, 'desk.yaml'), 'store: desk\n');
    expect(await attempt()).toBe('definition_invalid');
  });
});

describe('keys adopt', () => {
  /** The vault of one room, and a host that knows nothing of it. */
  async function makeTwoRooms() {
    const [room, other] = [await makeVaultRoom(), makeRoom()];
    const { vault } = (await opened(room)).description;
    const adopt = (changed: Readonly<Record<string, string>> = {}, ...argv: readonly string[]) => {
      const given = { directory: room.vault, vault, admin: fingerprintOf(room.admin.publicKey), ...changed };
      const options = Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
      return other.keys('adopt', 'theirs', ...options, ...argv);
    };
    return { room, other, vault, adopt, settings: join(other.definitions, 'vaults/theirs.yaml') };
  }

  test('knows the vault from now on, and says whom it believes', async () => {
    const { room, other, vault, adopt } = await makeTwoRooms();
    const ended = await adopt({}, '--identity-file', room.person.identityFile);
    expect(ended).toMatchObject({ status: 0 });
    for (const said of [vault, fingerprintOf(room.admin.publicKey), fingerprintOf(room.host.publicKey), 'web1'])
      expect(ended.stdout).toContain(said);
    expect(await loadVaultSettings(other.definitions, 'theirs')).toMatchObject({
      directory: room.vault,
      vault,
      admin: fingerprintOf(room.admin.publicKey),
      signingKeyFile: null,
      identityFile: room.person.identityFile,
    });
    const { trust } = await opened(room);
    const seen = seenOf(join(other.directory, 'state/vaults'), vault);
    expect(await seen.trust()).toEqual({ number: trust.number, sha256: trust.sha256 });
    expect(jsonLines(await other.keys('list', 'theirs', '--json')).last).toMatchObject({ vault, trust: trust.number });
    expect(codeOf(await adopt({}, '--json'))).toBe('target_exists');
  });

  test('takes nothing on first use: another vault, another admin, and what was changed are refused', async () => {
    const { room, other, adopt, settings } = await makeTwoRooms();
    const second = await makeVaultRoom();
    const stranger = makePerson(other.directory, 'stranger');
    const code = async (changed: Readonly<Record<string, string>>, ...argv: readonly string[]): Promise<unknown> => {
      const found = codeOf(await adopt(changed, ...argv, '--json'));
      expect(existsSync(settings)).toBe(false);
      return found;
    };
    expect(await code({ directory: second.vault })).toBe('vault_differs');
    expect(await code({ vault: '0d7f2c9e-8f0b-4f8e-9b1a-0a4f5b6c7d8e' })).toBe('vault_differs');
    expect(await code({ admin: fingerprintOf(other.admin.publicKey) })).toBe('vault_differs');
    expect(await code({ directory: join(other.directory, 'nothing') })).toBe('vault_missing');
    expect(await code({ vault: 'main' })).toBe('usage');
    expect(await code({ admin: other.admin.publicKey })).toBe('usage');
    expect(await code({}, '--identity-file', stranger.identityFile)).toBe('vault_sealed');
    for (const missing of ['--vault', '--admin']) {
      const argv = ['--directory', room.vault, '--vault', 'x', '--admin', 'x'];
      argv.splice(argv.indexOf(missing), 2);
      expect((await other.keys('adopt', 'theirs', ...argv)).status).toBe(64);
    }
    const path = join(room.vault, OBJECTS.trust(1), 'allowed_signers');
    chmodSync(path, 0o600);
    writeFileSync(path, readFileSync(path, 'utf8').replace('web1', 'web2'));
    expect(await code({})).toBe('vault_invalid');
  });

  test('refuses an older trust than this host has seen of that vault', async () => {
    const { room, other, vault, adopt } = await makeTwoRooms();
    const seen = seenOf(join(other.directory, 'state/vaults'), vault);
    await seen.sawTrust({ number: 2, sha256: 'a'.repeat(64) });
    expect(codeOf(await adopt({}, '--json'))).toBe('trust_rewound');
    expect((await opened(room)).trust.number).toBe(1);
  });
});

describe('keys list', () => {
  test('says who may do what', async () => {
    const room = await makeVaultRoom();
    const { stdout } = await room.keys('list', 'main');
    expect(stdout).toContain(fingerprintOf(room.admin.publicKey));
    expect(stdout).toMatch(
      new RegExp(`^web1 +backup +${fingerprintOf(room.host.publicKey).replaceAll('+', '\\+')}$`, 'm'),
    );
    expect(jsonLines(await room.keys('list', 'main', '--json')).last).toMatchObject({
      trust: 1,
      keys: [{ number: 1 }],
      signers: [{ principal: 'web1', roles: ['backup'], isRevoked: false }],
      definitions: ['shop'],
    });
  });

  test('of a vault that this host does not know names the one that was meant', async () => {
    const room = await makeVaultRoom();
    const { status, stderr } = await room.keys('list', 'mainn');
    expect(status).toBe(78);
    expect(stderr).toMatch(/STOP definition_missing: .*did you mean main\?/);
  });

  test('refuses an old copy of the vault, which this host remembers', async () => {
    const room = await makeVaultRoom();
    const web2 = makeSshKey(room.directory, 'web2');
    cpSync(room.vault, `${room.vault}-old`, { recursive: true });
    await room.keys('allow', 'main', 'web2', '--key', `${web2.file}.pub`, '--admin-key', room.admin.file);
    rmSync(room.vault, { recursive: true });
    cpSync(`${room.vault}-old`, room.vault, { recursive: true });
    expect(codeOf(await room.keys('list', 'main', '--json'))).toBe('trust_rewound');
    writeFileSync(join(room.directory, 'state/vaults', (await opened(room)).description.vault, 'trust.json'), '');
    expect(codeOf(await room.keys('list', 'main', '--json'))).toBe('seen_corrupt');
  });
});

describe('keys allow and revoke', () => {
  test('change who is believed, by the admin key alone', async () => {
    const room = await makeVaultRoom();
    const web2 = makeSshKey(room.directory, 'web2');
    const allow = (...argv: readonly string[]) =>
      room.keys('allow', 'main', 'web2', '--key', `${web2.file}.pub`, ...argv, '--json');
    expect(codeOf(await allow('--admin-key', room.host.file))).toBe('signer_unknown');
    expect(codeOf(await allow('--admin-key', room.admin.file, '--until', '2030-02-30'))).toBe('usage');
    const { last } = jsonLines(await allow('--admin-key', room.admin.file, '--until', '2030-12-31'));
    expect(last).toMatchObject({ type: 'result', principal: 'web2', role: 'backup', trust: 2 });
    expect((await opened(room)).trust.signers.signers[1]).toMatchObject({
      principal: 'web2',
      validBefore: '2030-12-31T23:59:59.000Z',
    });
    const key = fingerprintOf(web2.publicKey);
    const revoke = (...argv: readonly string[]) =>
      room.keys('revoke', 'main', '--key', key, '--admin-key', room.admin.file, '--json', ...argv);
    expect(codeOf(await revoke())).toBe('approval_missing');
    expect(jsonLines(await revoke('--confirm', key)).last).toMatchObject({ type: 'result', trust: 3 });
    expect((await opened(room)).trust.signers.revoked).toEqual(new Set([key]));
    expect(codeOf(await allow('--admin-key', room.admin.file))).toBe('usage');
  });

  test('tell which backups would not be believed any more, before it is so', async () => {
    const room = await makeVaultRoom();
    const recovery = makeSshKey(room.directory, 'recovery');
    const allow = ['allow', 'main', 'recovery', '--role', 'verify', '--key', recovery.file];
    expect(await room.keys(...allow, '--admin-key', room.admin.file)).toMatchObject({ status: 0 });
    const vault = await opened(room);
    const heads = await commitMany(vault, room.host, 2);
    const verifiedAt = new Date(Date.now() - 1000).toISOString();
    await countersign(
      vault,
      { store: 'shop', number: 1, envelopeSha256: heads[0]?.sha256 ?? '', verifiedAt, depth: 'full' },
      { id: 'aaaaaaaa-0000-4000-8000-000000000000', signingKeyFile: recovery.file },
    );
    const revoke = ['revoke', 'main', '--key', `${room.host.file}.pub`, '--admin-key', room.admin.file];
    const { status, stderr } = await room.keys(...revoke);
    expect({ status, stderr }).toEqual({ status: 77, stderr: expect.stringContaining('would take 1 backup with it') });
    expect(stderr).toContain('notBelievedAnyMore: shop/2');
    const command = / confirm: (holdfast .*)$/m.exec(stderr)?.[1]?.split(' ').slice(2) ?? [];
    const { last } = jsonLines(await room.keys(...command, '--json'));
    expect(last).toMatchObject({ type: 'result', notBelievedAnyMore: ['shop/2'] });
  });

  test('are refused where another trust was begun, until it is given up', async () => {
    const room = await makeVaultRoom();
    const publish = () => room.keys('publish', 'main', '--admin-key', room.admin.file, '--json');
    const begun = join(room.vault, OBJECTS.trust(2));
    mkdirSync(begun);
    writeFileSync(join(begun, 'trust.json'), '');
    expect(codeOf(await publish())).toBe('trust_moved');
    const abandon = await room.keys('abandon', 'main', '--admin-key', room.admin.file, '--json');
    expect(jsonLines(abandon).last).toMatchObject({ type: 'result', abandoned: 2 });
    expect(jsonLines(await publish()).last).toMatchObject({ type: 'result', trust: 3, stores: ['shop'] });
  });
});

describe('keys rewrap', () => {
  test('seals the vault to other people, by one of them', async () => {
    const room = await makeVaultRoom();
    const second = makePerson(room.directory, 'second');
    const rewrap = (environment: Environment, ...people: readonly Person[]) =>
      run(
        { ...room.environment, ...environment },
        'keys',
        'rewrap',
        'main',
        '--json',
        ...people.flatMap(({ recipient }) => ['--recipient', recipient]),
      );
    expect(codeOf(await rewrap({}, second))).toBe('identity_missing');
    const byPerson = { HOLDFAST_IDENTITY_FILE: room.person.identityFile };
    expect(codeOf(await rewrap({ HOLDFAST_IDENTITY_FILE: second.identityFile }, second))).toBe('vault_sealed');
    expect(codeOf(await rewrap(byPerson, second))).toBe('usage');
    const ended = await rewrap(byPerson, room.person, second);
    expect(jsonLines(ended).last).toMatchObject({ type: 'result', keys: [1] });
    expect(ended.stdout + ended.stderr).not.toContain('AGE-SECRET-KEY-');
    for (const { identityFile } of [room.person, second])
      execFileSync('age', ['-d', '-i', identityFile, join(room.vault, OBJECTS.key(1))]);
    chmodSync(room.person.identityFile, 0o644);
    expect(codeOf(await rewrap(byPerson, room.person))).toBe('secret_exposed');
  });
});

describe('keys renew', () => {
  test('makes a new key, by the admin alone, and says what it does not do', async () => {
    const room = await makeVaultRoom();
    const renew = (adminKey: string) =>
      room.keys('renew', 'main', '--recipient', room.person.recipient, '--admin-key', adminKey);
    expect(await renew(room.host.file)).toMatchObject({ status: 77 });
    expect(existsSync(join(room.vault, OBJECTS.key(2)))).toBe(false);
    const { status, stdout } = await renew(room.admin.file);
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('--rehash') });
    expect((await opened(room)).trust.keys.map(({ number }) => number)).toEqual([1, 2]);
    execFileSync('age', ['-d', '-i', room.person.identityFile, join(room.vault, OBJECTS.key(2))]);
  });
});

describe('keys kit', () => {
  test('has what brings the vault back on an empty host, and no secret', async () => {
    const room = makeRoom();
    await room.init('--host-key', room.host.file, '--identity-file', room.person.identityFile);
    const heads = await commitMany(await opened(room), room.host, 2);
    const { stdout } = await room.keys('kit', 'main');
    const { vault, trust } = await opened(room).then(({ description, trust: { keys } }) => ({
      vault: description.vault,
      trust: keys[0]?.recipient ?? '',
    }));
    for (const text of [
      vault,
      trust,
      room.vault,
      fingerprintOf(room.admin.publicKey),
      heads[1]?.sha256,
      room.person.identityFile,
    ])
      expect(stdout).toContain(text);
    expect(stdout).not.toMatch(/AGE-SECRET-KEY-|PRIVATE KEY/);

    // An empty host: a copy of the vault elsewhere, the settings from the page, the person's identity
    const copy = join(room.directory, 'copy');
    cpSync(room.vault, copy, { recursive: true });
    const definitions = join(room.directory, 'new/stores');
    mkdirSync(join(definitions, 'vaults'), { recursive: true, mode: 0o755 });
    const yaml = [...stdout.matchAll(/^ {5}(\w+: .*)$/gm)].map(([, line]) => `${line}\n`).join('');
    writeFileSync(join(definitions, 'vaults/main.yaml'), yaml.replace(room.vault, copy));
    const environment = {
      ...room.environment,
      HOLDFAST_STATE_DIRECTORY: join(room.directory, 'new/state'),
      HOLDFAST_DEFINITIONS_DIRECTORY: definitions,
      HOLDFAST_IDENTITY_FILE: room.person.identityFile,
    };
    expect(jsonLines(await run(environment, 'keys', 'kit', 'main', '--json')).last).toMatchObject({
      type: 'result',
      vault,
      stores: [{ store: 'shop', head: heads[1], stop: null }],
      definitions: ['shop'],
    });

    // What is sealed on the page opens without the vault
    const sealed = /-----BEGIN AGE[\s\S]*END AGE ENCRYPTED FILE-----/.exec(stdout)?.[0].replaceAll(/^ +/gm, '') ?? '';
    const identity = execFileSync('age', ['-d', '-i', room.person.identityFile], { input: `${sealed}\n` });
    expect(execFileSync('age-keygen', ['-y'], { input: identity, encoding: 'utf8' }).trim()).toBe(trust);
  });

  test('says what is wrong with a store, and shows the others', async () => {
    const room = await makeVaultRoom();
    await commitMany(await opened(room), room.host, 2);
    rmSync(join(room.vault, OBJECTS.envelope('shop', 1)));
    const { status, stdout } = await room.keys('kit', 'main');
    expect(status).toBe(0);
    expect(stdout).toMatch(/shop {2}2, of .*; STOP chain_broken/);
    const seen = seenOf(join(room.directory, 'state/vaults'), (await opened(room)).description.vault);
    await seen.sawHead('shop', { number: 3, sha256: 'a'.repeat(64) });
    const { last } = jsonLines(await room.keys('kit', 'main', '--json'));
    expect(last['stores']).toMatchObject([{ store: 'shop', stop: 'backup_vanished' }]);
  });
});
