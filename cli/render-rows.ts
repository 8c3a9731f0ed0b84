// What rows of a database differ in, for people.
import type { RowDiff } from '../control/browse.js';
import { formatCount } from './output.js';
import { printable } from './render-entry.js';

type TableDiff = RowDiff['tables'][number];

const CHANGES = [
  ['+', 'added'],
  ['-', 'removed'],
  ['~', 'changed'],
] as const;

export function rowLines({ tables, tablesSame, schema }: RowDiff): string[] {
  return [
    ...tables.flatMap(tableLines),
    ...schema.map((object) => `    definition of ${printable(object)} differs`),
    `    ${formatCount(tablesSame, 'table')} without a difference`,
  ];
}

function tableLines(diff: TableDiff): string[] {
  const { table, change, key, notCompared, columnsAdded, columnsRemoved } = diff;
  const by = key === null ? 'by whole rows' : `by ${key.map(printable).join(', ')}`;
  const columns = [
    ...columnsAdded.map((column) => `+${printable(column)}`),
    ...columnsRemoved.map((column) => `-${printable(column)}`),
  ];
  const head = `    table ${printable(table)}${change === 'changed' ? '' : ` ${change}`}, ${by}`;
  return [
    `${head}: ${notCompared === undefined ? countsOf(diff) : `not compared: ${notCompared}`}`,
    ...(columns.length === 0 ? [] : [`      columns ${columns.join(' ')}`]),
    ...CHANGES.flatMap(([mark, kind]) => keyLines(mark, diff[kind])),
  ];
}

const countsOf = ({ added, removed, changed }: TableDiff): string =>
  `${added.count} added, ${removed.count} removed, ${changed.count} changed`;

function keyLines(mark: string, { count, keys }: TableDiff['added']): string[] {
  const more = count - keys.length;
  return [
    ...keys.map((key) => `      ${mark} ${key.map(printable).join(', ')}`),
    ...(more > 0 && keys.length > 0 ? [`      ${mark} and ${more} more`] : []),
  ];
}
