// holdfast cancel STORE
import type { Command } from 'commander';
import { describeCommand, outputOf, withHoldfast } from '../command.js';

export function cancelCommand(): Command {
  return describeCommand({
    name: 'cancel',
    summary: 'ask what runs for a store to undo and end',
    examples: ['holdfast cancel shop'],
    exits: [65, 69, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .action(async (store: string, _options: object, command: Command) => {
      const output = outputOf(command);
      await withHoldfast(command, [store], async (holdfast) => {
        const cancelled = await holdfast.cancel(store);
        output.result(cancelled, [
          `${cancelled.workflowId} was asked to undo and end; see \`holdfast watch ${store}\``,
        ]);
      });
    });
}
