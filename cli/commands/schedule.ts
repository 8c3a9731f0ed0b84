// holdfast schedule apply | list | run STORE PROTOCOL | pause STORE PROTOCOL | resume STORE PROTOCOL
import { Argument } from 'commander';
import type { Command } from 'commander';
import type { ScheduleChange } from '../../client/schedules.js';
import { SCHEDULED_PROTOCOLS } from '../../domain/definition.js';
import { scheduleId } from '../../domain/names.js';
import { describeCommand, localDefinitions, outputOf, requestedBy, withHoldfast } from '../command.js';
import type { ExitStatus } from '../command.js';
import { formatCount, table } from '../output.js';

const EXITS: readonly ExitStatus[] = [69, 74, 77, 78];
const APPLY = 'holdfast schedule apply --dry-run';
const LIST = 'holdfast schedule list';

export function scheduleCommand(): Command {
  return describeCommand({
    name: 'schedule',
    summary: 'let the engine start backups and verifications by itself, as the definitions say',
    examples: [APPLY, LIST, 'holdfast schedule run shop backup'],
    exits: EXITS,
  })
    .addCommand(applyCommand())
    .addCommand(listCommand())
    .addCommand(
      changeCommand('run', 'start what is scheduled now, once; skipped where the last start is still at work'),
    )
    .addCommand(changeCommand('pause', 'let nothing be started until `resume`; `apply` does not resume'))
    .addCommand(changeCommand('resume', 'let a paused schedule go on with its next instant'));
}

function applyCommand(): Command {
  return describeCommand({
    name: 'apply',
    summary:
      'make the schedules in the engine what the definitions of this host say, and remove all others of this host',
    examples: [APPLY, 'holdfast schedule apply'],
    exits: EXITS,
  })
    .option('--dry-run', 'say what would be changed, and change nothing')
    .action(async ({ dryRun = false }: { readonly dryRun?: boolean }, command: Command) => {
      const output = outputOf(command);
      const { loadDefinitions } = await import('../../definitions/load.js');
      const { applySchedules } = await import('../../client/schedules.js');
      const { schedulesOf } = await import('../../definitions/cron.js');
      const wanted = schedulesOf(await loadDefinitions(localDefinitions(command)));
      await withHoldfast(command, [], async (_holdfast, { client, host }) => {
        const changes = await applySchedules(client, wanted, { host, dryRun });
        for (const change of changes) output.event('schedule', change);
        const count = changes.filter(({ change }) => change !== 'none').length;
        output.result({ host, dryRun, schedules: changes.length, changed: count }, [
          ...changes.flatMap(describeChange),
          `${formatCount(changes.length, 'schedule')} of ${host}, ${count} ${dryRun ? 'to be changed' : 'changed'}`,
        ]);
      });
    });
}

const MARKS = { create: '+', update: '~', remove: '-', none: ' ' } as const;

function describeChange({ id, change, differences }: ScheduleChange): string[] {
  const head = `${MARKS[change]} ${id}`;
  if (change !== 'update') return [head];
  return [head, ...differences.map(({ what, from, to }) => `    ${what}: ${from ?? 'none'} -> ${to ?? 'none'}`)];
}

function listCommand(): Command {
  return describeCommand({
    name: 'list',
    summary: 'list the schedules of this host: when each starts next, and when it last did',
    examples: [LIST, 'holdfast schedule list --json'],
    exits: EXITS,
  }).action(async (_options: object, command: Command) => {
    const output = outputOf(command);
    const { listSchedules } = await import('../../client/schedules.js');
    await withHoldfast(command, [], async (_holdfast, { client, host }) => {
      const schedules = await listSchedules(client, host);
      for (const schedule of schedules) output.event('schedule', schedule);
      output.result(
        { host, count: schedules.length },
        schedules.length === 0
          ? [`no schedules of ${host}: \`holdfast schedule apply\` makes those of the definitions`]
          : table([
              ['STORE', 'PROTOCOL', 'NEXT', 'LAST', 'MISSED', 'OVERLAPPED', 'STATE'],
              ...schedules.map(({ store, protocol, next, last, missed, overlapped, paused, note }) => [
                store,
                protocol,
                next ?? '-',
                last ?? '-',
                String(missed),
                String(overlapped),
                paused ? `paused: ${note ?? ''}` : 'active',
              ]),
            ]),
      );
    });
  });
}

const DONE = { run: 'was started', pause: 'is paused', resume: 'goes on' } as const;

function changeCommand(name: 'run' | 'pause' | 'resume', summary: string): Command {
  return describeCommand({ name, summary, examples: [`holdfast schedule ${name} shop backup`], exits: EXITS })
    .argument('<store>', 'store id')
    .addArgument(new Argument('<protocol>', 'what is scheduled').choices(SCHEDULED_PROTOCOLS))
    .action(async (store: string, protocol: string, _options: object, command: Command) => {
      const { changeSchedule } = await import('../../client/schedules.js');
      await withHoldfast(command, [store], async (_holdfast, { client }) => {
        const id = scheduleId(store, protocol);
        await changeSchedule(client, id, name, `${name} by ${requestedBy()}`);
        outputOf(command).result({ id, done: name }, [`the ${protocol} schedule of ${store} ${DONE[name]}`]);
      });
    });
}
