// holdfast plan STORE [BACKUP]
import type { Command } from 'commander';
import type { PlanReport, RestoreSource } from '../../domain/protocol.js';
import { Stop } from '../../domain/stop.js';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupOf } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { carryOut } from '../carry-out.js';
import { describeCommand, operationOptions } from '../command.js';
import type { GlobalOptions } from '../command.js';
import { formatBytes, formatCount, shellWord } from '../output.js';

interface PlanOptions extends AtOption {
  readonly from?: string;
  readonly rollback?: string;
}

export function planCommand(): Command {
  return describeCommand({
    name: 'plan',
    summary: 'say what a restore or rollback would do, and what would be lost at most; changes nothing',
    examples: ['holdfast plan shop latest', 'holdfast plan shop 42', 'holdfast plan shop --rollback latest'],
    exits: [65, 69, 74, 75, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('[backup]', `${BACKUP_TEXT}; \`latest\` by default`)
    .option(AT_FLAGS, AT_TEXT)
    .option('--from <store>', 'the backup is of that store, and this one is new')
    .option('--rollback <point>', 'plan the rollback to a rollback point instead: `latest`, or its id')
    .action(async (store: string, backup: string | undefined, options: PlanOptions, command: Command) => {
      const { from, rollback, at } = options;
      const named = backup ?? at ?? from;
      if (named !== undefined && rollback !== undefined)
        throw new Stop('ambiguous_intent', 'a backup and a rollback point: one of them is to be planned', {
          backup: named,
          rollback,
        });
      const source: RestoreSource =
        rollback === undefined
          ? { kind: 'backup', backup: backupOf(backup, options, 'latest'), ...(from !== undefined && { from }) }
          : { kind: 'rollback', point: rollback };
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
    ...plan.roots.map((root) => `  root    ${root.path}, exchanged by ${root.mode}: ${root.why}`),
    `  stays   at most ${formatCount(plan.bounds.filesCarriedOverMax, 'file')} outside the members, carried over`,
    `  hooks   ${plan.hooks.join(', ') || 'none'}`,
    `  gates   version ${plan.gates.version}, modules ${plan.gates.modules}`,
    `  digest  ${digest}`,
  ];
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
  return ['holdfast', ...wanted, '--confirm', digest, ...(host === undefined ? [] : ['--host', host])]
    .map(shellWord)
    .join(' ');
}
