// Writes the reference pages that come from domain/: docs/reference/stop.md and the JSON Schema whole, and the table of steps in
// docs/protocols/<protocol>.md between its markers. Pure: text in, text out; test/tools/reference.test.ts holds the
// pages in the repository against it.
import { definitionJsonSchema } from '../domain/schema/definition.js';
import { STEPS, type StepEntry } from '../domain/steps.js';
import { EXIT_DEFECT, STOPS, type StopEntry } from '../domain/stop.js';

const BEGIN = '<!-- steps: begin (npm run docs) -->';
const END = '<!-- steps: end -->';

export const STOP_PAGE = 'docs/reference/stop.md';
export const DEFINITION_SCHEMA = 'docs/reference/store-definition.schema.json';

/** The JSON Schema of store definitions, which `holdfast config schema` prints. */
export function definitionSchemaFile(): string {
  return `${JSON.stringify(definitionJsonSchema(), null, 2)}\n`;
}

/** What each exit status says, in the words of sysexits(3) as holdfast uses them. */
const EXIT_MEANINGS: Readonly<Record<number, string>> = {
  0: 'done',
  64: 'the request itself',
  65: 'data that is not what it says',
  69: 'somebody does not answer',
  [EXIT_DEFECT]: 'a defect of holdfast: never a STOP',
  73: 'the target exists',
  74: 'the machine',
  75: 'busy, or changed, now',
  77: 'permission or approval',
  78: 'configuration, version or gate',
};

/** The page of every STOP, grouped by exit status. */
export function stopPage(): string {
  const codes = Object.entries(STOPS) as readonly [string, StopEntry][];
  const exits = [...new Set(codes.map(([, entry]) => entry.exit))].sort((a, b) => a - b);
  return [
    '# STOP codes',
    '',
    '*Made by `npm run docs` from `domain/stops.ts`. Change the table there.*',
    '',
    'A STOP is the answer of a protocol to a state that it does not accept. No flag skips a check: what a STOP asks for',
    'is a decision or an action, then a new operation. The code is the type of the failure in Temporal, the `code` of the',
    'last JSON line, and the heading below; the exit status follows sysexits.',
    '',
    '| exit | meaning |',
    '|---|---|',
    ...Object.entries(EXIT_MEANINGS).map(([exit, meaning]) => `| ${exit} | ${meaning} |`),
    '',
    ...exits.flatMap((exit) => [
      `## Exit ${exit}: ${EXIT_MEANINGS[exit] ?? ''}`,
      '',
      ...codes.filter(([, entry]) => entry.exit === exit).flatMap(([code, entry]) => stopSection(code, entry)),
    ]),
  ].join('\n');
}

function stopSection(code: string, entry: StopEntry): readonly string[] {
  return [
    `### \`${code}\``,
    '',
    `${sentence(entry.title)}`,
    '',
    `- What is safe: ${entry.safe}.`,
    `- What to do: ${entry.remedy}.`,
    '',
  ];
}

/** The codes that a STOP page documents. */
export function documentedCodes(page: string): readonly string[] {
  return [...page.matchAll(/^### `([a-z0-9_]+)`$/gm)].map(([, code]) => code ?? '');
}

export function protocolPagePath(protocol: string): string {
  return `docs/protocols/${protocol}.md`;
}

/** Protocols that have a page: all of domain/steps.ts. */
export function protocols(): readonly (keyof typeof STEPS)[] {
  return Object.keys(STEPS) as (keyof typeof STEPS)[];
}

/** Puts the table of steps between the markers; throws where a page has lost them, so that it is never silently stale. */
export function withSteps(page: string, protocol: keyof typeof STEPS): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${protocolPagePath(protocol)} has no markers for its steps`);
  return `${page.slice(0, begin)}${BEGIN}\n${stepTable(STEPS[protocol])}\n${page.slice(end)}`;
}

function stepTable(steps: readonly StepEntry[]): string {
  return [
    '| # | step | what it does | clauses |',
    '|---|---|---|---|',
    ...steps.map((step, index) => `| ${index + 1} | \`${step.id}\` | ${step.title} | ${step.clauses.join(', ')} |`),
  ].join('\n');
}

function sentence(fact: string): string {
  return `${fact.charAt(0).toUpperCase()}${fact.slice(1)}.`;
}
