#!/usr/bin/env node
// The command line. Each command is a file of commands/; what it needs is loaded when it runs, so that the start-up
// gate of an application (`holdfast status --gate`) is quick and depends on little.
import { Command, CommanderError } from 'commander';
import { Stop } from '../domain/stop.js';
import { HOLDFAST_VERSION } from '../domain/version.js';
import { COMMANDS } from './commands/index.js';
import { reportError } from './output.js';

function createProgram(): Command {
  const program = new Command('holdfast')
    .description('Fail-closed backup, restore and disaster recovery for software whose state is SQLite databases plus files.')
    .version(HOLDFAST_VERSION)
    .option('--json', 'JSON Lines on stdout; the last line is a result or an error')
    .option('--quiet', 'no progress and no notes')
    .option('--host <name>', 'the host of the store (default: this one)')
    .addHelpText('after', [
      '', 'Environment:',
      '  HOLDFAST_DEFINITIONS_DIRECTORY  store definitions (default: /etc/holdfast/stores for root, else ~/.config/holdfast/stores)',
      '  HOLDFAST_STATE_DIRECTORY        the embedded engine (default: /var/lib/holdfast for root, else ~/.local/state/holdfast)',
      '  TEMPORAL_ADDRESS                a Temporal cluster to use instead of the embedded engine',
    ].join('\n'));
  for (const command of COMMANDS) program.addCommand(command());
  return program;
}

/** Everything that commander prints itself: help goes to stdout, complaints become a STOP of their own. */
function prepare(command: Command, isJson: boolean): void {
  command.exitOverride();
  command.configureOutput({ writeErr: (text) => (isJson ? undefined : process.stderr.write(text)), outputError: () => undefined });
  command.showHelpAfterError(false);
  command.showSuggestionAfterError(true);
  for (const child of command.commands) prepare(child, isJson);
}

async function main(argv: readonly string[]): Promise<number> {
  const isJson = argv.includes('--json');
  const program = createProgram();
  prepare(program, isJson);
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      const message = error.code === 'commander.help' ? 'no command was given' : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
      return reportError(new Stop('usage', message, {}), isJson);
    }
    return reportError(error, isJson);
  }
}

// A reader that goes away (`| head`) is no failure of ours
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await main(process.argv);
