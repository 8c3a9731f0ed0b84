// holdfast init DIRECTORY [--store NAME] [--destination DIRECTORY] [--observe SECONDS] [--dry-run]
import { basename, resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { isStoreName } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';

interface InitOptions {
  readonly store?: string;
  readonly destination?: string;
  readonly observe: number;
  readonly dryRun?: boolean;
}

const OBSERVE_SECONDS = 3;
const OBSERVE_SECONDS_MAX = 3600;

export function initCommand(): Command {
  return describeCommand({
    name: 'init',
    summary: 'look at a directory and write a commented definition of a store for it',
    examples: ['holdfast init /srv/shop/data', 'holdfast init /srv/shop/data --store shop --observe 60 --dry-run'],
    exits: [65, 73, 74, 77, 78],
  })
    .argument('<directory>', 'what is to be protected: databases and files')
    .option('--store <name>', 'id of the store (default: from the name of the directory)')
    .option('--destination <directory>', 'where backups go (default: /var/backups/holdfast/<store>)')
    .option('--observe <seconds>', 'how long to watch which files change', seconds, OBSERVE_SECONDS)
    .option('--dry-run', 'print the definition, write nothing')
    .action(async (directory: string, options: InitOptions, command: Command) => {
      const output = outputOf(command);
      const definitions = localDefinitions(command);
      const store = options.store ?? nameOf(directory);
      if (!isStoreName(store)) throw new Stop('usage', `${JSON.stringify(store)} is not a store id`, { store });
      const { surveyDirectory } = await import('../../definitions/survey.js');
      const { assertSelects, draftDefinition } = await import('../../definitions/draft.js');
      const { addDefinition, assertUndefined, parseDefinition } = await import('../../definitions/load.js');
      if (options.dryRun !== true) await assertUndefined(definitions, store);
      output.note(`watching ${directory} for ${options.observe} s`);
      const survey = await surveyDirectory(directory, options.observe);
      const destination = resolve(options.destination ?? `/var/backups/holdfast/${store}`);
      const text = draftDefinition(survey, { store, destination });
      assertSelects(parseDefinition(text, 'the draft'), survey);
      const found = { store, databases: survey.databases.length };
      if (options.dryRun === true) {
        output.result({ ...found, text }, [text.trimEnd()]);
        return;
      }
      const path = await addDefinition(definitions, text);
      output.result({ ...found, path, text }, [
        `${path} is written: read it, and uncomment what is true of the application`,
        `  then  holdfast doctor ${store}`,
        `        holdfast backup ${store}`,
      ]);
    });
}

function nameOf(directory: string): string {
  return basename(resolve(directory))
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 64);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > OBSERVE_SECONDS_MAX)
    throw new InvalidArgumentError(`whole seconds, at most ${OBSERVE_SECONDS_MAX}`);
  return value;
}
