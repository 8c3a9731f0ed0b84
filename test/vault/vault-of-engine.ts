// A vault that the stores of a test engine send their backups to: `vaults/<name>.yaml` beside their definitions.
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { directoryPlace } from '../../vault/directory-place.js';
import { initVault } from '../../vault/trust.js';
import type { OpenVault } from '../../vault/trust.js';
import { TEST_HOST } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { allow, makePerson, makeSshKey } from './trust-room.js';
import type { Person, SshKey } from './trust-room.js';

export interface TestVault {
  readonly name: string;
  readonly directory: string;
  readonly open: OpenVault;
  readonly admin: SshKey;
  readonly host: SshKey;
  /** May countersign. */
  readonly verifier: SshKey;
  readonly person: Person;
  /** Writes the settings anew: what this host may do. */
  readonly settle: (changed: { readonly signs?: boolean | SshKey; readonly reads?: boolean }) => void;
}

/** @param hosts that may write: all of them with one key */
export async function makeVaultFor(
  engine: TestEngine,
  name: string,
  hosts: readonly string[] = [TEST_HOST],
): Promise<TestVault> {
  const home = join(engine.directory, `keys-${name}`);
  mkdirSync(home, { recursive: true });
  const [admin, host, verifier] = ['admin', 'host', 'verifier'].map((of) => makeSshKey(home, of)) as [
    SshKey,
    SshKey,
    SshKey,
  ];
  const person = makePerson(home, 'person');
  const directory = join(engine.directory, `vault-${name}`);
  const open = await initVault(directoryPlace(directory), {
    vault: randomUUID(),
    recipients: [person.recipient],
    texts: {
      allowedSigners: allow(hosts.join(','), 'holdfast', host) + allow('recovery', 'holdfast-verify', verifier),
      revokedKeys: '',
      definitions: new Map(),
    },
    adminKeyFile: admin.file,
    now: new Date().toISOString(),
  });
  const settings = join(engine.definitionsDirectory, 'vaults');
  mkdirSync(settings, { recursive: true, mode: 0o755 });
  const settle: TestVault['settle'] = ({ signs = true, reads = true }) => {
    const path = join(settings, `${name}.yaml`);
    rmSync(path, { force: true });
    const { vault, admin: fingerprint } = open.description;
    const value = {
      holdfast: 1,
      directory,
      vault,
      admin: fingerprint,
      ...(signs !== false && { signingKeyFile: (signs === true ? host : signs).file }),
      ...(reads && { identityFile: person.identityFile }),
    };
    writeFileSync(path, JSON.stringify(value), { mode: 0o644 });
  };
  settle({});
  return { name, directory, open, admin, host, verifier, person, settle };
}
