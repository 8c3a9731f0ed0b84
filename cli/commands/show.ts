// holdfast show STORE BACKUP
import type { Command } from 'commander';
import { stateDirectory } from '../../client/state-directory.js';
import { sumForeignKeys } from '../../domain/foreign-keys.js';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupOf } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { foreignKeyLines, formatPause, table } from '../output.js';

interface ShowOptions extends AtOption {
  readonly files?: boolean;
}

export function showCommand(): Command {
  return describeCommand({
    name: 'show',
    summary: 'show what one backup holds, from its manifest',
    examples: [
      'holdfast show shop latest',
      'holdfast show shop latest --files',
      'holdfast show shop --at 2026-11-21T10:00:00Z',
    ],
    exits: [65, 74, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', `${BACKUP_TEXT}; \`latest\` by default`)
    .option(AT_FLAGS, AT_TEXT)
    .option('--files', 'list every file with its digest')
    .action(async (store: string, backup: string | undefined, options: ShowOptions, command: Command) => {
      const output = outputOf(command);
      const reference = backupOf(backup, options, 'latest');
      const { loadDefinitionAlone } = await import('../../definitions/load.js');
      const { resolveBackup } = await import('../../control/backup-source.js');
      const host = { definitionsDirectory: localDefinitions(command), stateDirectory: stateDirectory() };
      const definition = await loadDefinitionAlone(host.definitionsDirectory, store);
      const { manifest, manifestSha256, path } = await resolveBackup(host, definition, store, reference);
      const { entries, databases, ...head } = manifest;
      const files = entries.filter((entry) => entry.type !== 'directory');
      const violating = databases.filter(({ foreignKeys }) => foreignKeys !== undefined);
      if (options.files === true) for (const entry of files) output.event('file', entry);
      output.result({ path, manifestSha256, ...head, databases }, [
        `backup    ${head.backupId} of store ${head.store}`,
        `path      ${path}`,
        `created   ${head.createdAt} by ${head.createdBy} on ${head.host}`,
        `instant   ${head.cut.instant}, ${formatPause(head.cut)}`,
        `manifest  sha256 ${manifestSha256}`,
        '',
        ...table([
          ['DATABASE', 'TABLES', 'ROWS', 'INTEGRITY CHECKED'],
          ...databases.map((database) => [
            `${database.root}/${database.path}`,
            String(database.tables.length),
            String(database.tables.reduce((sum, entry) => sum + entry.rows, 0)),
            database.integrityCheckedAt,
          ]),
        ]),
        ...(violating.length > 0 ? [''] : []),
        ...violating.flatMap((database) =>
          foreignKeyLines(sumForeignKeys([database]), `${database.root}/${database.path}: `),
        ),
        ...(options.files === true
          ? ['', ...files.map((entry) => `${entry.sha256}  ${entry.root}/${entry.path}`)]
          : []),
      ]);
    });
}
