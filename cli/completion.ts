// Completion in shells: the script that a shell loads (shells/), and the answers that the script asks for. What is
// offered is inserted into a line that a person then sends off, maybe as root: see SAFE.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { definitionsDirectory } from '../client/host-settings.js';
import { stateDirectory } from '../client/state-directory.js';
import type { StoreDefinition } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

/** Shells complete files themselves: they know how to quote names, which anybody may have chosen. */
const FILES_WANTED = ':files';
/** Nothing else is ever offered: no character that means something to a shell, and that a name would have to quote. */
const SAFE = /^[\w@%+,./-]+$/;

type Candidate = readonly [word: string, description?: string];

/** The script that makes `shell` ask `holdfast complete`. */
export function scriptFor(shell: string): string {
  return readFileSync(new URL(`./shells/${shell}`, import.meta.url), 'utf8');
}

/**
 * What may stand in place of the last of `words`, which may be begun or empty: a line each, with a tab before its
 * description; or `:files`.
 */
export async function answerLines(program: Command, words: readonly string[]): Promise<readonly string[]> {
  const begun = words.at(-1) ?? '';
  // Some shells split `--option=value` in three; a value that is begun like this is not completed
  if (/^(?:-.*)?=/.test(begun) || words.at(-2) === '=') return [];
  const line = readLine(
    program,
    words.slice(0, -1).filter((word) => word !== '='),
  );
  const candidates = begun.startsWith('-') && line.open === null ? optionsOf(line.command) : await namesFor(line);
  if (candidates === FILES_WANTED) return [FILES_WANTED];
  return candidates
    .filter(([word]) => word.startsWith(begun) && SAFE.test(word))
    .map(([word, description = '']) => `${word}\t${description}`);
}

interface Line {
  readonly command: Command;
  /** The command's own arguments so far. */
  readonly given: readonly string[];
  /** The option whose value comes next. */
  readonly open: Option | null;
}

function readLine(program: Command, words: readonly string[]): Line {
  let command = program;
  let given: string[] = [];
  let open: Option | null = null;
  for (const word of words) {
    if (open !== null) open = null;
    else if (word.startsWith('-')) {
      const option = visibleOptions(command).find(({ short, long }) => word === short || word === long);
      open = option?.required === true || option?.optional === true ? option : null;
    } else {
      const child = command.commands.find((each) => given.length === 0 && each.name() === word);
      if (child === undefined) given.push(word);
      else [command, given] = [child, []];
    }
  }
  return { command, given, open };
}

function visibleOptions(command: Command): readonly Option[] {
  const help = command.createHelp();
  help.showGlobalOptions = true;
  return [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
}

function optionsOf(command: Command): readonly Candidate[] {
  return visibleOptions(command).flatMap(({ long, description }) =>
    long === undefined || long === null ? [] : [[long, description] as const],
  );
}

async function namesFor({ command, given, open }: Line): Promise<readonly Candidate[] | typeof FILES_WANTED> {
  if (open !== null) return open.argChoices?.map((choice) => [choice] as const) ?? known(placeholderOf(open), given);
  const children =
    given.length === 0
      ? command
          .createHelp()
          .visibleCommands(command)
          .map((child) => [child.name(), child.summary()] as const)
      : [];
  const last = command.registeredArguments.at(-1);
  const argument = command.registeredArguments[given.length] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined) return children;
  if (argument.argChoices !== undefined) return argument.argChoices.map((choice) => [choice]);
  return known(argument.name(), given);
}

const placeholderOf = ({ flags }: Option): string => /[<[]([\w-]+)/.exec(flags)?.[1] ?? '';

/** The two of `diff` among them. */
const BACKUP_ARGUMENTS: readonly string[] = ['backup', 'before', 'after'];

/** By the name of an argument, which means the same in all commands. */
async function known(argument: string, given: readonly string[]): Promise<readonly Candidate[] | typeof FILES_WANTED> {
  if (argument === 'directory' || argument === 'file' || argument === 'files') return FILES_WANTED;
  if (argument === 'store' || argument === 'stores') return storeNames().map((store) => [store]);
  if (argument === 'vault') return namesIn(join(definitionsDirectory(), 'vaults')).map((vault) => [vault]);
  const [store] = given;
  if (!BACKUP_ARGUMENTS.includes(argument) || store === undefined || !storeNames().includes(store)) return [];
  return backupsOf(store);
}

const storeNames = (): readonly string[] => namesIn(definitionsDirectory());

/** Of the files in YAML of a directory. Nothing where they can't be read. */
function namesIn(directory: string): readonly string[] {
  try {
    const names = readdirSync(directory).filter((name) => name.endsWith('.yaml'));
    return names.map((name) => name.slice(0, -'.yaml'.length)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined) return [];
    throw error;
  }
}

/**
 * Newest first, by name; in a vault by number, then by id. Of a store whose definition can't be read, and of a vault that
 * can't, nothing is known: the command itself will say why.
 */
async function backupsOf(store: string): Promise<readonly Candidate[]> {
  const { loadDefinitionAlone } = await import('../definitions/load.js');
  try {
    const definition = await loadDefinitionAlone(definitionsDirectory(), store);
    const { destination } = definition.backup;
    if (destination === null) return [['latest'], ...(await backupsInVault(definition))];
    const { orderedNames } = await import('../artefacts/catalogue.js');
    return ['latest', ...(await orderedNames(destination)).toReversed()].map((name) => [name]);
  } catch (error) {
    if (error instanceof Stop) return [];
    throw error;
  }
}

async function backupsInVault(definition: StoreDefinition): Promise<readonly Candidate[]> {
  const { listBackups } = await import('../control/backups.js');
  const host = { definitionsDirectory: definitionsDirectory(), stateDirectory: stateDirectory() };
  const backups = (await listBackups(host, definition)).toReversed();
  return [
    ...backups.map(({ number = 0, createdAt = '' }): Candidate => [String(number), createdAt]),
    ...backups.flatMap(({ backupId, createdAt = '' }): readonly Candidate[] =>
      backupId === undefined ? [] : [[backupId, createdAt]],
    ),
  ];
}
