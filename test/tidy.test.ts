// Style is a test: length, banned constructs, and the agreements between code, tables, docs and tests that no compiler
// holds. One grep for a step id, a STOP code or a clause id finds everything about it, because this file says so.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { STEPS } from '../domain/steps.js';
import { STOPS } from '../domain/stop.js';

/** The only files of the product that ask for the time of day; deadlines are measured with performance.now(), which
 * nobody sets back, save those that gRPC wants as times. In a workflow the clock is the engine's, the same at every replay. */
const CLOCKS = ['control/clock.ts', 'workflows/kit/run.ts', 'client/connection.ts'];
/** Codes that nothing throws yet, with the reason; a code without a reason is removed from the table instead. */
const CODES_NOT_THROWN: Readonly<Record<string, string>> = {};
/** Codes that no test names yet, with the reason. */
const CODES_NOT_TESTED: Readonly<Record<string, string>> = {};

const WORKFLOW_LINES_MAX = 70;
const FILE_LINES_MAX = 450;

const read = (path: string): string => readFileSync(path, 'utf8');
const { include: rooms } = JSON.parse(read('tsconfig.json')) as { readonly include: readonly string[] };

function sourcesOf(room: string): readonly string[] {
  if (!existsSync(room)) return [];
  return readdirSync(room, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => `${room}/${path}`);
}

const sources = rooms.flatMap(sourcesOf);
/** Without the planted defects that the linter must find. */
const written = sources.filter((path) => !path.startsWith('test/lint/'));
/** What runs at a user's: not tests, benchmarks or tools. */
const product = sources.filter((path) => !/^(test|bench|demo|tools)\//.test(path));
const tests = sources.filter((path) => path.startsWith('test/') && !/^test\/(tidy\.test|tools\/)/.test(path));
const tracked = execFileSync('git', ['ls-files', '-z'], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  .split('\0')
  .filter((path) => path !== '' && existsSync(path));

/** Good enough for looking for constructs: `//` after a colon, as in addresses, is kept. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\/])\/\/.*$/gm, '$1');
}

function offenders(paths: readonly string[], pattern: RegExp, prepare = withoutComments): readonly string[] {
  return paths.flatMap((path) => {
    const found = pattern.exec(prepare(read(path)));
    return found === null ? [] : [`${path}: ${found[0].trim()}`];
  });
}

describe('files', () => {
  test('are found at all', () => {
    expect(sources.length).toBeGreaterThan(20);
    expect(tracked.length).toBeGreaterThan(20);
  });

  test(`of workflows have at most ${WORKFLOW_LINES_MAX} lines: a workflow reads like the protocol`, () => {
    const workflows = sources.filter((path) => /^workflows\/[^/]+\.ts$/.test(path) && path !== 'workflows/index.ts');
    expect(longerThan(workflows, WORKFLOW_LINES_MAX)).toEqual([]);
  });

  test(`have at most ${FILE_LINES_MAX} lines`, () => {
    expect(longerThan(sources, FILE_LINES_MAX)).toEqual([]);
  });

  test('open with what they are', () => {
    expect(sources.filter((path) => !/^(#!.*\n)?\/\/ \S/.test(read(path)))).toEqual([]);
  });

  test('have names in kebab case', () => {
    expect(sources.filter((path) => !/^(?:[a-z0-9-]+\/)+[a-z0-9]+(?:[-.][a-z0-9]+)*\.ts$/.test(path))).toEqual([]);
  });

  test('that are tracked name no directory of a machine', () => {
    const path = new RegExp(
      `(?<![\\w<>.*{}$/-])/(?:${['work', 'home/\\w+', 'root(?=/(?:go|\\.[a-z]))'].join('|')})/[\\w.]+`,
    );
    const text = tracked.filter((name) =>
      /\.(?:ts|mjs|json|md|ya?ml|sh|service|sql)$|Dockerfile|^\.ci\/run$/.test(name),
    );
    expect(offenders(text, path, (source) => source)).toEqual([]);
  });
});

describe('code', () => {
  test('has no any and no suppressed type error', () => {
    expect(offenders(written, /(?:[:<|&,(]|\bas)\s*any\b(?!\w|')|\bany\[\]/)).toEqual([]);
    expect(offenders(written, /^\s*\/\/ @ts-(?:ignore|nocheck|expect-error)/m, (source) => source)).toEqual([]);
  });

  test('suppresses a lint rule only with a reason', () => {
    expect(offenders(written, /(?:ox|es)lint-disable(?!.* -- \S).*/, (source) => source)).toEqual([]);
  });

  test('has no catch that does nothing: a comment in it is not an answer', () => {
    expect(
      offenders(written, /catch\s*(?:\([^)]*\)\s*)?\{\s*\}|\.catch\(\(\)\s*=>\s*(?:\{\s*\}|undefined|null)\)/),
    ).toEqual([]);
  });

  test('of the product reads the clock in one place a room', () => {
    const others = product.filter((path) => !CLOCKS.includes(path));
    expect(offenders(others, /\bDate\.now\(|\bnew Date\(\s*\)/)).toEqual([]);
    expect(CLOCKS.filter((path) => !existsSync(path))).toEqual([]);
  });

  test('has no leftover mark', () => {
    expect(
      offenders(written, new RegExp(`\\b(?:${['TODO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`), (source) =>
        source.replaceAll("'TODO'", ''),
      ),
    ).toEqual([]);
  });
});

describe('each step', () => {
  const workflows = sourcesOf('workflows').map(read).join('\n');
  /** Lock and release are one line of the kit for every protocol: `exclusive` begins and ends with them. */
  const inWorkflows = (id: string): boolean =>
    workflows.includes(`'${id}'`) || workflows.includes(`\`\${protocol}.${id.split('.')[1] ?? ''}\``);
  const testTexts = tests.map(read).join('\n');

  for (const [protocol, steps] of Object.entries(STEPS)) {
    test(`of ${protocol} is in its page, in a workflow and in a test`, () => {
      const page = read(`docs/protocols/${protocol}.md`);
      const ids = steps.map(({ id }) => id);
      expect({
        otherProtocol: ids.filter((id) => !id.startsWith(`${protocol}.`)),
        notInPage: ids.filter((id) => !page.includes(`\`${id}\``)),
        notInWorkflows: ids.filter((id) => !inWorkflows(id)),
        // A test over the whole table (a kill at every step) has every id in its titles
        notInTests: testTexts.includes(`STEPS.${protocol}`) ? [] : ids.filter((id) => !testTexts.includes(id)),
      }).toEqual({ otherProtocol: [], notInPage: [], notInWorkflows: [], notInTests: [] });
    });
  }

  test('serves clauses that exist', () => {
    const page = read('docs/clauses.md');
    const clauses = new Set(Object.values(STEPS).flatMap((steps) => steps.flatMap((step) => [...step.clauses])));
    expect([...clauses].filter((id) => !page.includes(`**${id}**`))).toEqual([]);
  });
});

describe('each STOP', () => {
  const codes = Object.keys(STOPS);
  const code = product
    .filter((path) => !path.startsWith('domain/stops'))
    .map(read)
    .join('\n');
  const testTexts = tests.map(read).join('\n');

  test('is used outside its table, or says why not', () => {
    expect(codes.filter((name) => !code.includes(`'${name}'`)).sort()).toEqual(Object.keys(CODES_NOT_THROWN).sort());
  });

  test('is named by a test, or says why not', () => {
    expect(codes.filter((name) => !testTexts.includes(`'${name}'`)).sort()).toEqual(
      Object.keys(CODES_NOT_TESTED).sort(),
    );
  });

  test('has facts that read on: lower case, no full stop', () => {
    const entries = Object.entries(STOPS) as readonly [
      string,
      { readonly title: string; readonly safe: string; readonly remedy: string },
    ][];
    expect(
      entries.filter(([, { title, safe, remedy }]) =>
        [title, safe, remedy].some((text) => /^[A-Z][a-z ]|\.$/.test(text)),
      ),
    ).toEqual([]);
  });
});

describe('the house', () => {
  const architecture = read('ARCHITECTURE.md');

  test('has every room on its map', () => {
    expect(rooms.filter((room) => existsSync(room) && !architecture.includes(`\`${room}/\``))).toEqual([]);
  });

  test('has a line of reason for every dependency, at its version, and no other line', () => {
    const manifest = JSON.parse(read('package.json')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >;
    const wanted = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
    const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| ([^|]+) \| (\S[^|]{10,}) \|$/gm)];
    expect(rows.map(([, name, version]) => `${name} ${version?.trim()}`).sort()).toEqual(
      wanted.map(([name, version]) => `${name} ${version}`).sort(),
    );
    expect(wanted.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  test('has every decision on its list', () => {
    const list = read('docs/decisions/README.md');
    const records = readdirSync('docs/decisions').filter((name) => /^\d{4}-/.test(name));
    expect(records.filter((name) => !list.includes(`(${name})`))).toEqual([]);
  });

  test('has no link to a page that is missing', () => {
    const pages = tracked.filter((path) => path.endsWith('.md'));
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target]) => target ?? '')
        .filter((target) => !existsSync(new URL(target, `file://${process.cwd()}/${page}`)))
        .map((target) => `${page}: ${target}`),
    );
    expect(broken).toEqual([]);
  });
});

function longerThan(paths: readonly string[], linesMax: number): readonly string[] {
  return paths
    .map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > linesMax)
    .map(({ path, lines }) => `${path}: ${lines}`);
}
