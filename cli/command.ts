// What every command shares: its options, its output, a session with the engine, and how help is written.
import { userInfo } from 'node:os';
import { Command } from 'commander';
import { openEngine } from '../client/connection.js';
import type { EngineSession } from '../client/connection.js';
import { createHoldfast } from '../client/protocols.js';
import type { Holdfast, OperationOptions } from '../client/protocols.js';
import type { STOPS } from '../domain/stop.js';
import { createOutput } from './output.js';
import type { Output } from './output.js';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
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

/** A command with examples and exit statuses in its help. */
export function describeCommand({ name, summary, examples, exits }: CommandText): Command {
  const statuses = [...new Set([0, 64, ...exits, 70])].sort((left, right) => left - right);
  return new Command(name)
    .summary(summary)
    .description(summary)
    .addHelpText('after', [
      '', 'Examples:', ...examples.map((example) => `  $ ${example}`),
      '', 'Exit status:', ...statuses.map((status) => `  ${status}  ${EXIT_MEANINGS[status] ?? ''}`),
    ].join('\n'));
}

export function outputOf(command: Command): Output {
  const { json, quiet } = command.optsWithGlobals<GlobalOptions>();
  return createOutput({ json: json === true, quiet: quiet === true });
}

/** Who asks: recorded in orders, manifests and the audit log. */
export function requestedBy(): string {
  const { username } = userInfo();
  return process.env['HOLDFAST_REQUESTED_BY'] ?? process.env['SUDO_USER'] ?? username;
}

export function operationOptions(command: Command, operation?: string): OperationOptions {
  const { host } = command.optsWithGlobals<GlobalOptions>();
  return { requestedBy: requestedBy(), ...(host === undefined ? {} : { host }), ...(operation === undefined ? {} : { operation }) };
}

/** Opens the engine for as long as `use` runs. */
export async function withHoldfast<T>(output: Output, use: (holdfast: Holdfast, session: EngineSession) => Promise<T>): Promise<T> {
  const session = await openEngine({ onProgress: (line) => output.note(line) });
  try {
    return await use(createHoldfast(session), session);
  } finally {
    await session.close();
  }
}
