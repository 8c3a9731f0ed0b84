// The manual pages, one a command, from what the commands say of themselves. Written to docs/man/ by `npm run docs`.
import type { Command } from 'commander';
import { HOLDFAST_VERSION } from '../domain/version.js';
import { helpOf } from './command.js';
import { ENVIRONMENT, REFUSALS, createProgram } from './program.js';

export interface ManualPage {
  /** Of the file, such as `holdfast-lock-show.1`. */
  readonly name: string;
  /** In the man macros of roff. */
  readonly text: string;
}

/** Every page, in the order of the help. */
export function manualPages(): readonly ManualPage[] {
  const program = createProgram();
  return pagesOf(program, [program.name()]);
}

function pagesOf(command: Command, words: readonly string[]): readonly ManualPage[] {
  const parts = command
    .createHelp()
    .visibleCommands(command)
    .filter((part) => part.name() !== 'help');
  return [
    { name: `${words.join('-')}.1`, text: pageOf(command, words, parts) },
    ...parts.flatMap((part) => pagesOf(part, [...words, part.name()])),
  ];
}

function pageOf(command: Command, words: readonly string[], parts: readonly Command[]): string {
  const help = command.createHelp();
  const about = helpOf(command);
  const isProgram = about === undefined;
  const title = words.join('-');
  const lines = [
    `.TH ${roff(title.toUpperCase())} 1 "" "holdfast ${HOLDFAST_VERSION}" "holdfast"`,
    '.SH NAME',
    `${roff(title)} \\- ${roff(command.summary() || 'backup, restore and disaster recovery of SQLite databases plus files')}`,
    '.SH SYNOPSIS',
    `.B ${roff(words.join(' '))}`,
    roff(command.usage()),
    '.SH DESCRIPTION',
    roff(isProgram ? command.description() : sentence(command.description())),
    ...(isProgram ? ['.PP', ...REFUSALS.map(roff)] : []),
    ...terms(
      'ARGUMENTS',
      help.visibleArguments(command).map((entry) => [entry.name(), help.argumentDescription(entry)]),
    ),
    ...terms(
      'COMMANDS',
      parts.map((part) => [`${words.join('-')}-${part.name()}(1)`, part.summary()]),
    ),
    ...terms(
      'OPTIONS',
      help.visibleOptions(command).map((entry) => [entry.flags, help.optionDescription(entry)]),
    ),
    ...terms(
      'GLOBAL OPTIONS',
      help.visibleGlobalOptions(command).map((entry) => [entry.flags, help.optionDescription(entry)]),
    ),
    ...(isProgram
      ? terms(
          'ENVIRONMENT',
          ENVIRONMENT.map(([name, text]) => [name, text.join(' ')]),
        )
      : []),
    ...terms(
      'EXIT STATUS',
      (about?.exits ?? []).map(([status, meaning]) => [String(status), meaning]),
    ),
    ...(about === undefined ? [] : ['.SH EXAMPLES', '.nf', ...about.examples.map(roff), '.fi']),
    ...(words.length === 1 ? [] : ['.SH SEE ALSO', `.BR ${roff(words.slice(0, -1).join('-'))} (1)`]),
  ];
  return `${lines.join('\n')}\n`;
}

function terms(heading: string, entries: readonly (readonly [term: string, text: string])[]): readonly string[] {
  if (entries.length === 0) return [];
  return [`.SH ${heading}`, ...entries.flatMap(([term, text]) => ['.TP', `.B ${roff(term)}`, roff(sentence(text))])];
}

function sentence(text: string): string {
  return /[.)]$/.test(text) ? text : `${text}.`;
}

/** A line as roff prints it: no escapes, no requests, and hyphens that can be copied. */
function roff(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
