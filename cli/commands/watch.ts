// holdfast watch STORE
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { describeCommand, outputOf, withHoldfast } from '../command.js';
import { createRenderer } from '../follow.js';

const POLL_MILLIS = 500;

export function watchCommand(): Command {
  return describeCommand({ name: 'watch', summary: 'follow what runs for a store, until nothing does', examples: ['holdfast watch shop'], exits: [69] })
    .argument('<store>', 'store id')
    .action(async (store: string, _options: object, command: Command) => {
      const output = outputOf(command);
      await withHoldfast(output, async (holdfast, session) => {
        const renderer = createRenderer(output);
        const seen = new Set<string>();
        for (let running = await holdfast.running(store); running.length > 0; running = await holdfast.running(store)) {
          for (const run of running) {
            if (!seen.has(run.runId)) output.note(`${run.workflowId}  ${session.workflowUrl(run.workflowId, run.runId) ?? ''}`);
            seen.add(run.runId);
            if (run.progress !== null) renderer.show(run.progress);
          }
          await sleep(POLL_MILLIS);
        }
        renderer.end();
        output.result({ store, watched: [...seen] }, [seen.size === 0 ? `nothing runs for ${store}` : `${seen.size} run(s) ended`]);
      });
    });
}
