// One protocol from the command line: started, followed to its end, and its report shown before the engine is let go.
import type { Command } from 'commander';
import type { Holdfast, Operation } from '../client/protocols.js';
import type { StepTime } from '../domain/protocol.js';
import { outputOf, withHoldfast } from './command.js';
import { follow } from './follow.js';
import { stepLines } from './output.js';

/**
 * Carries out what `start` starts on a store, and shows its report: as JSON, or what `describe` makes of it.
 * @throws what ended it
 */
export async function carryOut<Report extends object>(
  command: Command,
  store: string,
  start: (holdfast: Holdfast) => Promise<Operation<Report>>,
  describe: (report: Report) => readonly string[],
): Promise<void> {
  const output = outputOf(command);
  await withHoldfast(command, [store], async (holdfast) => {
    const report = await follow(holdfast, store, await start(holdfast), output);
    output.result(report, [...describe(report), ...(output.verbose ? stepLines(stepsOf(report)) : [])]);
  });
}

/** A plan has one step, which is not told. */
const stepsOf = (report: { readonly steps?: readonly StepTime[] }): readonly StepTime[] => report.steps ?? [];
