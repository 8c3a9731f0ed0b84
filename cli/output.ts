// What the command line prints, and where: data on stdout, progress and notes on stderr. With --json stdout is JSON
// Lines, and the last line is a `result` or an `error`, for arguments that were not understood too.
import { STOPS, Stop, stopModel, EXIT_DEFECT } from '../domain/stop.js';

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
}

export interface Output extends OutputOptions {
  /** One line of a stream of facts; nothing without --json. */
  event(type: string, fact: object): void;
  /** A note for people, on stderr. */
  note(line: string): void;
  /** The answer: JSON with --json, else `lines`. */
  result(fact: object, lines: readonly string[]): void;
}

export function createOutput(options: OutputOptions): Output {
  const json = (fact: object): void => void process.stdout.write(`${JSON.stringify(fact)}\n`);
  return {
    ...options,
    event: (type, fact) => {
      if (options.json) json({ type, ...fact });
    },
    note: (line) => {
      if (!options.quiet && !options.json) process.stderr.write(`${line}\n`);
    },
    result: (fact, lines) => {
      if (options.json) json({ type: 'result', ...fact });
      else process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    },
  };
}

/** Says what went wrong, with its remedy. @returns the exit status */
export function reportError(error: unknown, json: boolean): number {
  if (error instanceof Stop) {
    const model = stopModel(error.code, error.message, error.details);
    if (json) process.stdout.write(`${JSON.stringify({ type: 'error', ...model })}\n`);
    else {
      process.stderr.write(`STOP ${error.code}: ${error.message}\n`);
      for (const [key, value] of Object.entries(error.details)) process.stderr.write(`  ${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
      process.stderr.write(`  safe: ${model.safe}\n  what to do: ${model.remedy}\n`);
    }
    return STOPS[error.code].exit;
  }
  const message = error instanceof Error ? error.message : String(error);
  if (json) process.stdout.write(`${JSON.stringify({ type: 'error', code: 'defect', message, exit: EXIT_DEFECT })}\n`);
  else process.stderr.write(`defect: ${message}\n${error instanceof Error ? (error.stack ?? '') : ''}\nThis is a defect of holdfast, not a refusal. Please report it with these lines.\n`);
  return EXIT_DEFECT;
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

export function formatMillis(millis: number): string {
  return millis < 1000 ? `${millis.toFixed(millis < 10 ? 2 : 0)} ms` : `${(millis / 1000).toFixed(1)} s`;
}

/** A table with aligned columns; the first row is its head. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  return rows.map((row) => row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  '));
}
