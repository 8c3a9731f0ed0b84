// `npm run clauses`: runs the acceptance tests and says of each clause of docs/clauses.md whether it is proved.
//   --json FILE      also writes the verdicts
//   --report FILE    judges a report of vitest that exists instead of running the tests
// Exit status: 0, also with clauses that nothing tests yet; 1 when a clause failed or the tests did not finish.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { judge, readClauses, verdictLines } from './clause-report.js';
import { readReport, type ReportedTest } from './report.js';

/** Where tests stand whose titles begin with the clause that they prove; killed processes have a room of their own. */
const ACCEPTANCE = ['test/acceptance', 'test/crash'];

const { values } = readArguments();
const clauses = readClauses(readFileSync('docs/clauses.md', 'utf8'));
const tests =
  values.report === undefined ? runAcceptance() : readReport(JSON.parse(readFileSync(values.report, 'utf8')));
const verdicts = judge(clauses, tests);
if (values.json !== undefined) {
  const proved = verdicts.filter(({ state }) => state === 'proved').length;
  writeFileSync(values.json, `${JSON.stringify({ proved, clauses: verdicts }, null, 2)}\n`);
}
// A failed test that names no clause (a file that did not load) must not be lost among the clauses.
const strays = tests.filter(({ status }) => status === 'failed');
for (const { title, failures } of strays) console.error(`failed: ${title}\n  ${failures[0]?.split('\n')[0] ?? ''}`);
for (const line of verdictLines(verdicts)) console.log(line);
if (strays.length > 0) process.exitCode = 1;

/** Says how it is used, and ends, where it is asked for or not understood. */
function readArguments() {
  const usage = 'npm run clauses -- [--json FILE] [--report FILE]';
  try {
    const options = { json: { type: 'string' }, report: { type: 'string' }, help: { type: 'boolean' } } as const;
    const parsed = parseArgs({ options });
    if (parsed.values.help !== true) return parsed;
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exit(2);
  }
}

/** Vitest's own output goes to stderr, so that stdout is the verdicts alone. */
function runAcceptance(): readonly ReportedTest[] {
  const present = ACCEPTANCE.some(
    (room) =>
      existsSync(room) &&
      readdirSync(room, { recursive: true, encoding: 'utf8' }).some((path) => path.endsWith('.test.ts')),
  );
  if (!present) return [];
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-clauses-'));
  try {
    const report = join(scratch, 'report.json');
    const { status } = spawnSync(
      process.execPath,
      [
        'node_modules/vitest/vitest.mjs',
        'run',
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
        ...ACCEPTANCE.map((room) => `dist/${room}`),
      ],
      { stdio: ['ignore', process.stderr, process.stderr] },
    );
    if (!existsSync(report)) throw new Error(`vitest ended without a report (exit ${status ?? 'by a signal'})`);
    return readReport(JSON.parse(readFileSync(report, 'utf8')));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
