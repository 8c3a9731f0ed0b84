// holdfast keys adopt VAULT --directory DIR --vault UUID --admin SHA256:… [--identity-file FILE]
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { isOperationId } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { fingerprintOption } from '../backup-argument.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { seenOfVault } from '../open-vault.js';
import { signerFacts, signerTable } from '../render-signers.js';

export const ADOPT_VAULT = 'holdfast keys adopt theirs --directory /v --vault UUID --admin SHA256:…';

interface AdoptOptions {
  readonly directory: string;
  readonly vault: string;
  readonly admin: string;
  readonly identityFile?: string;
}

/** Id and admin are typed by whoever got them from the other side: what lies in the directory vouches for nothing. */
export function adoptKeysCommand(): Command {
  return describeCommand({
    name: 'adopt',
    summary: 'know a vault that somebody else made, by its id and its admin, to read it on this host',
    examples: [ADOPT_VAULT, 'holdfast keys adopt theirs … --identity-file /root/identity.txt'],
    exits: [65, 73, 74, 77, 78],
  })
    .argument('<vault>', 'name that it gets here: its settings are vaults/<vault>.yaml beside the definitions')
    .requiredOption('--directory <directory>', 'where the vault lies')
    .requiredOption('--vault <uuid>', 'its id, as its admin told you')
    .requiredOption('--admin <fingerprint>', 'of its admin key, SHA256:…, as its admin told you')
    .option('--identity-file <file>', 'age identities of a person to whom it is sealed')
    .action(async (name: string, options: AdoptOptions, command: Command) => {
      const { addVaultSettings, assertNewVault } = await import('../../definitions/vaults.js');
      const { directoryPlace } = await import('../../vault/directory-place.js');
      const { readIdentities, vaultIdentities } = await import('../../vault/keys.js');
      const { openVault } = await import('../../vault/trust.js');
      const definitions = localDefinitions(command);
      const pin = { vault: vaultId(options.vault), admin: fingerprintOption('--admin', options.admin) };
      const directory = resolve(options.directory);
      const identityFile = options.identityFile === undefined ? null : resolve(options.identityFile);
      await assertNewVault(definitions, name);
      const seen = await seenOfVault(pin.vault);
      const open = await openVault(directoryPlace(directory), pin, { trustSeen: await seen.trust() });
      const settings = { name, directory, ...pin, signingKeyFile: null, identityFile, identityCommand: null };
      // A host that could never read what is sealed is told so now
      if (identityFile !== null) await vaultIdentities(open, await readIdentities(settings));
      const path = await addVaultSettings(definitions, settings);
      const { number, sha256, createdAt, signers } = open.trust;
      await seen.sawTrust({ number, sha256 });
      const facts = signerFacts(signers);
      outputOf(command).result({ ...pin, directory, path, trust: number, createdAt, signers: facts }, [
        `vault ${pin.vault} in ${directory} is adopted; this host knows it by ${path}`,
        `  admin      ${pin.admin}`,
        `  trust      ${number}, of ${createdAt}; from now on this host believes there`,
        ...signerTable(facts),
        `  then  holdfast plan STORE vault:${name}/STORE/NUMBER, with --from where it is another store's`,
      ]);
    });
}

/** @throws Stop usage */
function vaultId(value: string): string {
  if (isOperationId(value)) return value;
  throw new Stop('usage', '--vault takes the id of a vault: a UUID in lower case', { '--vault': value });
}
