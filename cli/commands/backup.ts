// holdfast backup STORE
import { basename } from 'node:path';
import type { Command } from 'commander';
import { carryOut } from '../carry-out.js';
import { describeCommand, operationOptions } from '../command.js';
import { foreignKeyLines, formatBytes, formatCount, formatPause, formatSteps } from '../output.js';

interface BackupCommandOptions {
  readonly operation?: string;
  readonly rehash?: boolean;
}

export function backupCommand(): Command {
  return describeCommand({
    name: 'backup',
    summary: 'back up a store: every database and file of it at one instant',
    examples: [
      'holdfast backup shop',
      'holdfast backup shop --rehash',
      'holdfast backup shop --json | tail -1 | jq .artefact',
    ],
    exits: [65, 69, 73, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .option(
      '--rehash',
      'read and write everything anew, whatever a vault seems to have; outside a vault that is always so',
    )
    .option('--operation <uuid>', 'id of the operation: the same id never runs twice')
    .action((store: string, options: BackupCommandOptions, command: Command) =>
      carryOut(
        command,
        store,
        (holdfast) =>
          holdfast.backup(store, {
            ...operationOptions(command, options.operation),
            ...(options.rehash !== undefined && { rehash: options.rehash }),
          }),
        (report) => [
          `backup ${basename(report.artefact)} of store ${store}`,
          `  path      ${report.artefact}`,
          `  holds     ${formatCount(report.databases, 'database')}, ${formatCount(report.files - report.databases, 'other file')}, ${formatBytes(report.sizeBytes)}`,
          ...foreignKeyLines(report.foreignKeys, '  keys      '),
          `  instant   ${report.cut.instant}, ${formatPause(report.cut)}`,
          `  manifest  sha256 ${report.manifestSha256}`,
          `  took      ${formatSteps(report.steps)}`,
        ],
      ),
    );
}
