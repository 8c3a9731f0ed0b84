// A vault of one's own for a test, with the keys of an admin, hosts and people: made by the real ssh-keygen and age-keygen.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Stop } from '../../domain/stop.js';
import { ENVELOPE_FORMAT } from '../../domain/vault.js';
import type { Envelope } from '../../domain/vault.js';
import { directoryPlace } from '../../vault/directory-place.js';
import { commitEnvelope } from '../../vault/envelopes.js';
import type { Head } from '../../vault/envelopes.js';
import type { Place } from '../../vault/place.js';
import { initVault, publishTrust } from '../../vault/trust.js';
import type { OpenVault, VaultPin } from '../../vault/trust.js';

export const NOW = '2026-11-22T12:00:00.000Z';

export interface SshKey {
  /** Of the private key; the public one is beside it. */
  readonly file: string;
  /** `<type> <base64>` */
  readonly publicKey: string;
}

export function makeSshKey(directory: string, name: string, type = 'ed25519'): SshKey {
  const file = join(directory, name);
  execFileSync('ssh-keygen', [
    '-q',
    '-t',
    type,
    ...(type === 'rsa' ? ['-b', '2048'] : []),
    '-N',
    '',
    '-C',
    name,
    '-f',
    file,
  ]);
  return { file, publicKey: readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ') };
}

export interface Person {
  readonly identityFile: string;
  readonly identity: string;
  readonly recipient: string;
}

export function makePerson(directory: string, name: string): Person {
  const identityFile = join(directory, `${name}.age-identity`);
  execFileSync('age-keygen', ['-o', identityFile], { stdio: 'ignore' });
  const lines = readFileSync(identityFile, 'utf8').trimEnd().split('\n');
  const recipient = lines.find((line) => line.startsWith('# public key: '))?.slice('# public key: '.length) ?? '';
  return { identityFile, identity: lines.at(-1) ?? '', recipient };
}

/** A line of allowed_signers. */
export function allow(principal: string, namespace: string, { publicKey }: SshKey, options = ''): string {
  return `${principal} namespaces="${namespace}"${options} ${publicKey}\n`;
}

export interface TrustRoom {
  readonly directory: string;
  readonly place: Place;
  readonly pin: VaultPin;
  readonly admin: SshKey;
  readonly host: SshKey;
  readonly verifier: SshKey;
  readonly person: Person;
  /** As it was made. */
  readonly vault: OpenVault;
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-trust-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A new vault; `web1` may write, `recovery` may countersign. */
export async function makeTrustRoom(): Promise<TrustRoom> {
  const directory = temporaryDirectory();
  const [admin, host, verifier] = [
    makeSshKey(directory, 'admin'),
    makeSshKey(directory, 'web1'),
    makeSshKey(directory, 'recovery'),
  ];
  const person = makePerson(directory, 'person');
  const place = directoryPlace(join(directory, 'vault'));
  const vault = await initVault(place, {
    vault: randomUUID(),
    recipients: [person.recipient],
    texts: {
      allowedSigners: allow('web1', 'holdfast', host) + allow('recovery', 'holdfast-verify', verifier),
      revokedKeys: '',
      definitions: new Map([['shop', 'holdfast: 1\nstore: shop\n']]),
    },
    adminKeyFile: admin.file,
    now: NOW,
  });
  const pin = { vault: vault.description.vault, admin: vault.description.admin };
  return { directory, place, pin, admin, host, verifier, person, vault };
}

export function revoke({ admin }: TrustRoom, vault: OpenVault, key: SshKey): Promise<OpenVault> {
  const revokedKeys = `${vault.trust.revokedKeys}${key.publicKey}\n`;
  return publishTrust(vault, { revokedKeys }, { adminKeyFile: admin.file, now: NOW });
}

const SHA256 = 'a'.repeat(64);

export function envelopeOf(vault: OpenVault, number: number, previous: string | null): Envelope {
  return {
    format: ENVELOPE_FORMAT,
    vault: vault.description.vault,
    store: 'shop',
    number,
    backupId: randomUUID(),
    operation: randomUUID(),
    host: 'web1',
    createdAt: NOW,
    holdfastVersion: '0.1.0',
    platform: { os: 'linux', arch: 'x64', endianness: 'LE', sqliteVersion: '3.50.0' },
    epoch: null,
    previous,
    keyNumber: 1,
    manifest: { sha256: SHA256, sizeBytes: 1 },
    packs: [{ sha256: SHA256, sizeBytes: 1 }],
    totals: { files: 1, databases: 0, sizeBytes: 1, addedBytes: 1 },
    witnesses: { sequences: [], appendOnly: [] },
    generation: 0,
  };
}

/** Commits so many backups of `shop`, one after the other. @returns their heads */
export async function commitMany(vault: OpenVault, key: SshKey, count: number): Promise<readonly Head[]> {
  const heads: Head[] = [];
  for (let number = 1; number <= count; number += 1) {
    const envelope = envelopeOf(vault, number, heads.at(-1)?.sha256 ?? null);
    heads.push(await commitEnvelope(vault, envelope, key.file));
  }
  return heads;
}

/** What it was refused with. */
export async function refusal(work: Promise<unknown>): Promise<Stop> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
  throw new Error('it was not refused');
}
