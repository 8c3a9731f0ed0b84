// Temporal Schedules of the stores of a host, made from their definitions (clause T-6): what there is, what there should
// be, and the difference. A schedule that a person paused stays paused; one that is in no definition any more is removed.
import { ScheduleAlreadyRunning, ScheduleNotFoundError } from '@temporalio/client';
import type { CalendarSpecDescription, Client, ScheduleDescription, ScheduleOptions } from '@temporalio/client';
import type { Calendar, StoreSchedule } from '../domain/definition.js';
import { WORKFLOW_QUEUE, scheduleId } from '../domain/names.js';
import type { ScheduledOrder } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';

/** What of a schedule can differ, by names for people; every value as it is shown. */
type Facts = Readonly<Record<string, string>>;

export interface ScheduleChange {
  readonly id: string;
  readonly change: 'create' | 'update' | 'remove' | 'none';
  readonly differences: readonly { readonly what: string; readonly from: string | null; readonly to: string | null }[];
}

export interface ScheduleState {
  readonly id: string;
  readonly store: string;
  readonly protocol: string;
  readonly paused: boolean;
  readonly note: string | null;
  /** RFC 3339; null: none to come, or none yet. */
  readonly next: string | null;
  readonly last: string | null;
  readonly missed: number;
  readonly overlapped: number;
}

interface Wanted {
  readonly id: string;
  readonly options: ScheduleOptions & { readonly action: { readonly args: readonly [ScheduledOrder] } };
}

const MEMO_HOST = 'holdfastHost';

const MONTHS = [
  'JANUARY',
  'FEBRUARY',
  'MARCH',
  'APRIL',
  'MAY',
  'JUNE',
  'JULY',
  'AUGUST',
  'SEPTEMBER',
  'OCTOBER',
  'NOVEMBER',
  'DECEMBER',
] as const;
const DAYS = ['SUNDAY', 'MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY'] as const;

/** Every policy is written out, so that none is the default of a server. */
function wantedOf(schedule: StoreSchedule, host: string): Wanted {
  const { store, protocol, cron, calendar, timeZone, jitterSeconds, catchUpSeconds } = schedule;
  const id = scheduleId(store, protocol);
  const order: ScheduledOrder = { store, host, requestedBy: 'schedule', start: protocol };
  const options: Wanted['options'] = {
    scheduleId: id,
    spec: { calendars: [toSpec(calendar, cron)], timezone: timeZone, jitter: jitterSeconds * 1000 },
    action: {
      type: 'startWorkflow',
      workflowType: 'scheduled',
      workflowId: id,
      taskQueue: WORKFLOW_QUEUE,
      args: [order],
      staticSummary: `${protocol} of ${store}, scheduled`,
    },
    // A backup that is still at work is not joined by another; one that failed does not end those to come
    policies: { overlap: 'SKIP', catchupWindow: catchUpSeconds * 1000, pauseOnFailure: false },
    memo: { [MEMO_HOST]: host },
  };
  return { id, options };
}

function toSpec({ second, minute, hour, dayOfMonth, month, dayOfWeek }: Calendar, comment: string) {
  return {
    second: [...second],
    minute: [...minute],
    hour: [...hour],
    dayOfMonth: [...dayOfMonth],
    month: month.map((value) => nameOf(MONTHS, value - 1)),
    dayOfWeek: dayOfWeek.map((value) => nameOf(DAYS, value)),
    comment,
  };
}

function nameOf<Name extends string>(names: readonly Name[], index: number): Name {
  const name = names[index];
  if (name === undefined) throw new Error(`defect: no name of ${index}`);
  return name;
}

/** What the server says of a schedule, and what is wanted of one, in the same words. */
function factsOfWanted({ options: { spec, action, policies } }: Wanted): Facts {
  const { comment, ...fields } = spec.calendars?.[0] ?? {};
  return {
    cron: comment ?? '',
    instants: JSON.stringify([fields]),
    'time zone': spec.timezone ?? '',
    jitter: `${Number(spec.jitter) / 1000} s`,
    action: describeAction(action),
    overlap: String(policies?.overlap),
    'catch up': `${Number(policies?.catchupWindow) / 1000} s`,
    'pause on failure': String(policies?.pauseOnFailure),
    bounds: '',
  };
}

function factsOfPresent({ spec, action, policies, state }: ScheduleDescription): Facts {
  const { calendars = [], intervals = [], skip = [], startAt, endAt, jitter = 0, timezone = '' } = spec;
  return {
    cron: calendars.map(({ comment }) => comment ?? '').join(', '),
    instants: JSON.stringify(calendars.map(fieldsOf)),
    'time zone': timezone,
    jitter: `${jitter / 1000} s`,
    action: describeAction(action),
    overlap: String(policies.overlap),
    'catch up': `${policies.catchupWindow / 1000} s`,
    'pause on failure': String(policies.pauseOnFailure),
    bounds: [
      ...intervals.map(({ every }) => `every ${every / 1000} s`),
      ...skip.map(() => 'skips'),
      ...(startAt === undefined ? [] : [`from ${startAt.toISOString()}`]),
      ...(endAt === undefined ? [] : [`until ${endAt.toISOString()}`]),
      ...(state.remainingActions === undefined || state.remainingActions === 0
        ? []
        : [`${state.remainingActions} more`]),
    ].join(', '),
  };
}

function fieldsOf({ second, minute, hour, dayOfMonth, month, year, dayOfWeek }: CalendarSpecDescription): object {
  const numbers = (ranges: readonly { start: number; end: number; step: number }[]): number[] =>
    ranges.flatMap(({ start, end, step }) => {
      const values: number[] = [];
      for (let value = start; value <= Math.max(start, end); value += Math.max(1, step)) values.push(value);
      return values;
    });
  const named = <Name extends string>(
    names: readonly Name[],
    ranges: readonly { start: Name; end: Name; step: number }[],
  ): Name[] =>
    numbers(ranges.map(({ start, end, step }) => ({ start: names.indexOf(start), end: names.indexOf(end), step }))).map(
      (index) => nameOf(names, index),
    );
  return {
    second: numbers(second),
    minute: numbers(minute),
    hour: numbers(hour),
    dayOfMonth: numbers(dayOfMonth),
    month: named(MONTHS, month),
    dayOfWeek: named(DAYS, dayOfWeek),
    ...(year.length === 0 ? {} : { year: numbers(year) }),
  };
}

const ACTION_FACTS = [
  'workflowType',
  'workflowId',
  'taskQueue',
  'args',
  'staticSummary',
  'retry',
  'workflowExecutionTimeout',
  'workflowRunTimeout',
] as const;

/** Another input or queue is another deed: nothing of the action is left out. The server says 0 of a limit that is none. */
function describeAction(action: ScheduleDescription['action'] | ScheduleOptions['action']): string {
  return JSON.stringify(
    Object.fromEntries(ACTION_FACTS.map((fact) => [fact, action[fact] === 0 ? undefined : action[fact]])),
  );
}

function differencesOf(from: Facts | null, to: Facts | null): ScheduleChange['differences'] {
  const names = Object.keys(to ?? from ?? {});
  return names.flatMap((what) => {
    const [before, after] = [from?.[what] ?? null, to?.[what] ?? null];
    return before === after ? [] : [{ what, from: before, to: after }];
  });
}

/** The ids of the schedules that holdfast has made for a host. */
async function idsOf(client: Client, host: string): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { scheduleId: id, memo } of client.schedule.list()) if (memo?.[MEMO_HOST] === host) ids.push(id);
  return ids.sort();
}

async function describe(client: Client, id: string): Promise<ScheduleDescription | null> {
  try {
    return await client.schedule.getHandle(id).describe();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

/**
 * The host that a schedule is of, by what it starts; null: holdfast has not made it.
 * The server lets nobody change a memo, so that a schedule is moved only by whoever removes it first.
 */
function hostOf({ action, memo }: ScheduleDescription): string | null {
  const [order] = (action.args ?? []) as readonly Partial<ScheduledOrder>[];
  const host = memo?.[MEMO_HOST];
  return typeof host === 'string' && order?.host === host ? host : null;
}

/** @throws Stop schedule_foreign */
function assertOwn(present: ScheduleDescription, host: string): void {
  const owner = hostOf(present);
  if (owner === host) return;
  throw new Stop(
    'schedule_foreign',
    `the schedule ${present.scheduleId} ${owner === null ? 'was not made by holdfast, or was changed to start for another host' : `is that of host ${owner}`}`,
    { id: present.scheduleId, owner },
  );
}

/**
 * Makes the schedules of a host those that its definitions name, or says what would be done.
 * What no definition names is removed only where `removes` says so.
 * @returns a change for each schedule that is wanted or was there, in the order of their ids
 * @throws Stop schedule_foreign, before anything is changed; plan_stale where another one changes them at the same time
 */
export async function applySchedules(
  client: Client,
  schedules: readonly StoreSchedule[],
  { host, dryRun, removes }: { readonly host: string; readonly dryRun: boolean; readonly removes: boolean },
): Promise<readonly ScheduleChange[]> {
  const wanted = new Map(schedules.map((each) => wantedOf(each, host)).map((each) => [each.id, each]));
  const ids = [...new Set([...wanted.keys(), ...(await idsOf(client, host))])].sort();
  const found: { readonly change: ScheduleChange; readonly target: Wanted | null }[] = [];
  for (const id of ids) {
    const present = await describe(client, id);
    const target = wanted.get(id) ?? null;
    if (present !== null) assertOwn(present, host);
    const from = present === null ? null : factsOfPresent(present);
    const to = target === null ? null : factsOfWanted(target);
    if (from === null && to === null) continue;
    const differences = differencesOf(from, to);
    const change = from === null ? 'create' : to === null ? 'remove' : differences.length > 0 ? 'update' : 'none';
    found.push({ change: { id, change, differences }, target });
  }
  for (const { change, target } of dryRun ? [] : found)
    if (change.change !== 'remove' || removes) await carryOut(client, change.id, change.change, target);
  return found.map(({ change }) => change);
}

async function carryOut(
  client: Client,
  id: string,
  change: ScheduleChange['change'],
  target: Wanted | null,
): Promise<void> {
  try {
    if (target === null) await client.schedule.getHandle(id).delete();
    else if (change === 'create') await client.schedule.create(target.options);
    else if (change === 'update') await update(client, target);
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError || error instanceof ScheduleAlreadyRunning)) throw error;
    throw new Stop('plan_stale', `the schedule ${id} was changed at the same time`, { id }, { cause: error });
  }
}

async function update(client: Client, { id, options: { spec, action, policies = {} } }: Wanted): Promise<void> {
  await client.schedule.getHandle(id).update(({ state: { paused, note } }) => ({
    spec,
    action,
    policies,
    // Whoever paused it had a reason
    state: { paused, ...(note !== undefined && { note }) },
  }));
}

/** The schedules of a host, in the order of their ids. */
export async function listSchedules(client: Client, host: string): Promise<readonly ScheduleState[]> {
  const found = await Promise.all((await idsOf(client, host)).map((id) => describe(client, id)));
  return found.flatMap((present) => (present === null ? [] : [stateOf(present)]));
}

function stateOf({ scheduleId: id, state, info }: ScheduleDescription): ScheduleState {
  const [, store = '', , protocol = ''] = id.split('/');
  return {
    id,
    store,
    protocol,
    paused: state.paused,
    note: state.note ?? null,
    next: state.paused ? null : (info.nextActionTimes[0]?.toISOString() ?? null),
    last: info.recentActions.at(-1)?.takenAt.toISOString() ?? null,
    missed: info.numActionsMissedCatchupWindow,
    overlapped: info.numActionsSkippedOverlap,
  };
}

/**
 * Starts a schedule's action now, pauses it, or lets it go on.
 * @throws Stop schedule_missing, schedule_foreign
 */
export async function changeSchedule(
  client: Client,
  id: string,
  change: 'run' | 'pause' | 'resume',
  { host, note }: { readonly host: string; readonly note: string },
): Promise<void> {
  const handle = client.schedule.getHandle(id);
  try {
    assertOwn(await handle.describe(), host);
    if (change === 'run') await handle.trigger('SKIP');
    else if (change === 'pause') await handle.pause(note);
    else await handle.unpause(note);
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    throw new Stop('schedule_missing', `there is no schedule ${id}`, { id });
  }
}
