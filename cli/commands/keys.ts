// holdfast keys init|adopt|list|allow|revoke|renew|publish|abandon|rewrap|kit: a vault's keys, and whom it believes.
import type { Command } from 'commander';
import { Stop } from '../../domain/stop.js';
import { describeCommand, outputOf } from '../command.js';
import { openNamedVault } from '../open-vault.js';
import { signerFacts, signerTable } from '../render-signers.js';
import { ADOPT_VAULT, adoptKeysCommand } from './keys-adopt.js';
import { collect, INIT, initKeysCommand } from './keys-init.js';
import {
  abandonCommand,
  ALLOW,
  allowCommand,
  publishCommand,
  RENEW,
  renewCommand,
  REVOKE,
  revokeCommand,
} from './keys-trust.js';

const LIST = 'holdfast keys list main';
const REWRAP = 'holdfast keys rewrap main --recipient age1… --recipient age1…';
const KIT = 'holdfast keys kit main > recovery-kit.txt';
const EXITS = [65, 74, 75, 77, 78] as const;

export function keysCommand(): Command {
  return describeCommand({
    name: 'keys',
    summary: 'make a vault, say who may write into it and who may read it, and print the recovery kit',
    examples: [INIT, ADOPT_VAULT, LIST, ALLOW, REVOKE, REWRAP, RENEW, KIT],
    exits: [65, 73, 74, 75, 77, 78],
  })
    .addCommand(initKeysCommand())
    .addCommand(adoptKeysCommand())
    .addCommand(listCommand())
    .addCommand(allowCommand())
    .addCommand(revokeCommand())
    .addCommand(renewCommand())
    .addCommand(publishCommand())
    .addCommand(abandonCommand())
    .addCommand(rewrapCommand())
    .addCommand(kitCommand())
    .addCommand(definitionCommand());
}

function listCommand(): Command {
  return describeCommand({
    name: 'list',
    summary: 'show the keys of a vault, and who may sign what',
    examples: [LIST],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .action(async (name: string, _options: object, command: Command) => {
      const { settings, open } = await openNamedVault(command, name);
      const { signers, keys, number, createdAt } = open.trust;
      const facts = signerFacts(signers);
      outputOf(command).result(
        {
          vault: settings.vault,
          directory: settings.directory,
          admin: settings.admin,
          trust: number,
          createdAt,
          keys,
          signers: facts,
          revoked: [...signers.revoked],
          definitions: [...open.trust.definitions.keys()].sort(),
        },
        [
          `vault ${settings.vault} in ${settings.directory}`,
          `  admin      ${settings.admin}`,
          `  trust      ${number}, of ${createdAt}`,
          ...keys.map((key) => `  key ${key.number}      ${key.recipient}`),
          ...signerTable(facts),
        ],
      );
    });
}

function rewrapCommand(): Command {
  return describeCommand({
    name: 'rewrap',
    summary: 'seal the keys of a vault to these people, and to nobody else; needs your identity',
    examples: [REWRAP],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .requiredOption(
      '--recipient <age1…>',
      'one of the people who may read, yourself among them; again for each',
      collect,
    )
    .action(async (name: string, { recipient }: { readonly recipient: readonly string[] }, command: Command) => {
      const { readIdentities, rewrap } = await import('../../vault/keys.js');
      const { settings, open } = await openNamedVault(command, name);
      const identities = await readIdentities(settings, process.env);
      const numbers = open.trust.keys.map(({ number }) => number);
      for (const number of numbers) await rewrap(open, { number, identities, recipients: recipient });
      outputOf(command).result({ vault: settings.vault, keys: numbers, recipients: recipient }, [
        `${numbers.length === 1 ? 'the key' : `${numbers.length} keys`} of ${name} can be opened by ${recipient.length === 1 ? 'one recipient' : `${recipient.length} recipients`}, and by nobody else`,
        '  whoever could before and has kept a copy can still read what was written so far',
      ]);
    });
}

function kitCommand(): Command {
  return describeCommand({
    name: 'kit',
    summary: 'print what to keep outside of the vault, so that it can be read on an empty host',
    examples: [KIT, 'holdfast keys kit main --json'],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .action(async (name: string, _options: object, command: Command) => {
      const { now } = await import('../../control/clock.js');
      const { readKit } = await import('../../vault/kit.js');
      const { kitLines, settingsOfKit } = await import('../kit.js');
      const { settings, open, seen } = await openNamedVault(command, name);
      const printedAt = now();
      const kit = await readKit(open, { now: printedAt, known: (store) => seen.head(store) });
      outputOf(command).result(
        { name, printedAt, directory: settings.directory, ...kit, settings: settingsOfKit(settings) },
        kitLines({ settings, kit, printedAt }),
      );
    });
}

function definitionCommand(): Command {
  return describeCommand({
    name: 'definition',
    summary: 'print the definition of a store that the admin of a vault has signed',
    examples: ['holdfast keys definition main shop > /etc/holdfast/stores/shop.yaml'],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .argument('<store>', 'store id')
    .action(async (name: string, store: string, _options: object, command: Command) => {
      const { settings, open } = await openNamedVault(command, name);
      const { definitions, number } = open.trust;
      const text = definitions.get(store);
      if (text === undefined)
        throw new Stop('definition_missing', `trust ${number} of vault ${name} has no definition of ${store}`, {
          vault: settings.vault,
          store,
          stores: [...definitions.keys()].sort(),
        });
      outputOf(command).result({ vault: settings.vault, store, trust: number, text }, [text.trimEnd()]);
    });
}
