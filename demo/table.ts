// The figures at the end of the demo: a column for each protocol, a row for each step.
import type { BackupReport, RestoreReport, StepTime } from '../domain/protocol.js';

/** Plain text, aligned; times in seconds but for the pause. */
export function figures(backup: BackupReport, restore: RestoreReport, rollback: RestoreReport): string {
  const reports = [backup, restore, rollback];
  const rows: (readonly string[])[] = [
    ['', 'backup', 'restore', 'rollback'],
    ['pause of the writers, ms', backup.cut.pauseMillis.toFixed(2), '', ''],
    ['bytes', ...reports.map(({ sizeBytes }) => sizeBytes.toLocaleString('en-US'))],
    ['files', ...reports.map(({ files }) => files.toLocaleString('en-US'))],
  ];
  for (const step of stepNames(reports.map(({ steps }) => steps))) {
    const cells = reports.map(({ steps }) => seconds(steps.filter((entry) => nameOf(entry) === step)));
    rows.push([`${step}, s`, ...cells]);
  }
  rows.push(['all steps, s', ...reports.map(({ steps }) => seconds(steps))]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function nameOf({ step }: StepTime): string {
  return step.slice(step.indexOf('.') + 1);
}

/** Each name once, a name that only a later protocol has after the one that it follows there. */
function stepNames(protocols: readonly (readonly StepTime[])[]): readonly string[] {
  const names: string[] = [];
  for (const steps of protocols) {
    let place = 0;
    for (const name of steps.map(nameOf)) {
      const known = names.indexOf(name);
      if (known < 0) names.splice(place, 0, name);
      place = (known < 0 ? place : known) + 1;
    }
  }
  return names;
}

function seconds(steps: readonly StepTime[]): string {
  if (steps.length === 0) return '';
  return (steps.reduce((sum, { millis }) => sum + millis, 0) / 1000).toFixed(2);
}
