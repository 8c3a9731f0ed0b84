// An installation of its own for benchmarks: a store, and a vault that it is backed up to, with an admin, a host key and a
// person. `holdfast up` runs; a command is timed from its start to its exit.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackupReport, PlanReport, RestoreReport, StepTime, VerifyReport } from '../domain/protocol.js';
import { Installation } from './installation.js';
import { run } from './processes.js';

const STORE = 'bench';
const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));

export interface Work {
  readonly seconds: number;
  /** Of them, what integrity_check of databases took, where it is a step of its own. */
  readonly integritySeconds?: number;
  readonly steps?: readonly StepTime[];
}

export class VaultStore {
  readonly name = 'holdfast';
  /** Directory of the vault. */
  readonly repository: string;
  readonly #installation: Installation;

  private constructor(home: string) {
    this.repository = join(home, 'vault');
    this.#installation = new Installation(home);
  }

  /** @param tree the store's only root: every `*.db` in it is a database */
  static async begin(home: string, tree: string): Promise<VaultStore> {
    const store = new VaultStore(home);
    const { environment } = store.#installation;
    const keys = join(home, 'keys');
    mkdirSync(keys, { mode: 0o700 });
    for (const name of ['admin', 'host'])
      await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(keys, name)]);
    const identity = join(keys, 'identity');
    await run(['age-keygen', '-o', identity]);
    const recipient = /age1\w+/.exec(readFileSync(identity, 'utf8'))?.[0] ?? '';
    const paths = ['--directory', store.repository, '--identity-file', identity];
    const keyFiles = ['--admin-key', join(keys, 'admin'), '--host-key', join(keys, 'host')];
    const argv = [process.execPath, CLI, 'keys', 'init', 'main', ...paths, ...keyFiles, '--recipient', recipient];
    await run(argv, { environment });
    const nothing = { argv: ['/bin/true'] };
    store.#installation.define({
      holdfast: 1,
      store: STORE,
      roots: { tree: { path: tree, databases: [{ path: '**/*.db' }], trees: [{ path: '.' }] } },
      hooks: { detach: nothing, attach: nothing },
      backup: { vault: 'main' },
      rollback: { pointsMax: 1 },
    });
    await store.#installation.up();
    return store;
  }

  end(): Promise<void> {
    return this.#installation.down();
  }

  async init(): Promise<void> {
    // The vault is made with the installation
  }

  async backup(): Promise<Work> {
    const { seconds, report } = await this.#installation.command<BackupReport>('backup', STORE);
    return workOf(seconds, report.steps, 'backup.validate');
  }

  async verify(): Promise<Work> {
    const { seconds, report } = await this.#installation.command<VerifyReport>('verify', STORE, 'latest');
    return workOf(seconds, report.steps, 'verify.databases');
  }

  /** In place, as it is meant: peers write into an empty directory. */
  async restore(): Promise<Work> {
    const { digest } = (await this.#installation.command<PlanReport>('plan', STORE, 'latest')).report;
    const argv = ['restore', STORE, 'latest', '--confirm', digest] as const;
    const { seconds, report } = await this.#installation.command<RestoreReport>(...argv);
    return workOf(seconds, report.steps, 'restore.validate');
  }
}

function workOf(seconds: number, steps: readonly StepTime[], integrity: string): Work {
  const integritySeconds = (steps.find(({ step }) => step === integrity)?.millis ?? 0) / 1000;
  return { seconds, integritySeconds, steps };
}
