// The journal model of the swap (DESIGN "Exchange", SM-9). A plan names every rename before the first is made, and
// which inode lies at either place; a rename moves inodes without changing them, so that after a crash each step is
// decidable from the disk alone: not done, done, or something that nobody planned. Pure.

/**
 * `exchange` swaps what lies at both places, `move-in` moves the staged one in (nothing lived there), `move-out`
 * moves the live one out (nothing replaces it).
 */
export type ExchangeKind = 'exchange' | 'move-in' | 'move-out';

export interface ExchangeStep {
  /** Entry at the top of both trees; `.` is the trees themselves (mode `root`). */
  readonly name: string;
  readonly kind: ExchangeKind;
  /**
   * Inode number before the step, decimal; null: nothing is there. Without the device's number, because that may be
   * another one after a reboot, when the journal is read; both places are on one filesystem, which planning asserts.
   */
  readonly liveInode: string | null;
  readonly stagedInode: string | null;
}

export interface ExchangeRoot {
  /** Name of the root in the definition. */
  readonly root: string;
  /** `root`: one exchange of two directories; `entries`: one step an entry at their top. */
  readonly mode: 'root' | 'entries';
  /** Absolute. After the exchange it holds what was staged. */
  readonly livePath: string;
  /** Absolute, same filesystem. After the exchange it holds the former state, exactly. */
  readonly stagedPath: string;
  readonly steps: readonly ExchangeStep[];
}

export interface ExchangePlan {
  readonly roots: readonly ExchangeRoot[];
}

/** What lies at the two places of a step now: inode numbers, or null for nothing. */
export interface StepFacts {
  readonly live: string | null;
  readonly staged: string | null;
}

export type StepState = 'not-done' | 'done' | 'neither';

/** How far a step is; `neither` means that somebody else changed one of the places, and nothing may be touched. */
export function decideStep(step: ExchangeStep, facts: StepFacts): StepState {
  if (facts.live === step.liveInode && facts.staged === step.stagedInode) return 'not-done';
  if (facts.live === step.stagedInode && facts.staged === step.liveInode) return 'done';
  return 'neither';
}

/** The kind of a step by what lies at both places; null when there is nothing to do. */
export function exchangeKind(facts: StepFacts): ExchangeKind | null {
  if (facts.live !== null && facts.staged !== null) return 'exchange';
  if (facts.staged !== null) return 'move-in';
  return facts.live === null ? null : 'move-out';
}

export const SIDECAR_SUFFIXES = ['-wal', '-shm', '-journal'] as const;

/** The database whose sidecar a name would be: `state.db` for `state.db-wal`; null for any other name. */
export function mainOfSidecar(name: string): string | null {
  for (const suffix of SIDECAR_SUFFIXES) {
    if (name.endsWith(suffix) && name.length > suffix.length) return name.slice(0, -suffix.length);
  }
  return null;
}

/**
 * Puts steps into the order in which they are made: sidecars move out before their database is exchanged, and move
 * in after it, because a new state.db beside an old -wal shows the old rows. A sidecar on both sides goes right
 * before its database. `names` is every name on either side; a `-wal` without its database is an ordinary file.
 */
export function orderSteps(steps: readonly ExchangeStep[], names: ReadonlySet<string>): ExchangeStep[] {
  const isSidecar = (step: ExchangeStep): boolean => names.has(mainOfSidecar(step.name) ?? '');
  const outFirst = steps.filter((step) => isSidecar(step) && step.kind === 'move-out');
  const inLast = steps.filter((step) => isSidecar(step) && step.kind === 'move-in');
  const besides = steps.filter((step) => isSidecar(step) && step.kind === 'exchange');
  const middle = steps
    .filter((step) => !isSidecar(step))
    .flatMap((step) => [...besides.filter((sidecar) => mainOfSidecar(sidecar.name) === step.name), step]);
  const ordered = [...outFirst, ...middle, ...inLast];
  // A sidecar whose database is on neither step list (it stays untouched) still has its step.
  return [...ordered, ...besides.filter((step) => !ordered.includes(step))];
}
