// holdfast plan STORE [BACKUP]
import type { Command } from 'commander';
import type { Adopted } from '../../domain/adoption.js';
import type { PlanReport, RestoreSource } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { ADOPT, AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupSource, FROM } from '../backup-argument.js';
import type { SourceOptions } from '../backup-argument.js';
import { carryOut } from '../carry-out.js';
import { describeCommand, operationOptions } from '../command.js';
import type { GlobalOptions } from '../command.js';
import { formatBytes, formatCount, shellWord } from '../output.js';

interface PlanOptions extends SourceOptions {
  readonly rollback?: string;
}

export function planCommand(): Command {
  return describeCommand({
    name: 'plan',
    summary: 'say what a restore or rollback would do, and what would be lost at most; changes nothing',
    examples: [
      'holdfast plan shop latest',
      'holdfast plan shop 42',
      'holdfast plan shop --rollback latest',
      'holdfast plan shop 42 --adopt SHA256:…    # the vault refuses that key',
    ],
    exits: [65, 69, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', `${BACKUP_TEXT}; \`latest\` by default`)
    .option(AT_FLAGS, AT_TEXT)
    .option(...FROM)
    .option(...ADOPT)
    .option('--rollback <point>', 'plan the rollback to a rollback point instead: `latest`, or its id')
    .action(async (store: string, backup: string | undefined, options: PlanOptions, command: Command) => {
      const { from, rollback, at, adopt } = options;
      const named = backup ?? at ?? from ?? adopt;
      if (named !== undefined && rollback !== undefined)
        throw new Stop('ambiguous_intent', 'a backup and a rollback point: one of them is to be planned', {
          backup: named,
          rollback,
        });
      const source: RestoreSource =
        rollback === undefined ? backupSource(backup, options, 'latest') : { kind: 'rollback', point: rollback };
      await carryOut(
        command,
        store,
        (holdfast) => holdfast.plan(store, source, operationOptions(command)),
        (report) => [...describePlan(report), '', `To carry it out: ${confirmLine(command, store, source, report)}`],
      );
    });
}

export function describePlan({ plan, digest }: PlanReport): string[] {
  return [
    plan.sentence,
    '',
    `  source  ${plan.source.path}`,
    `          ${formatCount(plan.source.files, 'file')}, ${formatBytes(plan.source.sizeBytes)}, sha256 ${plan.source.sha256}`,
    ...signerLines(plan.source.adopted, '  signer  '),
    ...plan.roots.map((root) => `  root    ${root.path}, exchanged by ${root.mode}: ${root.why}`),
    `  stays   at most ${formatCount(plan.bounds.filesCarriedOverMax, 'file')} outside the members, carried over`,
    `  hooks   ${plan.hooks.join(', ') || 'none'}`,
    `  gates   version ${plan.gates.version}, modules ${plan.gates.modules}`,
    `  digest  ${digest}`,
  ];
}

/** Of an adoption; nothing where the vault believes who signed. */
export function signerLines(adopted: Adopted | undefined, label: string): readonly string[] {
  return adopted === undefined ? [] : [`${label}${adopted.signer}, adopted although ${adopted.reason}`];
}

/** The command that carries out exactly this plan, as a shell reads it. */
export function confirmLine(
  command: Command,
  store: string,
  source: RestoreSource,
  { plan, digest }: PlanReport,
): string {
  const { host } = command.optsWithGlobals<GlobalOptions>();
  const wanted = source.kind === 'backup' ? ['restore', store, plan.source.path] : ['rollback', store, plan.source.id];
  if (source.kind === 'backup' && source.from !== undefined) wanted.push('--from', source.from);
  if (source.kind === 'backup' && source.adopt !== undefined) wanted.push('--adopt', source.adopt);
  return ['holdfast', ...wanted, '--confirm', digest, ...(host === undefined ? [] : ['--host', host])]
    .map(shellWord)
    .join(' ');
}
