// Cron expressions of definitions, as the values that each field names. Nothing else speaks to cron-parser.
import { CronExpressionParser } from 'cron-parser';
import { SCHEDULED_PROTOCOLS } from '../domain/definition.js';
import type { Calendar, StoreDefinition, StoreSchedule } from '../domain/definition.js';

/** @returns what is wrong with a cron expression, or a time zone; null: nothing */
export function cronProblem(cron: string, timeZone: string): string | null {
  if (!isTimeZone(timeZone)) return `there is no time zone ${timeZone}`;
  try {
    calendarOf(cron);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Of the IANA data base, aliases too; an offset is none. */
function isTimeZone(name: string): boolean {
  if (/^[+-]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

const NAMES = /\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b/gi;

/** Five fields, or six that begin with seconds. @throws Error that says what is wrong with it */
export function calendarOf(cron: string): Calendar {
  const texts = cron.trim().split(/\s+/);
  if (texts.length !== 5 && texts.length !== 6)
    throw new Error('a cron expression has five fields, or six that begin with seconds');
  if (/[LWH#?]/i.test(cron.replaceAll(NAMES, '')))
    throw new Error('L, W, #, ? and H mean different things to different crons');
  const [dayText = '', , weekdayText = ''] = texts.slice(-3);
  if (!dayText.startsWith('*') && !weekdayText.startsWith('*'))
    throw new Error('a day of the month and a day of the week: cron means either, name one of them');
  const { second, minute, hour, dayOfMonth, month, dayOfWeek } = CronExpressionParser.parse(cron).fields;
  const values = (field: { readonly values: readonly (number | string)[] }): readonly number[] =>
    [...new Set(field.values.map(Number))].sort((left, right) => left - right);
  return {
    second: values(second),
    minute: values(minute),
    hour: values(hour),
    // The parser leaves out the days that none of the months has
    dayOfMonth: dayText === '*' ? Array.from({ length: 31 }, (_, index) => index + 1) : values(dayOfMonth),
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
