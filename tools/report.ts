// Reads vitest's JSON report: what was executed, what failed, what was skipped and why. Pure, so that the counting,
// on which CI's verdict rests, is itself tested (test/tools/report.test.ts).

export interface ReportedTest {
  /** `describe` titles and the test's own, joined by ` > `. */
  readonly title: string;
  readonly status: 'passed' | 'failed' | 'skipped';
  readonly file: string;
  readonly failures: readonly string[];
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface VitestAssertion {
  readonly ancestorTitles: readonly string[];
  readonly title: string;
  readonly status: string;
  readonly failureMessages?: readonly string[] | null;
}

interface VitestFile {
  readonly name: string;
  readonly status: string;
  readonly message?: string;
  readonly assertionResults: readonly VitestAssertion[];
}

/** Flattens a report. A file that failed outside its tests (it did not load, a hook threw) is a failed test of its own. */
export function readReport(report: unknown): readonly ReportedTest[] {
  const files = (report as { readonly testResults?: readonly VitestFile[] }).testResults;
  if (!Array.isArray(files)) throw new Error('the report has no testResults: vitest did not finish');
  return (files as readonly VitestFile[]).flatMap(readFile);
}

function readFile(file: VitestFile): readonly ReportedTest[] {
  const tests = file.assertionResults.map((assertion): ReportedTest => {
    return {
      title: [...assertion.ancestorTitles, assertion.title].filter((part) => part !== '').join(' > '),
      status: statusOf(assertion.status),
      file: file.name,
      failures: assertion.failureMessages ?? [],
    };
  });
  if (file.status === 'failed' && !tests.some(({ status }) => status === 'failed')) {
    return [
      ...tests,
      { title: '(the file itself)', status: 'failed', file: file.name, failures: [file.message ?? ''] },
    ];
  }
  return tests;
}

/** Anything that is neither passed nor failed did not run: skipped, pending, todo, disabled. */
function statusOf(status: string): ReportedTest['status'] {
  return status === 'passed' || status === 'failed' ? status : 'skipped';
}

export function count(tests: readonly ReportedTest[]): Counts {
  const of = (wanted: ReportedTest['status']): number => tests.filter(({ status }) => status === wanted).length;
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}

/** The closing line: `N passed, N failed`, and `, N skipped` where there are any. */
export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** Why a run counts as failed, beside its failed tests; empty when it passed. */
export function objections(
  counts: Counts,
  unreported: readonly string[],
  skipsAreFailures: boolean,
): readonly string[] {
  return [
    ...(counts.passed + counts.failed === 0 ? ['no test was executed'] : []),
    ...(skipsAreFailures && counts.skipped > 0 ? [`${counts.skipped} skipped, where every test must run`] : []),
    ...unreported.map((file) => `${file} was not executed`),
  ];
}
