// Medians, quantiles and tables of figures.

/** The smallest value that at least `share` of all values do not exceed. NaN of nothing. */
export function quantile(values: readonly number[] | Float64Array, share: number): number {
  const sorted = Float64Array.from(values).toSorted();
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[] | Float64Array): Spread {
  const count = values.length;
  return {
    count,
    p50: round(quantile(values, 0.5)),
    p99: round(quantile(values, 0.99)),
    max: round(quantile(values, 1)),
  };
}

/** Three digits that mean something. */
export function round(value: number): number {
  return value === 0 || !Number.isFinite(value) ? value : Number(value.toPrecision(value >= 100 ? 4 : 3));
}

/** `12.9 / **13.4** / 15.1`: least, median and greatest. */
export function range(values: readonly number[]): string {
  return `${round(Math.min(...values))} / **${round(median(values))}** / ${round(Math.max(...values))}`;
}

export function spreadText({ p50, p99, max }: Spread): string {
  return `${p50} / ${p99} / ${max}`;
}

export function markdownTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
