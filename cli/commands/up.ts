// holdfast up
import type { Command } from 'commander';
import { describeCommand, outputOf } from '../command.js';

export function upCommand(): Command {
  return describeCommand({
    name: 'up',
    summary: 'run the engine, its UI and the worker of this host, until it is interrupted',
    examples: ['holdfast up', 'TEMPORAL_ADDRESS=temporal.example:7233 holdfast up    # the worker alone'],
    exits: [69, 74, 75, 77, 78],
  }).action(async (_options: object, command: Command) => {
    const output = outputOf(command);
    const isForPeople = process.stderr.isTTY === true && !output.json;
    // A person reads the notes; what else is worth a line is an error. The worker inherits it.
    if (isForPeople || output.quiet) process.env['HOLDFAST_LOG_LEVEL'] ??= 'error';
    const { runSupervisor } = await import('../../workers/supervisor.js');
    const { createLog } = await import('../../workers/log.js');
    const stop = new AbortController();
    // SIGHUP: the terminal was closed
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
    await runSupervisor({
      foreground: true,
      signal: stop.signal,
      log: createLog('holdfast-supervisor'),
      onProgress: (line) => {
        if (isForPeople) output.note(line);
      },
      onReady: (ready) => {
        output.event('ready', ready);
        output.note(
          `ready: engine at ${ready.address}, UI at ${ready.uiAddress ?? 'none'}, worker of ${ready.host} (definitions in ${ready.definitionsDirectory})`,
        );
      },
    });
    output.result({ ended: true }, []);
  });
}
