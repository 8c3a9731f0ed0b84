// The golden vault of format 1, copied to where it can be broken, and a host that knows it: verified and restored as the
// steps do it, without an engine.
import { chmodSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openVaultBackup } from '../../control/vault-backup.js';
import type { HostDirectories } from '../../control/vault-room.js';
import { verifyVaultDatabases } from '../../control/vault-verify-databases.js';
import { verifyInVault } from '../../control/vault-verify.js';
import type { VaultVerified } from '../../control/vault-verify.js';
import type { FileEntry } from '../../domain/manifest.js';
import type { VerifyDepth } from '../../domain/protocol.js';
import { parseVaultReference } from '../../control/vault-room.js';
import { checkDatabase } from '../../sqlite/check.js';
import { UNLISTED, factsRequest } from '../../activities/members.js';

/** In the sources: what is recorded stays, whatever is built. */
const RECORDED = 'test/vault/golden/format-1';

/** As its README.md has them. */
export const PINS = {
  vault: '8398cf77-f8a4-490c-85c1-1310862f2ebc',
  admin: 'SHA256:0FOntDw70OfI/5nOYM7Ot/thjH/Mdf2d/zvd9TGBHPU',
} as const;

/** Every file of each backup but the database, by number. */
export const CONTENTS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  1: { 'files/one': 'one\n', 'files/deep/two': 'two\n', 'files/empty': '', 'files/a b\n"ü"': 'odd\n' },
  2: { 'files/one': 'one, changed\n', 'files/deep/two': 'two\n', 'files/empty': '', 'files/a b\n"ü"': 'odd\n' },
};

export class GoldenVault {
  readonly directory: string;
  readonly #home: string;
  #hosts = 0;
  #host: HostDirectories;

  /** @param home a new directory, which the caller removes */
  constructor(home: string, pins: { readonly vault: string; readonly admin: string } = PINS) {
    this.#home = home;
    this.directory = join(home, 'vault');
    cpSync(join(RECORDED, 'vault'), this.directory, { recursive: true });
    const identityFile = join(home, 'person.age-identity');
    cpSync(join(RECORDED, 'person.age-identity'), identityFile);
    chmodSync(identityFile, 0o600);
    const settings = join(home, 'definitions', 'vaults', 'golden.yaml');
    mkdirSync(dirname(settings), { recursive: true, mode: 0o755 });
    const value = { holdfast: 1, directory: this.directory, ...pins, identityFile };
    writeFileSync(settings, JSON.stringify(value), { mode: 0o644 });
    this.#host = this.#newHost();
  }

  get identityFile(): string {
    return join(this.#home, 'person.age-identity');
  }

  #newHost(): HostDirectories {
    this.#hosts += 1;
    const stateDirectory = join(this.#home, 'state', String(this.#hosts));
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    return { definitionsDirectory: join(this.#home, 'definitions'), stateDirectory };
  }

  /** From now on it is another host that looks: one that has never seen the vault. */
  forget(): void {
    rmSync(this.#host.stateDirectory, { recursive: true });
    this.#host = this.#newHost();
  }

  objects(): readonly string[] {
    return readdirSync(this.directory, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(this.path(name)).isFile())
      .sort();
  }

  path(object: string): string {
    return join(this.directory, object);
  }

  read(object: string): Buffer {
    return readFileSync(this.path(object));
  }

  write(object: string, bytes: string | Uint8Array): void {
    mkdirSync(dirname(this.path(object)), { recursive: true });
    writeFileSync(this.path(object), bytes);
  }

  remove(object: string): void {
    rmSync(this.path(object), { recursive: true });
  }

  /** Steps verify.bytes and, in full, verify.databases. */
  async verify(reference: string, depth: VerifyDepth): Promise<VaultVerified> {
    const { signal } = new AbortController();
    const report = await verifyInVault(this.#host, {
      vault: 'golden',
      store: 'shop',
      reference,
      depth,
      seed: 'golden',
      witness: () => Promise.resolve(undefined),
      signal,
      report: () => undefined,
    });
    const found = parseVaultReference(report.artefact);
    if (depth !== 'full' || found === null) return report;
    await verifyVaultDatabases(this.#host, {
      reference: found,
      sha256: report.manifestSha256,
      backups: reference === 'all' ? report.backups : null,
      check: (source, databases) =>
        source.withDatabases(databases, { signal }, async (place) => {
          for (const { root, path } of databases)
            await checkDatabase({ ...factsRequest(place(root, path), UNLISTED, true), integrity: true }, signal);
        }),
    });
    return report;
  }

  /** What comes back: content by path, the database in hexadecimal. */
  async restore(number: number): Promise<Readonly<Record<string, string>>> {
    const source = await openVaultBackup(this.#host, { vault: 'golden', store: 'shop', number });
    await source.assertWhole();
    const target = join(this.#home, 'restored');
    rmSync(target, { recursive: true, force: true });
    const pathOf = ({ path }: Pick<FileEntry, 'path'>): string => join(target, path);
    for (const entry of source.manifest.entries)
      if (entry.type === 'directory') mkdirSync(pathOf(entry), { recursive: true });
    const files = source.manifest.entries.filter((entry): entry is FileEntry => entry.type !== 'directory');
    await source.extract(files, pathOf, {});
    return Object.fromEntries(
      files.map((entry) => [entry.path, readFileSync(pathOf(entry)).toString(entry.type === 'file' ? 'utf8' : 'hex')]),
    );
  }
}
