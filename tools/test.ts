// `npm test`: runs vitest over the compiled tests, names what was skipped and why, and ends with the one line that
// CI reads: `N passed, N failed, N skipped`. Arguments go to vitest: folders or files of dist/test.
//   --fast   leaves out the rooms whose tests start engines or crash processes
// A whole run makes sure of Temporal's binary first, with progress: building it (three minutes, once) inside a test
// would be a timeout. Where it can't be had, the tests that need it are skipped by name with that reason.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closingLine, count, objections, readReport, type ReportedTest } from './report.js';

const SLOW = [
  'acceptance',
  'bench',
  'cli',
  'client',
  'control',
  'crash',
  'demo',
  'properties',
  'protocols',
  'replay',
  'review',
  'tools',
  'workers',
];

const given = process.argv.slice(2);
const fast = given.includes('--fast');
const passedOn = given.filter((argument) => argument !== '--fast');
const scratch = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const reportPath = join(scratch, 'report.json');
const reasonsPath = join(scratch, 'reasons.jsonl');

const engineAbsent = fast || passedOn.length > 0 ? null : prepareEngine();
const vitest = spawn(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportPath}`,
    ...(fast ? SLOW.map((room) => `--exclude=dist/test/${room}/**`) : []),
    ...passedOn,
  ],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      HOLDFAST_SKIP_REASONS: reasonsPath,
      ...(engineAbsent === null ? {} : { HOLDFAST_ENGINE_ABSENT: engineAbsent }),
    },
  },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => vitest.kill(signal));
vitest.on('error', (error) => {
  throw error;
});
vitest.on('exit', (status, signal) => {
  process.exitCode = conclude(status ?? 1, signal);
});

/** In a process of its own: tools/ knows nothing of engines. Returns why there is none, or null. */
function prepareEngine(): string | null {
  const module = new URL('../workers/engine-binary.js', import.meta.url).href;
  const script = `const { findTemporalBinary } = await import(${JSON.stringify(module)});
    await findTemporalBinary({ onProgress: (line) => console.error(line) });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'inherit', 'pipe'],
    encoding: 'utf8',
  });
  process.stderr.write(stderr);
  return status === 0 ? null : (stderr.trim().split('\n').at(-1) ?? 'the temporal binary could not be had');
}

function conclude(status: number, signal: NodeJS.Signals | null): number {
  if (signal !== null || !existsSync(reportPath)) {
    console.error(`vitest ended without a report (${signal ?? `exit ${status}`})`);
    console.log(closingLine({ passed: 0, failed: 1, skipped: 0 }));
    return 1;
  }
  const tests = readReport(JSON.parse(readFileSync(reportPath, 'utf8')));
  nameSkipped(tests);
  const counts = count(tests);
  const whole = passedOn.length === 0;
  const wrong = objections(counts, whole ? unreported(tests) : [], process.env['HOLDFAST_REQUIRE_ALL'] === '1');
  for (const objection of wrong) console.error(objection);
  // An unhandled rejection fails vitest though every test passed: it is shown as one failure more.
  const hidden = counts.failed === 0 && (status !== 0 || wrong.length > 0) ? 1 : 0;
  const shown = { ...counts, failed: counts.failed + hidden };
  console.log(closingLine(shown));
  return shown.failed > 0 ? 1 : 0;
}

function nameSkipped(tests: readonly ReportedTest[]): void {
  const skipped = tests.filter((test) => test.status === 'skipped');
  if (skipped.length === 0) return;
  const reasons = existsSync(reasonsPath)
    ? readFileSync(reasonsPath, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { readonly file: string; readonly reason: string })
    : [];
  console.log('\nskipped:');
  for (const test of skipped) {
    const why = [...new Set(reasons.filter(({ file }) => file === test.file).map(({ reason }) => reason))];
    const shownWhy = why.length > 0 ? why.join(' | ') : 'no reason recorded';
    console.log(`  ${relative(test.file)}: ${test.title} (${shownWhy})`);
  }
  console.log('');
}

/** Sources whose tests do not appear in the report: not compiled, or lost on the way. */
function unreported(tests: readonly ReportedTest[]): readonly string[] {
  const reported = new Set(tests.map(({ file }) => relative(file)));
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => !(fast && SLOW.some((room) => path.startsWith(`${room}/`))))
    .map((path) => `test/${path}`)
    .filter((path) => !reported.has(path));
}

/** Names the source of a compiled test. */
function relative(file: string): string {
  return file
    .replace(`${process.cwd()}/`, '')
    .replace(/^dist\//, '')
    .replace(/\.js$/, '.ts');
}
