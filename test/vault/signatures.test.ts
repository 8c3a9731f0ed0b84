// Signatures: those of ssh-keygen are believed as ssh-keygen believes them, and each refusal says which it is.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fingerprintOf, publicKeyOf, sign, verifyPinned, verifySignature } from '../../vault/signatures.js';
import { parseSigners } from '../../vault/signers.js';
import { allow, makeSshKey, NOW, refusal, temporaryDirectory } from './trust-room.js';
import type { SshKey } from './trust-room.js';

const BYTES = Buffer.from('an envelope\n');
const EDITED = Buffer.from('an envelopf\n');

interface Case {
  readonly allowedSigners: string;
  readonly revokedKeys?: string;
  readonly principal?: string;
  readonly namespace?: string;
  readonly bytes?: Uint8Array;
  readonly at?: string;
}

/** What holdfast says; `believed` where it refuses nothing. */
async function ours(signature: string, given: Case): Promise<string> {
  try {
    await verifySignature({
      name: 'envelope.json',
      bytes: given.bytes ?? BYTES,
      signature,
      namespace: given.namespace ?? 'holdfast',
      signers: parseSigners(given.allowedSigners, given.revokedKeys ?? ''),
      principal: given.principal ?? 'web1',
      at: given.at ?? NOW,
    });
    return 'believed';
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
}

/** Whether ssh-keygen believes it too. */
function theirs(directory: string, signature: string, given: Case): boolean {
  const file = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const at = (given.at ?? NOW).replaceAll(/[-:T]/g, '').slice(0, 14);
  const parameters = [
    '-Y',
    'verify',
    '-f',
    file('allowed_signers', given.allowedSigners),
    '-s',
    file('sig', signature),
  ];
  parameters.push('-I', given.principal ?? 'web1', '-n', given.namespace ?? 'holdfast', '-O', `verify-time=${at}Z`);
  if (given.revokedKeys !== undefined) parameters.push('-r', file('revoked_keys', given.revokedKeys));
  return spawnSync('ssh-keygen', parameters, { input: given.bytes ?? BYTES }).status === 0;
}

const RANGE = ',valid-after="20260101Z",valid-before="20261231235959Z"';

/** Each with what holdfast says; ssh-keygen must agree on whether it is believed. */
const cases = (key: SshKey, other: SshKey): readonly (readonly [string, string, Case])[] => {
  const mine = allow('web1', 'holdfast', key);
  return [
    ['its key', 'believed', { allowedSigners: mine }],
    ['one of two lines', 'believed', { allowedSigners: allow('web1', 'holdfast', other) + mine }],
    ['a line of two principals', 'believed', { allowedSigners: allow('web2,web1', 'holdfast', key) }],
    ['a line of two namespaces', 'believed', { allowedSigners: allow('web1', 'git,holdfast', key) }],
    ['another key', 'signer_unknown', { allowedSigners: allow('web1', 'holdfast', other) }],
    ['another principal', 'signer_unknown', { allowedSigners: mine, principal: 'web2' }],
    ['another role', 'signer_unknown', { allowedSigners: allow('web1', 'holdfast-verify', key) }],
    ['a signature of another namespace', 'signature_invalid', { allowedSigners: mine, namespace: 'holdfast-verify' }],
    ['edited bytes', 'signature_invalid', { allowedSigners: mine, bytes: EDITED }],
    ['nobody', 'signer_unknown', { allowedSigners: '# nobody\n' }],
    ['a revoked key', 'signer_revoked', { allowedSigners: mine, revokedKeys: `${key.publicKey} web1\n` }],
    ['a revoked other key', 'believed', { allowedSigners: mine, revokedKeys: `# old\n${other.publicKey}\n` }],
    ['a key in its time', 'believed', { allowedSigners: allow('web1', 'holdfast', key, RANGE) }],
    [
      'an expired key',
      'signer_expired',
      { allowedSigners: allow('web1', 'holdfast', key, RANGE), at: '2027-01-01T00:00:00.000Z' },
    ],
    [
      'the last second of a key',
      'believed',
      { allowedSigners: allow('web1', 'holdfast', key, RANGE), at: '2026-12-31T23:59:59.000Z' },
    ],
    [
      'the first second of a key',
      'believed',
      { allowedSigners: allow('web1', 'holdfast', key, RANGE), at: '2026-01-01T00:00:00.000Z' },
    ],
    [
      'a key before its time',
      'signer_unknown',
      { allowedSigners: allow('web1', 'holdfast', key, RANGE), at: '2025-12-31T23:59:59.000Z' },
    ],
  ];
};

describe.each(['ed25519', 'ecdsa', 'rsa'])('a signature by a key of type %s', (type) => {
  test('is believed exactly where ssh-keygen believes it, and each refusal has its name', async () => {
    const directory = temporaryDirectory();
    const [key, other] = [makeSshKey(directory, 'key', type), makeSshKey(directory, 'other', type)];
    const signature = await sign(key.file, 'holdfast', BYTES);
    const list = cases(key, other);
    const said: [string, string][] = [];
    for (const [name, , given] of list) said.push([name, await ours(signature, given)]);
    expect(said).toEqual(list.map(([name, code]) => [name, code]));
    expect(list.map(([name, , given]) => [name, theirs(directory, signature, given)])).toEqual(
      list.map(([name, code]) => [name, code === 'believed']),
    );
  });
});

describe('a line of allowed_signers', () => {
  test.each([
    ['without namespaces', (key: SshKey) => `web1 ${key.publicKey}`],
    ['without namespaces, but with times', (key: SshKey) => `web1 valid-before="20300101Z" ${key.publicKey}`],
    ['of a certificate authority', (key: SshKey) => allow('web1', 'holdfast', key, ',cert-authority')],
    ['of whoever', (key: SshKey) => allow('*', 'holdfast', key)],
    ['of all but one', (key: SshKey) => allow('*,!web2', 'holdfast', key)],
    ['with any role', (key: SshKey) => allow('web1', 'holdfast*', key)],
    ['with a time of some zone', (key: SshKey) => allow('web1', 'holdfast', key, ',valid-before="20300101"')],
    ['with a day that never comes', (key: SshKey) => allow('web1', 'holdfast', key, ',valid-before="20300231Z"')],
  ])('%s does not count', async (_name, line) => {
    const directory = temporaryDirectory();
    const key = makeSshKey(directory, 'key');
    const signature = await sign(key.file, 'holdfast', BYTES);
    expect(await ours(signature, { allowedSigners: line(key) })).toBe('signer_unknown');
    expect(parseSigners(line(key), '').ignored).toEqual([{ line: 1, why: expect.any(String) }]);
  });
});

test('a line of revoked_keys that is no public key is refused: passed over, the key would be believed', () => {
  expect(() => parseSigners('', 'SHA256:of-some-key\n')).toThrow(expect.objectContaining({ code: 'vault_invalid' }));
});

test('every byte of a signature counts', async () => {
  const directory = temporaryDirectory();
  const key = makeSshKey(directory, 'key');
  const allowedSigners = allow('web1', 'holdfast', key);
  const signature = await sign(key.file, 'holdfast', BYTES);
  const begin = signature.indexOf('\n') + 1;
  const body = Buffer.from(signature.slice(begin, signature.lastIndexOf('-----END')), 'base64');
  const armored = (bytes: Buffer): string =>
    `-----BEGIN SSH SIGNATURE-----\n${(bytes.toString('base64').match(/.{1,70}/g) ?? []).join('\n')}\n-----END SSH SIGNATURE-----\n`;
  expect(armored(body)).toBe(signature);
  expect(await ours(armored(body), { allowedSigners })).toBe('believed');
  // What it says would be the same
  for (const edited of [signature.slice(0, -1), `${signature}\n`, signature.replace(/(?<=\S{70})\n/, '')])
    expect(await ours(edited, { allowedSigners })).toBe('signature_invalid');
  for (let at = 0; at < body.length; at += 1) {
    const edited = Buffer.from(body);
    edited[at] = (edited[at] ?? 0) ^ 1;
    expect(await ours(armored(edited), { allowedSigners }), `byte ${at}`).not.toBe('believed');
  }
  for (let length = 0; length < body.length; length += 1)
    expect(await ours(armored(body.subarray(0, length)), { allowedSigners })).toBe('signature_invalid');
  expect(await ours(armored(Buffer.concat([body, Buffer.of(0)])), { allowedSigners })).toBe('signature_invalid');
  expect(await ours(`${signature}more`, { allowedSigners })).toBe('signature_invalid');
  expect(await ours('', { allowedSigners })).toBe('signature_invalid');
});

describe('signing', () => {
  test('works with the public key of what an agent has', async () => {
    const directory = temporaryDirectory();
    const key = makeSshKey(directory, 'key');
    const socket = join(directory, 'agent');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void agent.kill());
    await new Promise((resolve) => agent.stdout.once('data', resolve));
    execFileSync('ssh-add', ['-q', key.file], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' });
    const publicFile = join(directory, 'elsewhere.pub');
    writeFileSync(publicFile, key.publicKey);
    const before = process.env['SSH_AUTH_SOCK'];
    process.env['SSH_AUTH_SOCK'] = socket;
    onTestFinished(() => {
      if (before === undefined) delete process.env['SSH_AUTH_SOCK'];
      else process.env['SSH_AUTH_SOCK'] = before;
    });
    const signature = await sign(publicFile, 'holdfast', BYTES);
    expect(await ours(signature, { allowedSigners: allow('web1', 'holdfast', key) })).toBe('believed');
  });

  test('says what ssh-keygen says where it does not sign', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'key');
    writeFileSync(file, 'no key\n', { mode: 0o600 });
    expect(await refusal(sign(file, 'holdfast', BYTES))).toMatchObject({
      code: 'ssh_keygen_failed',
      details: { path: file },
    });
  });

  test('is refused with a private key that others can read', async () => {
    const key = makeSshKey(temporaryDirectory(), 'key');
    chmodSync(key.file, 0o644);
    expect(await refusal(sign(key.file, 'holdfast', BYTES))).toMatchObject({ code: 'secret_exposed' });
    expect(await refusal(publicKeyOf(key.file))).toMatchObject({ code: 'secret_exposed' });
  });

  test('is refused where the key file is a directory, with the errno', async () => {
    const path = join(temporaryDirectory(), 'key');
    mkdirSync(path);
    expect(await refusal(sign(path, 'holdfast', BYTES))).toMatchObject({ code: 'io_error' });
  });
});

test('a fingerprint is that of ssh-keygen -l, of a public or a private key file', async () => {
  const key = makeSshKey(temporaryDirectory(), 'key');
  const [, printed] = execFileSync('ssh-keygen', ['-l', '-f', `${key.file}.pub`], { encoding: 'utf8' }).split(' ');
  expect(fingerprintOf(await publicKeyOf(key.file))).toBe(printed);
  expect(fingerprintOf(await publicKeyOf(`${key.file}.pub`))).toBe(printed);
  expect(() => fingerprintOf('ssh-ed25519 AAAA')).toThrow(expect.objectContaining({ code: 'usage' }));
});

test('what is pinned to one key is believed of that key alone', async () => {
  const directory = temporaryDirectory();
  const [key, other] = [makeSshKey(directory, 'key'), makeSshKey(directory, 'other', 'ecdsa')];
  const signed = async (by: SshKey) => ({
    name: 'vault.json',
    bytes: BYTES,
    signature: await sign(by.file, 'holdfast-admin', BYTES),
    namespace: 'holdfast-admin',
  });
  await verifyPinned(await signed(key), fingerprintOf(key.publicKey));
  await verifyPinned(await signed(other), fingerprintOf(other.publicKey));
  expect(await refusal(verifyPinned(await signed(other), fingerprintOf(key.publicKey)))).toMatchObject({
    code: 'signer_unknown',
  });
  const edited = { ...(await signed(other)), bytes: EDITED };
  expect(await refusal(verifyPinned(edited, fingerprintOf(other.publicKey)))).toMatchObject({
    code: 'signature_invalid',
  });
});
