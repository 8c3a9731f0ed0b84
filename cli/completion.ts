// Completion in shells: the script that a shell loads, and the answers that the script asks for. All of it that is not
// about holdfast is @bomb.sh/tab's, which is before its 1.0 and stays behind this file.
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RootCommand } from '@bomb.sh/tab';
import type { Argument, Command, Option } from 'commander';
import { definitionsDirectory } from '../client/host-settings.js';
import { Stop } from '../domain/stop.js';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;
const PROGRAM = 'holdfast';

type Candidates = readonly string[];

/** What can be told of the words so far. */
interface Known {
  readonly stores: Candidates;
  readonly backups: Candidates;
  readonly paths: Candidates;
}

/** Prints the script that makes `shell` ask `holdfast complete`. */
export async function printScript(shell: string): Promise<void> {
  const { script } = await import('@bomb.sh/tab');
  script(shell, PROGRAM, PROGRAM);
}

/** Prints what may stand in place of the last of `words`, which may be begun or empty. */
export async function printCandidates(program: Command, words: readonly string[]): Promise<void> {
  const { RootCommand: Root } = await import('@bomb.sh/tab');
  const root = new Root();
  const known = await lookUp(words);
  for (const option of program.createHelp().visibleOptions(program)) addOption(root, option);
  addCommands(root, program, [], known);
  root.parse([...words]);
}

function addCommands(root: RootCommand, parent: Command, path: readonly string[], known: Known): void {
  const help = parent.createHelp();
  for (const command of help.visibleCommands(parent)) {
    const names = [...path, command.name()];
    const entry = root.command(names.join(' '), command.summary());
    const own = command.createHelp();
    for (const option of [...own.visibleOptions(command), ...own.visibleGlobalOptions(command)])
      addOption(entry, option);
    for (const argument of command.registeredArguments) {
      const candidates = candidatesOf(argument, known);
      entry.argument(
        argument.name(),
        (complete) => candidates.forEach((candidate) => complete(candidate, '')),
        argument.variadic,
      );
    }
    addCommands(root, command, names, known);
  }
}

function addOption(entry: Pick<RootCommand, 'option'>, { long, description, required, optional }: Option): void {
  const name = long?.slice(2);
  if (name === undefined) return;
  // With a handler the option wants a value, of which nothing is known
  if (required || optional) entry.option(name, description, () => undefined);
  else entry.option(name, description);
}

function candidatesOf(argument: Argument, { stores, backups, paths }: Known): Candidates {
  if (argument.argChoices !== undefined) return argument.argChoices;
  return { store: stores, stores, backup: backups, directory: paths, files: paths }[argument.name()] ?? [];
}

async function lookUp(words: readonly string[]): Promise<Known> {
  const stores = names(definitionsDirectory())
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length));
  const store = words.slice(0, -1).find((word) => stores.includes(word));
  const last = words.at(-1) ?? '';
  return { stores, backups: store === undefined ? [] : await backupsOf(store), paths: pathsFrom(last) };
}

/** Newest first. Of a store whose definition can't be read nothing is known: the command itself will say why. */
async function backupsOf(store: string): Promise<Candidates> {
  const { loadDefinitionAlone } = await import('../control/definitions.js');
  const { orderedNames } = await import('../artefacts/catalogue.js');
  try {
    const { backup } = await loadDefinitionAlone(definitionsDirectory(), store);
    return ['latest', ...(await orderedNames(backup.destination)).toReversed()];
  } catch (error) {
    if (error instanceof Stop) return [];
    throw error;
  }
}

function pathsFrom(word: string): Candidates {
  const directory = word.endsWith('/') ? word : dirname(word);
  return names(directory).map((name) => (directory === '.' && !word.startsWith('./') ? name : join(directory, name)));
}

/** Nothing where it can't be read. */
function names(directory: string): Candidates {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined) return [];
    throw error;
  }
}
