// holdfast list STORE
import type { Command } from 'commander';
import { stateDirectory } from '../../client/state-directory.js';
import { backupPlace, describeBackupPlace } from '../../domain/backup-place.js';
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
      const { listBackups } = await import('../../control/backups.js');
      const definitionsDirectory = localDefinitions(command);
      const definition = await loadDefinitionAlone(definitionsDirectory, store);
      const place = describeBackupPlace(backupPlace(definition));
      const backups = await listBackups({ definitionsDirectory, stateDirectory: stateDirectory() }, definition);
      for (const backup of backups) output.event('backup', backup);
      output.result(
        { store, destination: place, count: backups.length },
        backups.length === 0
          ? [`no backups of ${store} in ${place}`]
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
