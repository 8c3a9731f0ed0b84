// What cron expressions of schedules mean: as cron has it where crons agree, refused where they do not.
import { expect, test } from 'vitest';
import { calendarOf, cronProblem } from '../../definitions/cron.js';

const all = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const ANY = {
  second: [0],
  minute: all(0, 59),
  hour: all(0, 23),
  dayOfMonth: all(1, 31),
  month: all(1, 12),
  dayOfWeek: all(0, 6),
};

test.each([
  ['* * * * *', {}],
  ['15 2 * * *', { minute: [15], hour: [2] }],
  ['*/20 8-10 * * *', { minute: [0, 20, 40], hour: [8, 9, 10] }],
  ['0 0 1,31 * *', { minute: [0], hour: [0], dayOfMonth: [1, 31] }],
  ['0 0 * * 7', { minute: [0], hour: [0], dayOfWeek: [0] }],
  ['0 0 * * 5-7', { minute: [0], hour: [0], dayOfWeek: [0, 5, 6] }],
  ['0 0 * JUL,aug Wed', { minute: [0], hour: [0], month: [7, 8], dayOfWeek: [3] }],
  ['0 3 * feb mon', { minute: [0], hour: [3], month: [2], dayOfWeek: [1] }],
  ['*/30 * * * * *', { second: [0, 30] }],
])('%s', (cron, changed) => {
  expect(calendarOf(cron)).toEqual({ ...ANY, ...changed });
});

test.each([
  '',
  '* * * *',
  '* * * * * * *',
  '60 * * * *',
  '* 24 * * *',
  '* * 0 * *',
  '* * * 13 *',
  '* * * * 8',
  'x * * * *',
  '0 0 * * 0,7',
  '0 0 * * fri-sun',
  // One of two, both or neither: crons do not agree
  '0 0 1-31 * mon',
  '0 0 1 * 0-6',
  '0 0 13 * 5',
  '0 0 L * *',
  '0 0 * * 5#2',
  '0 0 15W * *',
])('%j is refused', (cron) => {
  expect(cronProblem(cron, 'UTC')).toEqual(expect.any(String));
});

test.each([
  'UTC',
  'Europe/Berlin',
  'Asia/Kolkata',
  'Europe/Kyiv',
  'Etc/UTC',
  'US/Pacific',
  'America/Argentina/Buenos_Aires',
])('the time zone %s is one', (timeZone) => {
  expect(cronProblem('0 0 * * *', timeZone)).toBe(null);
});

test.each(['', '+02:00', '-05', 'Europe/Atlantis', 'local'])('the time zone %j is none', (timeZone) => {
  expect(cronProblem('0 0 * * *', timeZone)).toBe(`there is no time zone ${timeZone}`);
});
