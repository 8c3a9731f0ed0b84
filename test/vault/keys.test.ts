// Vault keys and who opens them: with the real age, and with no secret where others could see it.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Stop } from '../../domain/stop.js';
import { OBJECTS } from '../../domain/vault.js';
import { openHeader, seal as sealBytes } from '../../vault/age-file.js';
import { makeVaultKey, openVaultKeys, readIdentities, rewrap, vaultIdentities } from '../../vault/keys.js';
import { currentKey, publishTrust } from '../../vault/trust.js';
import { NOW, makePerson, makeTrustRoom, refusal, temporaryDirectory } from './trust-room.js';
import type { Person, TrustRoom } from './trust-room.js';

const NONE = { identityFile: null, identityCommand: null };
const keyPath = (room: TrustRoom): string => join(room.directory, 'vault', OBJECTS.key(1));

describe('the identity of a vault key', () => {
  test('is opened by a person to whom it is sealed, and opens what is sealed to the vault', async () => {
    const room = await makeTrustRoom();
    const [identity = ''] = await vaultIdentities(room.vault, [room.person.identity]);
    const sealed = await sealBytes(currentKey(room.vault).recipient, Buffer.from('a pack'));
    await openHeader('pack', sealed, [identity]);
    expect(execFileSync('age-keygen', ['-y'], { input: identity, encoding: 'utf8' }).trim()).toBe(
      currentKey(room.vault).recipient,
    );
  });

  test('is opened by nobody else', async () => {
    const room = await makeTrustRoom();
    const stranger = makePerson(room.directory, 'stranger');
    expect(await refusal(vaultIdentities(room.vault, [stranger.identity]))).toMatchObject({ code: 'vault_sealed' });
    expect(await refusal(vaultIdentities(room.vault, []))).toMatchObject({ code: 'vault_sealed' });
  });

  test('is sealed to other people by one who can open it, and not to those before', async () => {
    const room = await makeTrustRoom();
    const [second, third] = [makePerson(room.directory, 'second'), makePerson(room.directory, 'third')];
    const before = await vaultIdentities(room.vault, [room.person.identity]);
    const seal = ({ identity }: Person, ...people: readonly Person[]) =>
      rewrap(room.vault, { number: 1, identities: [identity], recipients: people.map(({ recipient }) => recipient) });
    expect(await refusal(seal(second, second))).toMatchObject({ code: 'vault_sealed' });
    // Whoever seals stays among them, so that a slip is not for ever
    expect(await refusal(seal(room.person, second))).toMatchObject({ code: 'usage' });
    await seal(room.person, room.person, second);
    await seal(second, second, third);
    for (const { identity } of [second, third]) expect(await vaultIdentities(room.vault, [identity])).toEqual(before);
    expect(await refusal(vaultIdentities(room.vault, [room.person.identity]))).toMatchObject({ code: 'vault_sealed' });
    const none = rewrap(room.vault, { number: 1, identities: [second.identity], recipients: [] });
    expect(await refusal(none)).toMatchObject({ code: 'usage' });
    expect(await vaultIdentities(room.vault, [second.identity])).toEqual(before);
  });

  test('can be sealed by age itself, to a passphrase or a hardware key', async () => {
    const room = await makeTrustRoom();
    const second = makePerson(room.directory, 'second');
    const identity = execFileSync('age', ['-d', '-i', room.person.identityFile, keyPath(room)]);
    writeFileSync(keyPath(room), execFileSync('age', ['-r', second.recipient], { input: identity }));
    expect((await vaultIdentities(room.vault, [second.identity])).length).toBe(1);
  });

  test('that is another than the vault has is refused, though a person can open it', async () => {
    const [room, other] = [await makeTrustRoom(), await makeTrustRoom()];
    const forged = execFileSync('age', ['-r', room.person.recipient], { input: `${other.person.identity}\n` });
    writeFileSync(keyPath(room), forged);
    expect(await refusal(vaultIdentities(room.vault, [room.person.identity]))).toMatchObject({ code: 'vault_invalid' });
    writeFileSync(keyPath(room), execFileSync('age', ['-r', room.person.recipient], { input: 'no identity\n' }));
    expect(await refusal(vaultIdentities(room.vault, [room.person.identity]))).toMatchObject({ code: 'vault_invalid' });
  });

  test('that was damaged harms no other one', async () => {
    const room = await makeTrustRoom();
    const { key, sealed } = await makeVaultKey(2, [room.person.recipient]);
    await room.place.putNew(OBJECTS.key(2), sealed);
    const keys = [...room.vault.trust.keys, key];
    const vault = await publishTrust(room.vault, { keys }, { adminKeyFile: room.admin.file, now: NOW });
    expect(await vaultIdentities(vault, [room.person.identity])).toHaveLength(2);
    writeFileSync(keyPath(room), 'damaged');
    expect(await vaultIdentities(vault, [room.person.identity])).toHaveLength(1);
    const { damaged } = await openVaultKeys(vault, [room.person.identity]);
    expect(damaged.map(({ code, details }) => [code, details['object']])).toEqual([['vault_invalid', 'keys/1.age']]);
  });

  test('that was damaged is refused', async () => {
    const room = await makeTrustRoom();
    const bytes = readFileSync(keyPath(room));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(keyPath(room), bytes);
    expect(await refusal(vaultIdentities(room.vault, [room.person.identity]))).toMatchObject({ code: 'vault_invalid' });
    writeFileSync(keyPath(room), 'no age file');
    expect(await refusal(vaultIdentities(room.vault, [room.person.identity]))).toMatchObject({ code: 'vault_invalid' });
  });
});

describe("a person's identities", () => {
  test('come from a file as age-keygen writes it', async () => {
    const person = makePerson(temporaryDirectory(), 'person');
    const settings = { ...NONE, identityFile: person.identityFile };
    expect(await readIdentities(settings)).toEqual([person.identity]);
    chmodSync(person.identityFile, 0o400);
    expect(await readIdentities(settings)).toEqual([person.identity]);
  });

  test.each([0o640, 0o604, 0o620, 0o660])('are refused in a file of mode %o', async (mode) => {
    const person = makePerson(temporaryDirectory(), 'person');
    chmodSync(person.identityFile, mode);
    const refused = await refusal(readIdentities({ ...NONE, identityFile: person.identityFile }));
    expect(refused).toMatchObject({ code: 'secret_exposed', details: { mode: mode.toString(8) } });
  });

  test('come from a command, whose arguments no shell reads', async () => {
    const person = makePerson(temporaryDirectory(), 'person');
    const command = ['/bin/cat', '--', person.identityFile];
    expect(await readIdentities({ ...NONE, identityCommand: command })).toEqual([person.identity]);
    const shell = ['/bin/echo', `$(cat ${person.identityFile})`];
    expect(await refusal(readIdentities({ ...NONE, identityCommand: shell }))).toMatchObject({
      code: 'identity_missing',
    });
  });

  test('come from the environment before the settings', async () => {
    const directory = temporaryDirectory();
    const [person, other] = [makePerson(directory, 'person'), makePerson(directory, 'other')];
    const settings = { identityFile: other.identityFile, identityCommand: null };
    const given = (environment: Record<string, string>) => readIdentities(settings, environment);
    expect(await given({ HOLDFAST_IDENTITY_FILE: person.identityFile })).toEqual([person.identity]);
    const list = JSON.stringify(['/bin/cat', person.identityFile]);
    expect(await given({ HOLDFAST_IDENTITY_COMMAND: list })).toEqual([person.identity]);
    const script = join(directory, 'identity');
    writeFileSync(script, `#!/bin/sh\nexec cat '${person.identityFile}'\n`, { mode: 0o700 });
    expect(await given({ HOLDFAST_IDENTITY_COMMAND: script })).toEqual([person.identity]);
    expect(await given({ HOLDFAST_IDENTITY_FILE: '' })).toEqual([other.identity]);
    for (const text of ['cat person', '["cat"]', '[', '{}'])
      expect(await refusal(given({ HOLDFAST_IDENTITY_COMMAND: text }))).toMatchObject({ code: 'usage' });
  });

  test.each<readonly [string, (path: string) => object]>([
    ['none is set', () => NONE],
    ['the file is not there', (path) => ({ ...NONE, identityFile: `${path}-not` })],
    ['the file is a directory', (path) => ({ ...NONE, identityFile: path })],
    ['the file is empty', (path) => ({ ...NONE, identityFile: file(path, '# nothing\n') })],
    ['the file has something else', (path) => ({ ...NONE, identityFile: file(path, 'AGE-SECRET-KEY-1SECRET\n') })],
    ['the file is too large', (path) => ({ ...NONE, identityFile: file(path, '#'.repeat(100_000)) })],
    ['the command fails', () => ({ ...NONE, identityCommand: ['/bin/false'] })],
    ['the command is not there', () => ({ ...NONE, identityCommand: ['/bin/no-such-command'] })],
    ['the command prints something else', () => ({ ...NONE, identityCommand: ['/bin/echo', 'hello'] })],
    ['the command never stops printing', () => ({ ...NONE, identityCommand: ['/usr/bin/yes'] })],
  ])('are missing where %s', async (_what, settings) => {
    const directory = join(temporaryDirectory(), 'private');
    mkdirSync(directory, { mode: 0o700 });
    const given = settings(directory) as { identityFile: string | null; identityCommand: readonly string[] | null };
    expect(await refusal(readIdentities(given))).toMatchObject({ code: 'identity_missing' });
  });

  test('and the vault key are in no refusal', async () => {
    const [room, other] = [await makeTrustRoom(), await makeTrustRoom()];
    const stops: Stop[] = [];
    const damaged = room.person.identity.slice(0, -1) + (room.person.identity.endsWith('Q') ? 'P' : 'Q');
    const path = file(room.directory, `${damaged}\n`);
    stops.push(await refusal(readIdentities({ ...NONE, identityFile: path })));
    const printed = ['/bin/cat', path];
    stops.push(await refusal(readIdentities({ ...NONE, identityCommand: printed })));
    stops.push(await refusal(vaultIdentities(room.vault, [other.person.identity])));
    const forged = execFileSync('age', ['-r', room.person.recipient], { input: `${other.person.identity}\n` });
    writeFileSync(keyPath(room), forged);
    stops.push(await refusal(vaultIdentities(room.vault, [room.person.identity])));
    cpSync(keyPath(other), keyPath(room));
    stops.push(await refusal(vaultIdentities(room.vault, [room.person.identity])));
    expect(stops.map(({ code }) => code)).toEqual([
      'identity_missing',
      'identity_missing',
      'vault_sealed',
      'vault_invalid',
      'vault_sealed',
    ]);
    // Stacks, causes and details too
    expect(inspect(stops, { depth: 10 })).not.toMatch(/AGE-SECRET-KEY-1[0-9A-Z]/);
  });
});

function file(directory: string, text: string): string {
  const path = join(directory, 'identities');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
