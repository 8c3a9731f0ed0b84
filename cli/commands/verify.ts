// holdfast verify STORE [BACKUP]
import { basename } from 'node:path';
import type { Command } from 'commander';
import { carryOut } from '../carry-out.js';
import { describeCommand, operationOptions } from '../command.js';
import { foreignKeyLines, formatBytes, formatCount, formatSteps } from '../output.js';

export function verifyCommand(): Command {
  return describeCommand({
    name: 'verify',
    summary: 'check a backup: every byte, and the integrity of every database',
    examples: ['holdfast verify shop', 'holdfast verify shop 42'],
    exits: [65, 69, 74, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', '`latest`, a backup id, name or number, a unique prefix of one, or a path', 'latest')
    .action((store: string, backup: string, _options: object, command: Command) =>
      carryOut(
        command,
        store,
        (holdfast) => holdfast.verify(store, backup, operationOptions(command)),
        (report) => [
          `backup ${basename(report.artefact)} is whole: ${formatCount(report.files, 'file')}, ${formatBytes(report.sizeBytes)}, ${formatCount(report.databases, 'database')} checked`,
          ...foreignKeyLines(report.foreignKeys, '  keys  '),
          `  took  ${formatSteps(report.steps)}`,
        ],
      ),
    );
}
