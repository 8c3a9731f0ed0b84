// holdfast ls STORE BACKUP [PATH]
import type { Command } from 'commander';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupAndPath } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { describeCommand, outputOf } from '../command.js';
import { openBackups } from '../open-backups.js';
import { entryFact, entryLine } from '../render-entry.js';

interface LsOptions extends AtOption {
  readonly recursive?: boolean;
}

export function lsCommand(): Command {
  return describeCommand({
    name: 'ls',
    summary: 'list what a backup holds: below a path, or its roots',
    examples: [
      'holdfast ls shop latest',
      'holdfast ls shop 42 data/uploads --recursive',
      'holdfast ls shop --at 2026-11-21T10:00:00Z data',
    ],
    exits: [65, 74, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', BACKUP_TEXT)
    .argument('[path]', '`<root>/<path>` in the backup; with --at it comes right after the store')
    .option(AT_FLAGS, AT_TEXT)
    .option('-r, --recursive', 'everything below, at any depth')
    .action(
      async (
        store: string,
        first: string | undefined,
        second: string | undefined,
        options: LsOptions,
        command: Command,
      ) => {
        const output = outputOf(command);
        const { backup: reference, path = '' } = backupAndPath([first, second], options);
        const backup = await (await openBackups(command, store)).view(reference);
        const { entriesBelow, entryName } = await import('../../vault/entries.js');
        const depthMax = options.recursive === true ? null : 1;
        const wanted = path.replace(/\/+$/, '');
        let count = 0;
        for await (const entry of entriesBelow(backup.entries(), wanted, { depthMax })) {
          // What is in a directory is asked for, not the directory
          if (entry.type === 'directory' && entryName(entry) === wanted) continue;
          count += 1;
          output.event('entry', entryFact(entry));
          output.lines([entryLine(entry)]);
        }
        output.result({ backup: backup.path, backupId: backup.head.backupId, count }, []);
      },
    );
}
