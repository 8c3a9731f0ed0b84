// holdfast watch [STORE...]
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { definitionsDirectory } from '../../client/host-settings.js';
import type { EngineSession } from '../../client/connection.js';
import type { Holdfast, RunProgress } from '../../client/protocols.js';
import { createFailureTeller } from '../follow.js';
import { describeCommand, outputOf, withHoldfast } from '../command.js';
import { formatCount } from '../output.js';
import type { Output } from '../output.js';
import { createRenderer } from '../render.js';

const POLL_MILLIS = 500;

export function watchCommand(): Command {
  return describeCommand({
    name: 'watch',
    summary: 'follow what runs for stores, until nothing does',
    examples: ['holdfast watch shop', 'holdfast watch    # every store that is defined here'],
    exits: [69, 75, 77, 78],
  })
    .argument('[stores...]', 'store ids; every store that is defined here without one')
    .action(async (named: readonly string[], _options: object, command: Command) => {
      const output = outputOf(command);
      const { loadDefinitions } = await import('../../definitions/load.js');
      const stores =
        named.length > 0
          ? named
          : (await loadDefinitions(definitionsDirectory())).map((definition) => definition.store);
      await withHoldfast(command, stores, async (holdfast, session) => {
        const seen = await watchRuns(stores, holdfast, session, output);
        output.result({ stores, watched: [...seen] }, [
          seen.size === 0
            ? `nothing runs for ${stores.join(', ') || 'any store'}`
            : `${formatCount(seen.size, 'run')} ended`,
        ]);
      });
    });
}

/** @returns the ids of the runs that were seen */
async function watchRuns(
  stores: readonly string[],
  holdfast: Holdfast,
  session: EngineSession,
  output: Output,
): Promise<ReadonlySet<string>> {
  const renderer = createRenderer(output);
  const tellFailure = createFailureTeller(output, renderer);
  const seen = new Set<string>();
  const look = async (): Promise<readonly RunProgress[]> =>
    (await Promise.all(stores.map((store) => holdfast.running(store)))).flat();
  for (let running = await look(); running.length > 0 && !process.stdout.destroyed; running = await look()) {
    for (const run of running) {
      const url = session.workflowUrl(run.workflowId, run.runId);
      if (!seen.has(run.runId)) {
        output.event('run', { workflowId: run.workflowId, runId: run.runId, url: url ?? null });
        renderer.note([run.workflowId, ...(url === undefined ? [] : [url])].join('  '));
      }
      seen.add(run.runId);
      tellFailure(run);
      if (run.progress !== null) renderer.show(run, run.progress, running.length === 1 ? '' : `${run.workflowId} `);
    }
    await sleep(POLL_MILLIS);
  }
  renderer.end();
  return seen;
}
