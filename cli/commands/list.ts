// holdfast list STORE
import type { Command } from 'commander';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { formatBytes, formatMillis, table } from '../output.js';

export function listCommand(): Command {
  return describeCommand({
    name: 'list',
    summary: 'list the backups of a store in the order in which they were published',
    examples: ['holdfast list shop', 'holdfast list shop --json'],
    exits: [74, 77, 78],
  })
    .argument('<store>', 'store id')
    .action(async (store: string, _options: object, command: Command) => {
      const output = outputOf(command);
      const { loadDefinitionAlone } = await import('../../definitions/load.js');
      const { listArtefacts } = await import('../../artefacts/catalogue.js');
      const definition = await loadDefinitionAlone(localDefinitions(command), store);
      const backups = await listArtefacts(definition.backup.destination, store);
      for (const backup of backups) output.event('backup', backup);
      output.result(
        { store, destination: definition.backup.destination, count: backups.length },
        backups.length === 0
          ? [`no backups of ${store} in ${definition.backup.destination}`]
          : table([
              ['NAME', 'CREATED', 'HOST', 'SIZE', 'FILES', 'PAUSE', 'STATE'],
              ...backups.map((entry) => [
                entry.name,
                entry.createdAt ?? '-',
                entry.host ?? '-',
                entry.sizeBytes === undefined ? '-' : formatBytes(entry.sizeBytes),
                String(entry.files ?? '-'),
                entry.pauseMillis === undefined ? '-' : formatMillis(entry.pauseMillis),
                entry.stop === undefined ? 'readable' : `STOP ${entry.stop.code}`,
              ]),
            ]),
      );
    });
}
