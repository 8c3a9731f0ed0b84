// holdfast diff STORE BACKUP BACKUP [PATH] [--rows]
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { EntryDifference, RowOptions } from '../../control/browse.js';
import type { BackupView } from '../../control/backup-source.js';
import { BACKUP_TEXT } from '../backup-argument.js';
import { describeCommand, outputOf } from '../command.js';
import { interruptible } from '../interruptible.js';
import { openBackups } from '../open-backups.js';
import type { Output } from '../output.js';
import { entryFact, printable } from '../render-entry.js';
import { rowLines } from '../render-rows.js';

interface DiffOptions {
  readonly rows?: boolean;
  readonly keys: number;
}

const KEYS = 10;

export function diffCommand(): Command {
  return describeCommand({
    name: 'diff',
    summary: 'say what a backup has otherwise than another: files, and with --rows the rows of databases',
    examples: ['holdfast diff shop 41 42', 'holdfast diff shop 41 latest data/orders.db --rows'],
    exits: [65, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('<before>', BACKUP_TEXT)
    .argument('<after>', 'the other one')
    .argument('[path]', '`<root>/<path>`: only this, and what is below it', '')
    .option('--rows', 'compare the tables of databases by primary key')
    .option('--keys <number>', 'keys to tell of each table and kind of difference', wholeNumber, KEYS)
    .addHelpText('after', '\nWhether there are differences is no matter of the exit status.')
    .action(
      async (store: string, first: string, second: string, path: string, options: DiffOptions, command: Command) => {
        const output = outputOf(command);
        const backups = await openBackups(command, store);
        const [before, after] = [await backups.view(first), await backups.view(second)];
        const { diffBackups, diffDatabase, isChangedDatabase } = await import('../../control/browse.js');
        const counts = { added: 0, removed: 0, changed: 0 };
        await interruptible(async (signal) => {
          for await (const difference of diffBackups(before, after, path)) {
            counts[difference.change] += 1;
            tell(output, difference);
            if (options.rows !== true || !isChangedDatabase(difference)) continue;
            const rowOptions: RowOptions = { keysMax: options.keys, signal };
            const rows = await diffDatabase(
              backups.host,
              [before, difference.before],
              [after, difference.after],
              rowOptions,
            );
            output.event('rows', { name: difference.name, ...rows });
            output.lines(rowLines(rows));
          }
        });
        output.result({ before: sideOf(before), after: sideOf(after), ...counts }, []);
        output.note(`${counts.added} added, ${counts.removed} removed, ${counts.changed} changed`);
      },
    );
}

function wholeNumber(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError('it is a whole number');
  return Number(text);
}

const sideOf = ({ path, head }: BackupView) => ({ path, backupId: head.backupId, createdAt: head.createdAt });

const MARKS = { added: '+', removed: '-', changed: '~' } as const;

function tell(output: Output, { name, change, differences, before, after }: EntryDifference): void {
  output.event('difference', {
    name,
    change,
    differences,
    before: before === null ? null : entryFact(before),
    after: after === null ? null : entryFact(after),
  });
  output.lines([
    `${MARKS[change]} ${printable(name)}${differences.length === 0 ? '' : `  (${differences.join(', ')})`}`,
  ]);
}
