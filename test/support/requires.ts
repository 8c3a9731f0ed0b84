// What a test needs of the machine: a tool, a privilege. `test.skipIf(requires('strace'))('title', …)` skips where it
// is absent, and `npm test` names each skipped test with the reason recorded here. With HOLDFAST_REQUIRE_ALL=1 (as in
// .ci/run) nothing is skipped for want of a tool: the want itself is a failed test.
import { execFileSync } from 'node:child_process';
import { accessSync, appendFileSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { expect, test } from 'vitest';

/** null: present. Otherwise why it is not, as a lower-case fact. */
type Probe = () => string | null;

const onPath =
  (tool: string): Probe =>
  () =>
    findOnPath(tool) === null ? `${tool} is not on PATH` : null;

const isRoot: Probe = () => (process.getuid?.() === 0 ? null : 'not run as root');

/** Runs a harmless command: a tool that is there may still be forbidden to do its work (containers, seccomp). */
const runs = (tool: string, ...argv: string[]): Probe => {
  return () => {
    try {
      execFileSync(tool, argv, { stdio: 'ignore', timeout: 20_000 });
      return null;
    } catch {
      return `\`${[tool, ...argv].join(' ')}\` does not succeed`;
    }
  };
};

const PROBES = {
  root: isRoot,
  /** May make mounts in a mount namespace of its own. */
  mount: () => isRoot() ?? runs('unshare', '--mount', 'true')(),
  /** May trace and inject faults into a child. */
  strace: () => onPath('strace')() ?? runs('strace', '-o', '/dev/null', '-e', 'trace=none', 'true')(),
  /** The engine's binary: `npm test` has made sure of it; a single file run by hand finds out by itself. */
  temporal: () => process.env['HOLDFAST_ENGINE_ABSENT'] ?? null,
  'docker-compose': onPath('docker-compose'),
  'systemd-analyze': onPath('systemd-analyze'),
  sqlite3: onPath('sqlite3'),
  groff: onPath('groff'),
  openssl: onPath('openssl'),
  zsh: onPath('zsh'),
  fish: onPath('fish'),
  bash: onPath('bash'),
  age: onPath('age'),
  zstd: onPath('zstd'),
  fincore: onPath('fincore'),
  jq: onPath('jq'),
  /** A second ordinary user to own files or to be refused. */
  setpriv: () => isRoot() ?? onPath('setpriv')(),
  /** For a terminal of a test's own. */
  python3: runs('python3', '-c', 'import pty, os; os.waitstatus_to_exitcode'),
  git: runs('git', 'rev-parse', '--git-dir'),
} as const satisfies Record<string, Probe>;

export type Requirement = keyof typeof PROBES;

const verdicts = new Map<Requirement, string | null>();

/**
 * Truthy where one of the needs is absent: for `test.skipIf()` and `describe.skipIf()`, while tests are collected.
 * Records why for the report of `npm test`.
 */
export function requires(...needs: readonly Requirement[]): boolean {
  const absent = needs.flatMap((need) => {
    const reason = verdict(need);
    return reason === null ? [] : [`${need}: ${reason}`];
  });
  if (absent.length === 0) return false;
  const reason = absent.join('; ');
  if (process.env['HOLDFAST_REQUIRE_ALL'] === '1') {
    test(`the machine has what the tests need (${needs.join(', ')})`, () => expect.fail(reason));
  }
  record(reason);
  return true;
}

function verdict(need: Requirement): string | null {
  const known = verdicts.get(need);
  if (known !== undefined) return known;
  const reason = PROBES[need]();
  verdicts.set(need, reason);
  return reason;
}

/** One JSON line a reason, read by tools/test.ts; without that tool nobody asks. */
function record(reason: string): void {
  const path = process.env['HOLDFAST_SKIP_REASONS'];
  if (path === undefined) return;
  appendFileSync(path, `${JSON.stringify({ file: expect.getState().testPath ?? '', reason })}\n`);
}

function findOnPath(tool: string): string | null {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, tool);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue; // Not in this directory: the next one decides.
    }
  }
  return null;
}
