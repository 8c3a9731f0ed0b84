// What a host has seen of a vault, outside of it: the newest trust, and the newest backup of each store. By it an old copy of
// the vault is told from the vault. docs/vault-format.md "Reading" 2 and 3.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Stop } from '../domain/stop.js';
import { ensureDirectory, writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import type { Head } from './envelopes.js';
import type { TrustSeen } from './trust.js';

/** Both are told by number and digest. */
type Fact = Head & TrustSeen;

export interface Seen {
  /** null: none yet. @throws Stop seen_corrupt, permission_denied, io_error */
  trust(): Promise<TrustSeen | null>;
  /** Remembers it, where it is newer. */
  sawTrust(trust: TrustSeen): Promise<void>;
  /** Newest backup of a store that this host made, restored or verified. null: none yet. */
  head(store: string): Promise<Head | null>;
  /** Remembers it, where it is newer: one run of a store at a time. */
  sawHead(store: string, head: Head): Promise<void>;
}

/**
 * @param directory private to whoever runs the worker; made where it is missing
 * @param vault UUID: another vault at the same place is another memory
 */
export function seenOf(directory: string, vault: string): Seen {
  const trustFile = join(directory, vault, 'trust.json');
  const headFile = (store: string): string => join(directory, vault, 'heads', `${store}.json`);

  async function saw(path: string, { number, sha256 }: Fact): Promise<void> {
    const before = await read(path);
    if (before !== null && before.number >= number) return;
    await ensureDirectory(join(path, '..'), 0o700);
    await writeFileDurable(path, `${JSON.stringify({ number, sha256 })}\n`, 0o600);
  }

  return {
    trust: () => read(trustFile),
    sawTrust: (trust) => saw(trustFile, trust),
    head: (store) => read(headFile(store)),
    sawHead: (store, head) => saw(headFile(store), head),
  };
}

async function read(path: string): Promise<Fact | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw translateErrno(error, { path });
  }
  const [, number, sha256] = /^\{"number":([1-9]\d{0,15}),"sha256":"([0-9a-f]{64})"\}\n$/.exec(text) ?? [];
  if (number === undefined || sha256 === undefined)
    throw new Stop('seen_corrupt', `${path} is not what was written into it`, { path });
  return { number: Number(number), sha256 };
}
