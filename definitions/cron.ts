// Cron expressions of definitions, as the values that each field names. Nothing else speaks to cron-parser.
import { CronExpressionParser } from 'cron-parser';
import { SCHEDULED_PROTOCOLS } from '../domain/definition.js';
import type { Calendar, StoreDefinition, StoreSchedule } from '../domain/definition.js';

/** @returns what is wrong with a cron expression, or a time zone; null: nothing */
export function cronProblem(cron: string, timeZone: string): string | null {
  if (!Intl.supportedValuesOf('timeZone').concat('UTC').includes(timeZone)) return `there is no time zone ${timeZone}`;
  try {
    const { dayOfMonth, dayOfWeek } = calendarOf(cron);
    const isAnd = dayOfMonth.length < 31 && dayOfWeek.length < 7;
    return isAnd ? 'a day of the month and a day of the week: cron means either, name one of them' : null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const NAMES = /\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b/gi;

/** Five fields, or six that begin with seconds. @throws Error that says what is wrong with it */
export function calendarOf(cron: string): Calendar {
  const fields = cron.trim().split(/\s+/).length;
  if (fields !== 5 && fields !== 6)
    throw new Error('a cron expression has five fields, or six that begin with seconds');
  if (/[LWH#?]/i.test(cron.replaceAll(NAMES, '')))
    throw new Error('L, W, #, ? and H mean different things to different crons');
  const { second, minute, hour, dayOfMonth, month, dayOfWeek } = CronExpressionParser.parse(cron).fields;
  const values = (field: { readonly values: readonly (number | string)[] }): readonly number[] =>
    [...new Set(field.values.map(Number))].sort((left, right) => left - right);
  return {
    second: values(second),
    minute: values(minute),
    hour: values(hour),
    dayOfMonth: values(dayOfMonth),
    month: values(month),
    // Sunday is 0, and 7
    dayOfWeek: [...new Set(values(dayOfWeek).map((day) => day % 7))].sort((left, right) => left - right),
  };
}

/** What is to be started by the clock, of every store. */
export function schedulesOf(definitions: readonly StoreDefinition[]): readonly StoreSchedule[] {
  return definitions.flatMap(({ store, schedules }) =>
    SCHEDULED_PROTOCOLS.flatMap((protocol) => {
      const schedule = schedules[protocol];
      return schedule === undefined ? [] : [{ store, protocol, ...schedule, calendar: calendarOf(schedule.cron) }];
    }),
  );
}
