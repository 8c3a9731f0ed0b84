// How a person names a backup by a time: `at:<RFC 3339>`. An instant always says its offset: `10:00` could be any hour.
import { Stop } from './stop.js';

const AT = 'at:';
const RFC_3339 = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i;

export interface ReferenceTime {
  /** As it was given. */
  readonly text: string;
  /** Since 1970. */
  readonly millis: number;
}

/** The name of the newest backup that shows no later state than `time`. @throws Stop usage for what is no RFC 3339 time */
export function referenceAt(time: string): string {
  const reference = `${AT}${time}`;
  timeOfReference(reference);
  return reference;
}

/** null: it names no time. @throws Stop usage */
export function timeOfReference(reference: string): ReferenceTime | null {
  if (!reference.startsWith(AT)) return null;
  const text = reference.slice(AT.length);
  const millis = parseInstant(text);
  if (millis === null)
    throw new Stop('usage', `${JSON.stringify(text)} is no time: it is written like 2026-11-21T10:00:00Z`, {
      time: text,
    });
  return { text, millis };
}

/** null: no RFC 3339 instant, or one of a day that no calendar has; a leap second is none here. */
function parseInstant(text: string): number | null {
  const [, day, time, fraction = '', offset = ''] = RFC_3339.exec(text) ?? [];
  if (day === undefined || time === undefined) return null;
  const local = Date.parse(`${day}T${time}Z`);
  // The 30th of February is read as a day of March
  if (Number.isNaN(local) || !new Date(local).toISOString().startsWith(`${day}T${time}`)) return null;
  const millis = Date.parse(`${day}T${time}${fraction.slice(0, 4)}${offset.toUpperCase()}`);
  return Number.isNaN(millis) ? null : millis;
}
