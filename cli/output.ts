// What the command line prints, and where: data on stdout, progress and notes on stderr. With --json stdout is JSON
// Lines, and the last line is a `result` or an `error`, for arguments that were not understood too.
import type { CutReport } from '../domain/manifest.js';
import { foreignKeysInWords } from '../domain/foreign-keys.js';
import type { ForeignKeysSum } from '../domain/foreign-keys.js';
import { STOPS, Stop, stopModel, EXIT_DEFECT } from '../domain/stop.js';
import { withSuggestion } from './suggest.js';

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Each step on a line of its own, and how long each took. */
  readonly verbose: boolean;
}

export interface Output extends OutputOptions {
  /** One line of a stream of facts; nothing without --json. */
  event(type: string, fact: object): void;
  /** What `event` is with --json, for people; nothing with it. */
  lines(lines: readonly string[]): void;
  /** A note for people, on stderr. */
  note(line: string): void;
  /** The answer: JSON with --json, else `lines`. */
  result(fact: object, lines: readonly string[]): void;
}

export function createOutput(options: OutputOptions): Output {
  const json = (fact: object): void => void process.stdout.write(`${JSON.stringify(fact)}\n`);
  const print = (lines: readonly string[]): void =>
    void process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  return {
    ...options,
    event: (type, fact) => {
      if (options.json) json({ type, ...fact });
    },
    lines: (lines) => {
      if (!options.json) print(lines);
    },
    note: (line) => {
      if (!options.quiet && !options.json) process.stderr.write(`${line}\n`);
    },
    result: (fact, lines) => {
      if (options.json) json({ type: 'result', ...fact });
      else print(lines);
    },
  };
}

/** Says what went wrong, with its remedy. @returns the exit status */
export function reportError(
  error: unknown,
  { json, verbose }: { readonly json: boolean; readonly verbose: boolean },
): number {
  if (error instanceof Stop) {
    const { code, message, details } = withSuggestion(error);
    const model = stopModel(code, message, details);
    if (json) process.stdout.write(`${JSON.stringify({ type: 'error', ...model })}\n`);
    else
      process.stderr.write(
        `STOP ${code}: ${message}\n${describeDetails(details).join('')}  safe: ${model.safe}\n  what to do: ${model.remedy}\n${verbose ? causesOf(error) : ''}`,
      );
    return STOPS[code].exit;
  }
  const message = error instanceof Error ? error.message : String(error);
  const trace = error instanceof Error ? (error.stack ?? message) : message;
  if (json) process.stdout.write(`${JSON.stringify({ type: 'error', code: 'defect', message, exit: EXIT_DEFECT })}\n`);
  else
    process.stderr.write(
      `defect: ${trace}\nThis is a defect of holdfast, not a refusal. Please report it with these lines.\n`,
    );
  return EXIT_DEFECT;
}

/** What lies behind a refusal, with where it came from. */
function causesOf(error: Error): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return '';
  return `  because: ${(cause.stack ?? cause.message).replaceAll('\n', '\n    ')}\n${causesOf(cause)}`;
}

/** Details for people, a line each: what is nested is indented, what is absent is left out. */
export function describeDetails(details: object, indent = '  '): string[] {
  return Object.entries(details).flatMap(([key, value]: [string, unknown]) => {
    if (value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0))
      return [];
    if (Array.isArray(value) && value.some((item) => typeof item === 'object')) {
      return [`${indent}${key}:\n`, ...value.map((item) => `${indent}  ${describeItem(item)}\n`)];
    }
    if (Array.isArray(value)) return [`${indent}${key}: ${value.join(', ')}\n`];
    if (typeof value === 'object') return [`${indent}${key}:\n`, ...describeDetails(value, `${indent}  `)];
    const lines = textOf(value).trimEnd().split('\n');
    return lines.length === 1
      ? [`${indent}${key}: ${lines[0] ?? ''}\n`]
      : [`${indent}${key}:\n`, ...lines.map((line) => `${indent}  ${line}\n`)];
  });
}

function describeItem(item: unknown): string {
  if (typeof item !== 'object' || item === null) return textOf(item);
  return Object.entries(item)
    .map(([key, value]: [string, unknown]) => `${key} ${textOf(value)}`)
    .join(', ');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** How long writers were kept waiting: all of them by the locks of the cut, and those without a log by their copies. */
export function formatPause({ pauseMillis, rollbackJournalPauseMillis: copies }: CutReport): string {
  const paused = `writers paused for ${formatMillis(pauseMillis)}`;
  return copies === 0
    ? paused
    : `${paused}, those of databases with rollback journals for up to ${formatMillis(copies)}`;
}

export function formatMillis(millis: number): string {
  return millis < 1000 ? `${millis.toFixed(millis < 10 ? 2 : 0)} ms` : `${(millis / 1000).toFixed(1)} s`;
}

/** `1 file`, `2 files`. */
export function formatCount(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** What a backup recorded of foreign keys, in a line; none when there is nothing to say. */
export function foreignKeyLines(sum: ForeignKeysSum, head: string): string[] {
  const words = foreignKeysInWords(sum);
  return words === '' ? [] : [`${head}${words}: the application wrote them so, and a restore brings them back`];
}

/** How long a protocol took, and the step that took the longest. */
export function formatSteps(steps: readonly { readonly step: string; readonly millis: number }[]): string {
  const total = steps.reduce((sum, { millis }) => sum + millis, 0);
  const slowest = steps.reduce<(typeof steps)[number] | undefined>(
    (most, entry) => (most === undefined || entry.millis > most.millis ? entry : most),
    undefined,
  );
  return slowest === undefined
    ? formatMillis(total)
    : `${formatMillis(total)}, of which ${slowest.step} ${formatMillis(slowest.millis)}`;
}

/** Every step, and how long it took. */
export function stepLines(steps: readonly { readonly step: string; readonly millis: number }[]): string[] {
  return table(steps.map(({ step, millis }) => ['  step', step, formatMillis(millis)]));
}

/** A word as a POSIX shell reads it back. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A table with aligned columns; the first row is its head. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  return rows.map((row) =>
    row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  '),
  );
}
