// holdfast doctor [STORE]
import type { Command } from 'commander';
import { stateDirectory } from '../../client/state-directory.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { formatCount } from '../output.js';

export function doctorCommand(): Command {
  return describeCommand({
    name: 'doctor',
    summary: 'say for each store whether it can be cut and exchanged here, and how to mend what is in the way',
    examples: ['holdfast doctor', 'holdfast doctor shop --json'],
    exits: [74, 77, 78],
  })
    .argument('[store]', 'store id; every store that is defined here without it')
    .action(async (store: string | undefined, _options: object, command: Command) => {
      const output = outputOf(command);
      const { loadDefinitionAlone, loadDefinitions } = await import('../../definitions/load.js');
      const { examineStore } = await import('../../control/doctor.js');
      const directory = localDefinitions(command);
      const definitions =
        store === undefined ? await loadDefinitions(directory) : [await loadDefinitionAlone(directory, store)];
      const lines: string[] = [];
      let stops = 0;
      for (const definition of definitions) {
        lines.push(definition.store);
        for (const finding of await examineStore(definition, stateDirectory(), directory)) {
          if (finding.state === 'stop') stops += 1;
          output.event('finding', { store: definition.store, ...finding });
          lines.push(`  ${finding.state.padEnd(4)}  ${finding.check}: ${finding.what}`);
          if (finding.remedy !== undefined) lines.push(`        what to do: ${finding.remedy}`);
        }
      }
      const sum = { stores: definitions.length, stops };
      if (stops > 0) {
        output.lines(lines);
        throw new Stop('not_ready', `${formatCount(stops, 'finding')} in the way of a backup or a restore`, sum);
      }
      output.result(sum, definitions.length === 0 ? [`no stores are defined in ${directory}`] : lines);
    });
}
