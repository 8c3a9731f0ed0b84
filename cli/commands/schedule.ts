// holdfast schedule apply | list | run STORE PROTOCOL | pause STORE PROTOCOL | resume STORE PROTOCOL
import { Argument } from 'commander';
import type { Command } from 'commander';
import type { ScheduleChange } from '../../client/schedules.js';
import { SCHEDULED_PROTOCOLS } from '../../domain/definition.js';
import { scheduleId } from '../../domain/names.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf, requestedBy, withHoldfast } from '../command.js';
import type { ExitStatus } from '../command.js';
import { formatCount, table } from '../output.js';

const EXITS: readonly ExitStatus[] = [69, 74, 75, 77, 78];
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
    .addCommand(changeCommand('run', 'ask for a start now; skipped where the last one is still at work'))
    .addCommand(changeCommand('pause', 'let nothing be started until `resume`; `apply` does not resume'))
    .addCommand(changeCommand('resume', 'let a paused schedule go on with its next instant'));
}

function applyCommand(): Command {
  return describeCommand({
    name: 'apply',
    summary: 'make the schedules in the engine what the definitions of this host say',
    examples: [
      APPLY,
      'holdfast schedule apply',
      'holdfast schedule apply --confirm    # removes what no definition names',
    ],
    exits: EXITS,
  })
    .option('--dry-run', 'say what would be changed, and change nothing')
    .option('--confirm', 'remove the schedules of this host that no definition names any more')
    .action(async ({ dryRun = false, confirm = false }: ApplyOptions, command: Command) => {
      const output = outputOf(command);
      const { loadDefinitions } = await import('../../definitions/load.js');
      const { schedulesOf } = await import('../../definitions/cron.js');
      const { applySchedules } = await import('../../client/schedules.js');
      const wanted = schedulesOf(await loadDefinitions(localDefinitions(command)));
      await withHoldfast(command, [], async (_holdfast, { client, host }) => {
        const changes = await applySchedules(client, wanted, { host, dryRun, removes: confirm });
        for (const change of changes) output.event('schedule', change);
        output.lines(changes.flatMap(describeChange));
        const removals = changes.filter(({ change }) => change === 'remove').map(({ id }) => id);
        // A directory that is not mounted names none, either
        if (removals.length > 0 && !confirm && !dryRun)
          throw new Stop(
            'approval_missing',
            `${formatCount(removals.length, 'schedule')} would be removed, all else was done`,
            {
              removals,
              confirm: 'holdfast schedule apply --confirm',
            },
          );
        const changed = changes.filter(({ change }) => change !== 'none').length;
        output.result({ host, dryRun, schedules: changes.length, changed }, [
          `${formatCount(changes.length, 'schedule')} of ${host}, ${changed} ${dryRun ? 'to be changed' : 'changed'}`,
        ]);
      });
    });
}

interface ApplyOptions {
  readonly dryRun?: boolean;
  readonly confirm?: boolean;
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

const DONE = { run: 'was asked to start', pause: 'is paused', resume: 'goes on' } as const;

function changeCommand(name: 'run' | 'pause' | 'resume', summary: string): Command {
  return describeCommand({ name, summary, examples: [`holdfast schedule ${name} shop backup`], exits: EXITS })
    .argument('<store>', 'store id')
    .addArgument(new Argument('<protocol>', 'what is scheduled').choices(SCHEDULED_PROTOCOLS))
    .action(async (store: string, protocol: string, _options: object, command: Command) => {
      const { changeSchedule } = await import('../../client/schedules.js');
      await withHoldfast(command, [store], async (_holdfast, { client, host }) => {
        const id = scheduleId(store, protocol);
        await changeSchedule(client, id, name, { host, note: `${name} by ${requestedBy()}` });
        outputOf(command).result({ id, done: name }, [`the ${protocol} schedule of ${store} ${DONE[name]}`]);
      });
    });
}
