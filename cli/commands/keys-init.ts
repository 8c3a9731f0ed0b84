// holdfast keys init VAULT --directory DIR --admin-key FILE --recipient age1… [--host-key FILE] [--identity-file FILE]
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { hostName } from '../../client/host-settings.js';
import { Stop } from '../../domain/stop.js';
import { NAMESPACES } from '../../domain/vault.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { seenOfVault } from '../open-vault.js';

export const INIT = 'holdfast keys init main --directory /v --admin-key admin --recipient age1…';
/** What a host that writes gives besides. */
const HOST_KEY = 'holdfast keys init main … --host-key /etc/holdfast/host-key';

interface InitOptions {
  readonly directory: string;
  readonly adminKey: string;
  readonly hostKey?: string;
  readonly recipient: readonly string[];
  readonly identityFile?: string;
}

export function initKeysCommand(): Command {
  return describeCommand({
    name: 'init',
    summary: 'make a vault in an empty directory, and the settings by which this host knows it',
    examples: [INIT, HOST_KEY],
    exits: [65, 73, 74, 75, 77, 78],
  })
    .argument('<vault>', 'name of the vault: its settings are vaults/<vault>.yaml beside the definitions')
    .requiredOption('--directory <directory>', 'where the vault will lie')
    .requiredOption('--admin-key <file>', 'SSH key that says who may sign what; keep it off the hosts')
    .requiredOption('--recipient <age1…>', 'one of the people who may read; again for each', collect)
    .option('--host-key <file>', 'SSH key with which this host signs what it writes; without it, it only reads')
    .option('--identity-file <file>', 'age identities of a person, for a host that reads')
    .action(async (name: string, options: InitOptions, command: Command) => {
      const { now } = await import('../../control/clock.js');
      const { addVaultSettings, assertNewVault } = await import('../../definitions/vaults.js');
      const { directoryPlace } = await import('../../vault/directory-place.js');
      const { publicKeyOf } = await import('../../vault/signatures.js');
      const { signerLine } = await import('../../vault/signers.js');
      const { initVault } = await import('../../vault/trust.js');
      const definitions = localDefinitions(command);
      await assertNewVault(definitions, name);
      const directory = resolve(options.directory);
      const signingKeyFile = options.hostKey === undefined ? null : resolve(options.hostKey);
      const hostKey = signingKeyFile === null ? null : await publicKeyOf(signingKeyFile);
      const identityFile = options.identityFile === undefined ? null : resolve(options.identityFile);
      if (identityFile !== null) await assertOpens(identityFile, options.recipient);
      const open = await initVault(directoryPlace(directory), {
        vault: randomUUID(),
        recipients: options.recipient,
        texts: {
          allowedSigners: hostKey === null ? '' : signerLine(hostName(), NAMESPACES.backup, hostKey, null),
          revokedKeys: '',
          definitions: await definitionTexts(definitions),
        },
        adminKeyFile: resolve(options.adminKey),
        now: now(),
      });
      const { vault, admin } = open.description;
      const settings = { name, directory, vault, admin, signingKeyFile, identityFile, identityCommand: null };
      const path = await addVaultSettings(definitions, settings);
      await (await seenOfVault(vault)).sawTrust(open.trust);
      outputOf(command).result({ vault, admin, directory, path, keys: open.trust.keys }, [
        `vault ${vault} is in ${directory}; this host knows it by ${path}`,
        `  then  holdfast keys kit ${name}, and keep what it prints where the vault is not`,
        `        holdfast keys allow ${name} HOST --key FILE, for each other host that writes`,
      ]);
    });
}

/** A host that could never read what is sealed is told so before anything is. */
async function assertOpens(identityFile: string, recipients: readonly string[]): Promise<void> {
  const { readIdentities, recipientsOf } = await import('../../vault/keys.js');
  const own = await recipientsOf(await readIdentities({ identityFile, identityCommand: null }));
  if (own.some((recipient) => recipients.includes(recipient))) return;
  throw new Stop('usage', `no recipient is that of ${identityFile}`, { identityFile, itsRecipients: own });
}

/** For an option that is given again and again. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** The store definitions of this host, as they were written. @throws Stop that of one that can't be read */
export async function definitionTexts(directory: string): Promise<ReadonlyMap<string, string>> {
  const { definitionText, loadDefinitions } = await import('../../definitions/load.js');
  const texts = new Map<string, string>();
  for (const { store } of await loadDefinitions(directory)) texts.set(store, await definitionText(directory, store));
  return texts;
}
