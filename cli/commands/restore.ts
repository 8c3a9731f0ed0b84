// holdfast restore STORE BACKUP --confirm DIGEST
import type { Command } from 'commander';
import { ADOPT, AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupSource, FROM } from '../backup-argument.js';
import type { SourceOptions } from '../backup-argument.js';
import { describeCommand } from '../command.js';
import { replace } from '../replace.js';
import type { ReplaceOptions } from '../replace.js';

export function restoreCommand(): Command {
  return describeCommand({
    name: 'restore',
    summary: 'replace a store by a backup, all or nothing; the present state is kept as a rollback point',
    examples: [
      'holdfast restore shop latest    # shows the plan, does nothing',
      'holdfast restore shop latest --confirm 6f0c…    # carries out that plan',
      'holdfast restore shop --at 2026-11-21T10:00:00Z',
      'holdfast restore shop2 latest --from shop    # as a new store',
      'holdfast restore shop 42 --adopt SHA256:…    # the vault refuses that key',
    ],
    exits: [65, 69, 73, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', BACKUP_TEXT)
    .option(AT_FLAGS, AT_TEXT)
    .option('--confirm <digest>', 'digest of the plan that you have read')
    .option(...FROM)
    .option(...ADOPT)
    .option('--operation <uuid>', 'id of the operation: the same id never runs twice')
    .action((store: string, backup: string | undefined, options: ReplaceOptions & SourceOptions, command: Command) =>
      replace(store, backupSource(backup, options), options, command),
    );
}
