// holdfast verify STORE [BACKUP]
import { basename } from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import { VERIFY_DEPTHS } from '../../domain/protocol.js';
import type { VerifyDepth, VerifyReport } from '../../domain/protocol.js';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupOf } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { carryOut } from '../carry-out.js';
import { describeCommand, operationOptions } from '../command.js';
import { foreignKeyLines, formatBytes, formatCount, formatSteps } from '../output.js';

interface VerifyOptions extends AtOption {
  readonly depth: VerifyDepth;
  readonly seed?: string;
}

export function verifyCommand(): Command {
  return describeCommand({
    name: 'verify',
    summary: 'check a backup: every byte, and the integrity of every database',
    examples: [
      'holdfast verify shop',
      'holdfast verify shop 42',
      'holdfast verify shop --at 2026-11-21T10:00:00Z',
      'holdfast verify shop all --depth ciphertext',
    ],
    exits: [65, 69, 74, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', `${BACKUP_TEXT}; \`all\`: every one in the vault (default: latest)`)
    .option(AT_FLAGS, AT_TEXT)
    .addOption(
      new Option(
        '--depth <depth>',
        'of a vault: what is sealed, without a key; also a sample of the contents; everything, with each database',
      )
        .choices(VERIFY_DEPTHS)
        .default('full'),
    )
    .option('--seed <seed>', 'chooses the files of a sample again, as a report has it')
    .action((store: string, named: string | undefined, options: VerifyOptions, command: Command) => {
      const { depth, seed, at } = options;
      const backup = backupOf(named, at === undefined ? {} : { at }, 'latest');
      return carryOut(
        command,
        store,
        (holdfast) =>
          holdfast.verify(store, backup, {
            ...operationOptions(command),
            depth,
            ...(seed !== undefined && { seed }),
          }),
        linesOf,
      );
    });
}

function linesOf(report: VerifyReport): readonly string[] {
  const { artefact, backups, packs, packBytes = 0, sample, foreignKeys } = report;
  const which =
    backups === 1 ? `backup ${basename(artefact)} is` : `${backups} backups, up to ${basename(artefact)}, are`;
  return [
    `${which} ${foundOf(report)}`,
    ...(packs === undefined ? [] : [`  packs  ${packs}, ${formatBytes(packBytes)}, each as it was written`]),
    ...(sample === undefined
      ? []
      : [
          `  sample ${formatCount(sample.files, 'file')}, by seed ${sample.seed}`,
          ...sample.listed.map((file) => `         ${file}`),
        ]),
    ...(foreignKeys === undefined ? [] : foreignKeyLines(foreignKeys, '  keys   ')),
    ...(packs === undefined || report.depth === 'ciphertext'
      ? []
      : [`  signed ${report.countersigned ? 'this host vouches for it' : 'no: this host has no key that may'}`]),
    `  took   ${formatSteps(report.steps)}`,
  ];
}

/** What depth says: no more than was looked at. */
function foundOf({ depth, files, sizeBytes, databases }: VerifyReport): string {
  const size = `${formatCount(files, 'file')}, ${formatBytes(sizeBytes)}`;
  if (depth === 'ciphertext') return `sealed as it was: ${size}; nothing was opened`;
  if (depth === 'sample') return `sealed as it was, and sound in a sample: ${size}`;
  return `whole: ${size}, ${formatCount(databases, 'database')} checked`;
}
