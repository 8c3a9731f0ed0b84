// What every command shares: its options, its output, a session with the engine, and how help is written.
import { Command } from 'commander';
import type { EngineSession } from '../client/connection.js';
import { definitionsDirectory, hostName, userName } from '../client/host-settings.js';
import type { Holdfast, OperationOptions } from '../client/protocols.js';
import { isStoreName } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import type { STOPS } from '../domain/stop.js';
import { createOutput } from './output.js';
import type { Output } from './output.js';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly host?: string;
}

/** Exit statuses that a command's help lists beside 0, 64 and 70. */
export type ExitStatus = (typeof STOPS)[keyof typeof STOPS]['exit'];

const EXIT_MEANINGS: Readonly<Record<number, string>> = {
  0: 'done',
  64: 'the command was not understood, or can be read in two ways',
  65: 'a bad artefact, or bad data',
  69: 'the engine, or the worker of the host, does not answer',
  70: 'a defect of holdfast',
  73: 'the target exists, or the operation was carried out before',
  74: 'the system refused a read or a write',
  75: 'busy: locked, in use, or changed meanwhile; try again',
  77: 'a permission or an approval is missing',
  78: 'refused by configuration, version, gate or fence',
};

export interface CommandText {
  readonly name: string;
  readonly summary: string;
  readonly examples: readonly string[];
  readonly exits: readonly ExitStatus[];
}

/** What a command's help says beside its arguments and options. */
export interface CommandHelp {
  readonly examples: readonly string[];
  readonly exits: readonly (readonly [status: number, meaning: string])[];
}

const HELP = new WeakMap<Command, CommandHelp>();

/** undefined for the program itself, and for commands that are no person's. */
export function helpOf(command: Command): CommandHelp | undefined {
  return HELP.get(command);
}

/** A command with examples and exit statuses in its help. */
export function describeCommand({ name, summary, examples, exits }: CommandText): Command {
  const statuses = [...new Set([0, 64, ...exits, 70])].sort((left, right) => left - right);
  const help = { examples, exits: statuses.map((status) => [status, EXIT_MEANINGS[status] ?? ''] as const) };
  const command = new Command(name)
    .summary(summary)
    .description(summary)
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        ...examples.map((example) => `  $ ${example}`),
        '',
        'Exit status:',
        ...help.exits.map(([status, meaning]) => `  ${String(status).padStart(2)}  ${meaning}`),
      ].join('\n'),
    );
  HELP.set(command, help);
  return command;
}

export function outputOf(command: Command): Output {
  const { json, quiet, verbose } = command.optsWithGlobals<GlobalOptions>();
  return createOutput({ json: json === true, quiet: quiet === true, verbose: verbose === true });
}

/** Who asks: recorded in orders, manifests and the audit log. */
export function requestedBy(): string {
  return process.env['HOLDFAST_REQUESTED_BY'] ?? process.env['SUDO_USER'] ?? userName() ?? `uid ${process.getuid?.()}`;
}

export function operationOptions(command: Command, operation?: string): OperationOptions {
  const { host } = command.optsWithGlobals<GlobalOptions>();
  return {
    requestedBy: requestedBy(),
    ...(host === undefined ? {} : { host }),
    ...(operation === undefined ? {} : { operation }),
  };
}

/**
 * The definitions directory, for a command that looks at this host itself.
 * @throws Stop usage when another host is asked for: its stores can't be seen from here
 */
export function localDefinitions(command: Command): string {
  const { host } = command.optsWithGlobals<GlobalOptions>();
  if (host !== undefined && host !== hostName()) {
    throw new Stop(
      'usage',
      `\`holdfast ${command.name()}\` looks at the host it runs on, which is ${hostName()}; run it on ${host}`,
      { host, thisHost: hostName() },
    );
  }
  return definitionsDirectory();
}

/** Opens the engine for as long as `use` runs. @throws Stop usage, definition_missing and the like, before anything starts */
export async function withHoldfast<T>(
  command: Command,
  stores: readonly string[],
  use: (holdfast: Holdfast, session: EngineSession) => Promise<T>,
): Promise<T> {
  for (const store of stores) await assertDefined(command, store);
  const { openEngine } = await import('../client/connection.js');
  const { createHoldfast } = await import('../client/protocols.js');
  const session = await openEngine({ onProgress: (line) => outputOf(command).note(line) });
  try {
    return await use(createHoldfast(session), session);
  } finally {
    await session.close();
  }
}

/** Whether only the worker of the store's host knows its definition. */
export function isElsewhere(command: Command): boolean {
  const { host } = command.optsWithGlobals<GlobalOptions>();
  return (host !== undefined && host !== hostName()) || (process.env['TEMPORAL_ADDRESS'] ?? '') !== '';
}

/**
 * A mistyped store is told at once, not by the worker once an engine is up. Where the store is another host's, or the
 * engine is a cluster that this machine may be no host of, only that host's worker knows its definitions.
 */
async function assertDefined(command: Command, store: string): Promise<void> {
  if (!isStoreName(store)) throw new Stop('usage', `${JSON.stringify(store)} is not a store id`, { store });
  if (isElsewhere(command)) return;
  const { loadDefinitionAlone } = await import('../definitions/load.js');
  await loadDefinitionAlone(definitionsDirectory(), store);
}
