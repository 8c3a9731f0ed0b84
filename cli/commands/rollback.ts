// holdfast rollback STORE [POINT] --confirm DIGEST
import type { Command } from 'commander';
import { describeCommand } from '../command.js';
import { replace } from '../replace.js';
import type { ReplaceOptions } from '../replace.js';

export function rollbackCommand(): Command {
  return describeCommand({
    name: 'rollback',
    summary: 'bring back the state that a restore replaced, as it was',
    examples: [
      'holdfast rollback shop    # shows the plan, does nothing',
      'holdfast rollback shop --confirm 91ab…    # carries out that plan',
    ],
    exits: [65, 69, 73, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[point]', '`latest`, the id of a rollback point, or a unique prefix of one', 'latest')
    .option('--confirm <digest>', 'digest of the plan that you have read')
    .option('--operation <uuid>', 'id of the operation: the same id never runs twice')
    .action((store: string, point: string, options: ReplaceOptions, command: Command) =>
      replace(store, { kind: 'rollback', point }, options, command),
    );
}
