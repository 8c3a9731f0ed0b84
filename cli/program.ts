// The program with all of its commands, before anything is parsed: for main.ts, and for the manual pages.
import { Command } from 'commander';
import { HOLDFAST_VERSION } from '../domain/version.js';
import { completeCommand } from './commands/completion.js';
import { COMMANDS } from './commands/index.js';

/** Lines of help: each fits in 80 columns beside the name. */
export const ENVIRONMENT: readonly (readonly [name: string, lines: readonly string[]])[] = [
  [
    'HOLDFAST_DEFINITIONS_DIRECTORY',
    ['store definitions (/etc/holdfast/stores for', 'root, else ~/.config/holdfast/stores)'],
  ],
  [
    'HOLDFAST_STATE_DIRECTORY',
    [
      'the embedded engine, and which stores were',
      'worked on (/var/lib/holdfast for root, else',
      '~/.local/state/holdfast)',
    ],
  ],
  ['HOLDFAST_HOST', ['name of this host (default: its host name)']],
  ['HOLDFAST_REQUESTED_BY', ['who asks, in manifests and the audit log', '(default: the user, or who called sudo)']],
  ['HOLDFAST_IDENTITY_FILE', ['age identities for reading a vault, instead of', 'those in its settings']],
  ['HOLDFAST_IDENTITY_COMMAND', ['prints them: an absolute path, or a JSON list', 'of it and its arguments']],
  ['HOLDFAST_LOG_LEVEL', ['of engine and worker: debug, info, warn, error']],
  ['HOLDFAST_TEMPORAL_BINARY', ['the `temporal` to use for the embedded engine']],
  [
    'TEMPORAL_ADDRESS',
    [
      'a Temporal cluster to use instead of the',
      'embedded engine, with TEMPORAL_NAMESPACE,',
      'TEMPORAL_API_KEY and TEMPORAL_TLS_* of its SDK',
    ],
  ],
  ['HOLDFAST_UI_ADDRESS', ['the UI of that cluster, for links']],
];

export const REFUSALS = [
  'A refusal is a STOP: a code, what is safe, what to do, and an exit status.',
  'Interrupt a running protocol once, and it undoes what it has done and ends.',
];

const NAME_COLUMNS = 30;

function environmentHelp(): string {
  const lines = ENVIRONMENT.flatMap(([name, text]) =>
    text.map((line, index) => `  ${(index === 0 ? name : '').padEnd(NAME_COLUMNS)}  ${line}`),
  );
  return ['', 'Environment:', ...lines, '', ...REFUSALS].join('\n');
}

/** Without `[options]`, which all have: what is left fits beside a summary. */
function termOf(command: Command): string {
  const names = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...names].join(' ');
}

export function createProgram(): Command {
  const program = new Command('holdfast')
    .description(
      'Fail-closed backup, restore and disaster recovery for software whose state is SQLite databases plus files.',
    )
    .version(HOLDFAST_VERSION)
    .configureHelp({ subcommandTerm: termOf })
    .option('--json', 'JSON Lines on stdout; the last line is a result or an error')
    .option('--quiet', 'no progress and no notes')
    .option('-v, --verbose', 'a line for each step, how long it took, and the causes of a refusal')
    .option('--host <name>', 'the host of the store (default: this one)')
    .addHelpText('after', environmentHelp());
  for (const command of COMMANDS) program.addCommand(command());
  program.addCommand(completeCommand(program), { hidden: true });
  return program;
}
