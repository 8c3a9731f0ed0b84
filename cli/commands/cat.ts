// holdfast cat STORE BACKUP PATH
import { createReadStream } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Command } from 'commander';
import { Stop } from '../../domain/stop.js';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupAndPath } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { describeCommand, outputOf } from '../command.js';
import { interruptible } from '../interruptible.js';
import { openBackups } from '../open-backups.js';
import { formatBytes } from '../output.js';
import { entryFact, printable } from '../render-entry.js';

interface CatOptions extends AtOption {
  readonly output?: string;
}

export function catCommand(): Command {
  return describeCommand({
    name: 'cat',
    summary: 'print one file of a backup, once all of its bytes have proved to be those of its digest',
    examples: [
      'holdfast cat shop latest data/uploads/1.jpg > 1.jpg',
      'holdfast cat shop 42 data/orders.db --output orders.db',
      'holdfast cat shop --at 2026-11-21T10:00:00Z data/notes.txt',
    ],
    exits: [65, 73, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', BACKUP_TEXT)
    .argument('[path]', '`<root>/<path>` of the file; with --at it comes right after the store')
    .option(AT_FLAGS, AT_TEXT)
    .option('-o, --output <file>', 'write it there, where nothing may be yet, mode 0600')
    .action(
      async (
        store: string,
        first: string | undefined,
        second: string | undefined,
        options: CatOptions,
        command: Command,
      ) => {
        const output = outputOf(command);
        const { backup: reference, path: name } = backupAndPath([first, second], options);
        if (name === undefined) throw new Stop('usage', 'name the file: `<root>/<path>`, as `holdfast ls` has it', {});
        if (output.json && options.output === undefined)
          throw new Stop('usage', 'bytes are no JSON: give --output with --json', {});
        const { host, view } = await openBackups(command, store);
        const backup = await view(reference);
        const { extractFile, withFileOf } = await import('../../control/browse.js');
        await interruptible(async (signal) => {
          if (options.output === undefined) {
            await withFileOf(host, backup, name, { signal }, (path) => print(path));
            return;
          }
          const target = isAbsolute(options.output) ? options.output : join(process.cwd(), options.output);
          const entry = await extractFile(backup, name, target, { signal });
          output.result({ backup: backup.path, backupId: backup.head.backupId, output: target, ...entryFact(entry) }, [
            `${printable(name)} of ${backup.path}: ${formatBytes(entry.sizeBytes)} in ${printable(target)}`,
          ]);
        });
      },
    );
}

/** Not faster than it is read; whoever reads no further wants no more. */
async function print(path: string): Promise<void> {
  for await (const bytes of createReadStream(path)) {
    const error = await new Promise<Error | null | undefined>((resolve) =>
      process.stdout.write(bytes as Buffer, resolve),
    );
    if (error instanceof Error) {
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') return;
      throw new Stop('io_error', 'stdout took no more', { reason: error.message }, { cause: error });
    }
  }
}
