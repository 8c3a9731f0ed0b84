// The plan of a restore or rollback: a function of source, target and policy. Its digest is what people approve;
// the execution plans again under the lock and must not exceed it. The same facts give the same plan (F-2, F-29).
import { canonicalJson } from './canonical.js';
import { Stop } from './stop.js';

export const PLAN_FORMAT = 'holdfast-plan-1';

export interface PlanRoot {
  readonly root: string;
  readonly path: string;
  /** `root`: the directory is exchanged; `entries`: each entry at its top is, under the journal. */
  readonly mode: 'root' | 'entries';
  /** What the mode was chosen for, in words. */
  readonly why: string;
}

/** Upper bounds of what the live store would lose, rounded up so that a store that is written to can be planned for. */
export interface PlanBounds {
  /** Rows by which tables would shrink, summed over all tables. */
  readonly rowsFewerMax: number;
  /** Live files that differ from, or are not in, the source. */
  readonly filesNewerMax: number;
  /** Files outside the members that stay, by hard link. */
  readonly filesCarriedOverMax: number;
  /** Live databases that can't be read: whatever they hold would be lost. Sorted `<root>/<path>`. */
  readonly databasesUnreadable: readonly string[];
}

export interface RestorePlan {
  readonly format: typeof PLAN_FORMAT;
  readonly protocol: 'restore' | 'rollback';
  readonly store: string;
  readonly host: string;
  readonly source: {
    readonly kind: 'backup' | 'rollback';
    /** Backup id, or id of the rollback point. */
    readonly id: string;
    /** Directory on the host. */
    readonly path: string;
    readonly createdAt: string;
    /** Where it was made: a store of the same name on another host is another store, or this one's predecessor. */
    readonly host: string;
    /** sha256 of manifest.json, or of the record of the rollback point. */
    readonly sha256: string;
    readonly files: number;
    readonly sizeBytes: number;
    /** Databases of a rollback point that can't be read: they come back as they were. Sorted; empty for a backup. */
    readonly databasesUnreadable: readonly string[];
  };
  readonly roots: readonly PlanRoot[];
  readonly hooks: readonly string[];
  readonly gates: { readonly version: string; readonly modules: string };
  /** Of the store definition: another policy is another plan. */
  readonly definitionSha256: string;
  readonly bounds: PlanBounds;
  /** What is approved, in words. */
  readonly sentence: string;
}

/** The measured facts that the bounds must cover. */
export interface PlanFacts {
  readonly rowsFewer: number;
  readonly filesNewer: number;
  readonly filesCarriedOver: number;
  readonly databasesUnreadable: readonly string[];
}

/**
 * The next of 10, 100, 1000 … not below twice `count`, so that a plan of a busy store holds for the minutes that
 * reading it takes; nothing stays nothing.
 */
export function roundBound(count: number): number {
  if (count <= 0) return 0;
  let bound = 10;
  while (bound < 2 * count) bound *= 10;
  return bound;
}

export function boundsOf(facts: PlanFacts): PlanBounds {
  return {
    rowsFewerMax: roundBound(facts.rowsFewer),
    filesNewerMax: roundBound(facts.filesNewer),
    filesCarriedOverMax: roundBound(facts.filesCarriedOver),
    databasesUnreadable: [...facts.databasesUnreadable].sort(),
  };
}

export function planSentence(plan: Omit<RestorePlan, 'sentence' | 'format'>): string {
  const { bounds, source } = plan;
  const kind = source.kind === 'backup' ? 'backup' : 'rollback point';
  const where = source.host === plan.host ? '' : `, made on another host, ${JSON.stringify(source.host)}`;
  const what = `${kind} ${source.id} of ${source.createdAt}${where}`;
  const losses = [
    `at most ${bounds.rowsFewerMax} rows and ${bounds.filesNewerMax} files that are newer or differ are replaced`,
  ];
  if (bounds.databasesUnreadable.length > 0) {
    losses.push(`${bounds.databasesUnreadable.join(', ')} can't be read, so whatever it holds is replaced unseen`);
  }
  if (source.databasesUnreadable.length > 0) {
    losses.push(`${source.databasesUnreadable.join(', ')} comes back damaged, as it was`);
  }
  const roots = plan.roots.map((root) => `${root.path} (${root.mode})`).join(', ');
  return `Replace store ${plan.store} on ${plan.host}, at ${roots}, by ${what}: ${losses.join('; ')}. The present state is kept as a rollback point.`;
}

/** The bytes whose sha256 is the plan digest. */
export function planBytes(plan: RestorePlan): string {
  return canonicalJson(plan);
}

/**
 * Holds the facts found under the lock against the approved plan.
 * @throws Stop plan_stale when anything but the bounds differs, or a fact exceeds its bound
 */
export function assertPlanHolds(approved: RestorePlan, present: RestorePlan, facts: PlanFacts): void {
  const fixed = ({ bounds: _bounds, sentence: _sentence, ...rest }: RestorePlan): string => canonicalJson(rest);
  const exceeded: string[] = [];
  if (fixed(approved) !== fixed(present)) exceeded.push('source, target or policy differ');
  if (facts.rowsFewer > approved.bounds.rowsFewerMax)
    exceeded.push(`${facts.rowsFewer} rows, ${approved.bounds.rowsFewerMax} approved`);
  if (facts.filesNewer > approved.bounds.filesNewerMax)
    exceeded.push(`${facts.filesNewer} files, ${approved.bounds.filesNewerMax} approved`);
  if (facts.filesCarriedOver > approved.bounds.filesCarriedOverMax) {
    exceeded.push(`${facts.filesCarriedOver} files carried over, ${approved.bounds.filesCarriedOverMax} approved`);
  }
  const known = new Set(approved.bounds.databasesUnreadable);
  for (const database of facts.databasesUnreadable)
    if (!known.has(database)) exceeded.push(`${database} can't be read now`);
  if (exceeded.length > 0)
    throw new Stop('plan_stale', `the plan does not hold any more: ${exceeded.join('; ')}`, { exceeded });
}
