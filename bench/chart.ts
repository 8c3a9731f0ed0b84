// Line charts as SVG, side by side: for docs/performance.md. Both axes begin at zero, so that a straight line through the
// corner is what grows with the size.

export interface Chart {
  readonly title: string;
  /** Under the horizontal axis. */
  readonly across: string;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
}

const WIDTH = 420;
const HEIGHT = 300;
const MARGIN = { left: 56, right: 16, top: 36, bottom: 44 } as const;
const COLOURS = ['#1b6ca8', '#c8553d', '#3d8b37', '#7b4fa3'] as const;
const TICKS = 4;

export function chartOf(charts: readonly Chart[]): string {
  const size = `width="${WIDTH * charts.length}" height="${HEIGHT}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...charts.flatMap((chart, index) => [`<g transform="translate(${index * WIDTH} 0)">`, ...drawn(chart), '</g>']),
    '</svg>',
    '',
  ].join('\n');
}

function drawn({ title, across, lines }: Chart): readonly string[] {
  const points = lines.flatMap((line) => line.points);
  const [xMax, yMax] = [niceMax(points.map(([x]) => x)), niceMax(points.map(([, y]) => y))];
  const [right, bottom] = [WIDTH - MARGIN.right, HEIGHT - MARGIN.bottom];
  const xOf = (x: number): number => rounded(MARGIN.left + (x / xMax) * (right - MARGIN.left));
  const yOf = (y: number): number => rounded(bottom - (y / yMax) * (bottom - MARGIN.top));
  const ticks = Array.from({ length: TICKS + 1 }, (_, tick) => tick / TICKS);
  return [
    `<text x="${MARGIN.left}" y="20" font-weight="bold">${title}</text>`,
    ...ticks.flatMap((share) => [
      `<line x1="${MARGIN.left}" x2="${right}" y1="${yOf(share * yMax)}" y2="${yOf(share * yMax)}" stroke="#ddd"/>`,
      `<text x="${MARGIN.left - 6}" y="${yOf(share * yMax) + 4}" text-anchor="end">${rounded(share * yMax)}</text>`,
      `<text x="${xOf(share * xMax)}" y="${bottom + 16}" text-anchor="middle">${rounded(share * xMax)}</text>`,
    ]),
    `<text x="${(MARGIN.left + right) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${across}</text>`,
    ...lines.flatMap((line, index) => {
      const colour = COLOURS[index % COLOURS.length] ?? 'black';
      const path = line.points.map(([x, y]) => `${xOf(x)},${yOf(y)}`).join(' ');
      return [
        `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        ...line.points.map(([x, y]) => `<circle cx="${xOf(x)}" cy="${yOf(y)}" r="3" fill="${colour}"/>`),
        `<text x="${MARGIN.left + 8}" y="${MARGIN.top + 14 + index * 15}" fill="${colour}">${line.name}</text>`,
      ];
    }),
  ];
}

/** The next of 1, 2, 4, 5, 10, 20 … */
function niceMax(values: readonly number[]): number {
  const highest = Math.max(...values, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(highest));
  return ([1, 2, 4, 5, 10].find((step) => step * power >= highest) ?? 10) * power;
}

const rounded = (value: number): number => Math.round(value * 10) / 10;
