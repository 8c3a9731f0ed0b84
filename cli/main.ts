#!/usr/bin/env node
// The command line. Each command is a file of commands/; what it needs is loaded when it runs, so that the start-up
// gate of an application (`holdfast status --gate`) is quick and depends on little.
import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { Stop } from '../domain/stop.js';
import { reportError } from './output.js';
import { createProgram } from './program.js';

/**
 * Everything that commander prints itself: help goes to stdout, or is collected for one line of JSON; complaints become a
 * STOP that names the help to read.
 */
function prepare(command: Command, path: string, json: string[] | undefined): void {
  command.exitOverride((error) => {
    if (error.exitCode === 0) throw error;
    const message =
      error.code === 'commander.help'
        ? 'no command was given'
        : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new Stop('usage', message, { help: `${path} --help` });
  });
  command.configureOutput({
    writeOut: (text) => void (json === undefined ? process.stdout.write(text) : json.push(text)),
    writeErr: (text) => void (json === undefined && process.stderr.write(text)),
    outputError: () => undefined,
  });
  for (const child of command.commands) prepare(child, `${path} ${child.name()}`, json);
}

/** As far as it can be told of arguments that may not be understood. */
const hasJson = (argv: readonly string[]): boolean => argv.includes('--json');
const wantedOutput = (argv: readonly string[]) => ({
  json: hasJson(argv),
  verbose: argv.includes('--verbose') || argv.includes('-v'),
});

async function main(argv: readonly string[]): Promise<number> {
  const isJson = hasJson(argv);
  const program = createProgram();
  const help: string[] = [];
  prepare(program, 'holdfast', isJson ? help : undefined);
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (!(error instanceof CommanderError && error.exitCode === 0)) return reportError(error, wantedOutput(argv));
    if (isJson) process.stdout.write(`${JSON.stringify({ type: 'result', text: help.join('').trimEnd() })}\n`);
    return 0;
  }
}

// A reader that goes away (`| head`) is no failure of ours, and no reason to leave a protocol: its exit status counts
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    const stop = error.code === 'ENOSPC' ? 'no_space' : 'io_error';
    process.exit(
      reportError(new Stop(stop, `what is said can't be written: ${error.message}`), wantedOutput(process.argv)),
    );
  });
}
// What nobody could catch is a defect like any other: its status is 70, and the last line of JSON says so
process.on('uncaughtException', (error) => process.exit(reportError(error, wantedOutput(process.argv))));
process.exitCode = await main(process.argv);
