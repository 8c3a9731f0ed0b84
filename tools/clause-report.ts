// From docs/clauses.md and the tests' titles to a verdict on each clause. Pure; tools/clauses.ts runs the tests.
import type { ReportedTest } from './report.js';

export interface Clause {
  readonly id: string;
  readonly sentence: string;
}

export interface ClauseVerdict extends Clause {
  /** proved: every executed test of it passed, and one was executed. A skipped test proves nothing. */
  readonly state: 'proved' | 'failed' | 'untested';
  readonly tests: readonly { readonly title: string; readonly status: ReportedTest['status'] }[];
}

const CLAUSE_LINE = /^- \*\*(?<id>[A-Z]+-\d+)\*\* (?<sentence>\S.*)$/;
const CLAUSE_LIKE = /^- \*\*/;
const TITLE = /^(?<ids>[A-Z]+-\d+(?:[ ,]+[A-Z]+-\d+)*): /;

/** Reads the clauses. Throws on a line that looks like one but isn't, and on an id that comes twice. */
export function readClauses(page: string): readonly Clause[] {
  const clauses = page
    .split('\n')
    .filter((line) => CLAUSE_LIKE.test(line))
    .map((line): Clause => {
      const groups = CLAUSE_LINE.exec(line)?.groups;
      if (groups === undefined) throw new Error(`not a clause: ${line}`);
      return { id: groups['id'] ?? '', sentence: groups['sentence'] ?? '' };
    });
  const seen = new Set<string>();
  for (const { id } of clauses) {
    if (seen.has(id)) throw new Error(`${id} comes twice`);
    seen.add(id);
  }
  return clauses;
}

/** The clause ids that a title begins with: `T-1 T-4: …`. Each part of `a > b` may begin with some. */
export function clausesOf(title: string): readonly string[] {
  const ids = title.split(' > ').flatMap((part) => TITLE.exec(part)?.groups?.['ids']?.split(/[ ,]+/) ?? []);
  return [...new Set(ids)];
}

/** One verdict a clause, in the order of the page. Throws on a title that names a clause that doesn't exist. */
export function judge(clauses: readonly Clause[], tests: readonly ReportedTest[]): readonly ClauseVerdict[] {
  const known = new Set(clauses.map(({ id }) => id));
  const byClause = new Map<string, ReportedTest[]>();
  for (const test of tests) {
    for (const id of clausesOf(test.title)) {
      if (!known.has(id)) throw new Error(`no clause ${id}, named by the test "${test.title}"`);
      byClause.set(id, [...(byClause.get(id) ?? []), test]);
    }
  }
  return clauses.map((clause) => {
    const own = byClause.get(clause.id) ?? [];
    return { ...clause, state: stateOf(own), tests: own.map(({ title, status }) => ({ title, status })) };
  });
}

function stateOf(tests: readonly ReportedTest[]): ClauseVerdict['state'] {
  if (tests.some(({ status }) => status === 'failed')) return 'failed';
  return tests.some(({ status }) => status === 'passed') ? 'proved' : 'untested';
}

/** A line a clause, then `N of M clauses proved`. */
export function verdictLines(verdicts: readonly ClauseVerdict[]): readonly string[] {
  const proved = verdicts.filter(({ state }) => state === 'proved').length;
  return [
    ...verdicts.map(({ id, state, tests }) => {
      const titles = tests.map(({ title, status }) => (status === 'passed' ? title : `${title} [${status}]`));
      return `${id.padEnd(6)} ${state.padEnd(8)} ${titles.join(' | ')}`.trimEnd();
    }),
    `${proved} of ${verdicts.length} clauses proved`,
  ];
}
