// The plan of a restore or rollback: a function of source, target and policy. Its digest is what people approve;
// the execution plans again under the lock and must not exceed it. The same facts give the same plan (F-2, F-29).
import { adoptedInWords } from './adoption.js';
import type { Adopted } from './adoption.js';
import { canonicalJson } from './canonical.js';
import { foreignKeysInWords } from './foreign-keys.js';
import type { ForeignKeysSum } from './foreign-keys.js';
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

/** Databases, `<root>/<path>` each: all of them count, a few are named, and the digest tells one set from another. */
export interface NamedDatabases {
  readonly count: number;
  /** The first in the order of their names; at most LIMITS.databasesNamedMax. */
  readonly first: readonly string[];
  /** Of all of them: sha256 of the sorted names, each ended by a NUL; lower-case hex. */
  readonly sha256: string;
}

/** Upper bounds of what the live store would lose, rounded up so that a store that is written to can be planned for. */
export interface PlanBounds {
  /** Rows by which tables would shrink, summed over all tables. */
  readonly rowsFewerMax: number;
  /**
   * Live databases that were written to since: any row of theirs may be newer, whatever their number says. Where all of
   * them are named it is these and no others, else so many as their number is rounded up to.
   */
  readonly databasesChanged: NamedDatabases;
  /** Live files that differ from, or are not in, the source. */
  readonly filesNewerMax: number;
  /** Files outside the members that stay, by hard link. */
  readonly filesCarriedOverMax: number;
  /** Live databases that can't be read, or not soon enough for their writers: whatever they hold would be lost. */
  readonly databasesUnreadable: NamedDatabases;
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
    /** The store that it is of, where it becomes a new one; absent where it comes back to its own. */
    readonly store?: string;
    /** Where it was made: a store of the same name on another host is another store, or this one's predecessor. */
    readonly host: string;
    /** Who signed it, where its vault does not believe it, and a person does; absent where nobody had to. */
    readonly adopted?: Adopted;
    /** sha256 of manifest.json, or of the record of the rollback point. */
    readonly sha256: string;
    readonly files: number;
    readonly sizeBytes: number;
    /** Databases of a rollback point that can't be read: they come back as they were. None for a backup. */
    readonly databasesUnreadable: NamedDatabases;
    /** What the backup recorded: it comes back with it. Absent when there is nothing to say, and for a rollback point. */
    readonly foreignKeys?: ForeignKeysSum & { readonly databases: NamedDatabases };
  };
  readonly roots: readonly PlanRoot[];
  /** Where a backup of the present state is made first; absent where the definition does not ask for one. */
  readonly keep?: { readonly destination: string };
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
  readonly databasesChanged: NamedDatabases;
  readonly filesNewer: number;
  readonly filesCarriedOver: number;
  readonly databasesUnreadable: NamedDatabases;
  /** What of the rows and changed databases is of which database, `<root>/<path>`. */
  readonly byDatabase: ReadonlyMap<string, { readonly rowsFewer: number; readonly isChanged: boolean }>;
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
    databasesChanged: facts.databasesChanged,
    filesNewerMax: roundBound(facts.filesNewer),
    filesCarriedOverMax: roundBound(facts.filesCarriedOver),
    databasesUnreadable: facts.databasesUnreadable,
  };
}

function inWords({ count, first }: Pick<NamedDatabases, 'count' | 'first'>): string {
  if (first.length === 0) return `${count} databases`;
  return first.join(', ') + (count > first.length ? ` and ${count - first.length} more` : '');
}

/** True when each of `present` is known to be one of `approved`: the same set, or all of them by name. */
function coversDatabases(approved: NamedDatabases, present: NamedDatabases): boolean {
  if (present.sha256 === approved.sha256) return true;
  return present.first.length === present.count && present.first.every((name) => approved.first.includes(name));
}

const areAllNamed = ({ count, first }: NamedDatabases): boolean => first.length === count;

function changesInWords(changed: NamedDatabases): string {
  if (changed.count === 0) return 'no database was written to since';
  if (areAllNamed(changed)) return `any row may be newer in ${inWords(changed)}, which may have been written to since`;
  return `any row may be newer in at most ${roundBound(changed.count)} of the databases, of which ${changed.count} may have been written to since`;
}

export function planSentence(plan: Omit<RestorePlan, 'sentence' | 'format'>): string {
  const { bounds, source } = plan;
  const kind = source.kind === 'backup' ? 'backup' : 'rollback point';
  const where = source.host === plan.host ? '' : `, made on another host, ${JSON.stringify(source.host)}`;
  const signed = source.adopted === undefined ? '' : `, ${adoptedInWords(source.adopted)}`;
  const what = `${kind} ${source.id} of ${source.createdAt}${where}`;
  const losses = [
    `tables shrink by at most ${bounds.rowsFewerMax} rows in all`,
    changesInWords(bounds.databasesChanged),
    `at most ${bounds.filesNewerMax} files are newer or differ`,
  ];
  if (bounds.databasesUnreadable.count > 0) {
    losses.push(
      `${inWords(bounds.databasesUnreadable)} can't be read, or not soon enough for its writers, so whatever it holds is replaced unseen`,
    );
  }
  if (source.databasesUnreadable.count > 0) {
    losses.push(`${inWords(source.databasesUnreadable)} comes back damaged, as it was`);
  }
  if (source.foreignKeys !== undefined) {
    const { databases } = source.foreignKeys;
    losses.push(
      `${inWords(databases)} comes back with ${foreignKeysInWords(source.foreignKeys)}, as when it was backed up`,
    );
  }
  const roots = plan.roots.map((root) => `${root.path} (${root.mode})`).join(', ');
  if (source.store !== undefined)
    return `Make store ${plan.store} on ${plan.host}, at ${roots}, anew from ${what} of store ${source.store}${signed}: a store of its own, whose sequences go on from that backup, whatever ${source.store} has given out since.`;
  return `Replace store ${plan.store} on ${plan.host}, at ${roots}, by ${what}${signed}: ${losses.join('; ')}. The present state is kept as a rollback point${keepInWords(plan.keep)}.`;
}

function keepInWords(keep: RestorePlan['keep']): string {
  return keep === undefined ? '' : `, and as a backup in ${keep.destination} unless it is damaged`;
}

/** The bytes whose sha256 is the plan digest. */
export function planBytes(plan: RestorePlan): string {
  return canonicalJson(plan);
}

/** What an approval is bound to as it is, by the names that people have for it. */
const FIXED: readonly (readonly [key: Exclude<keyof RestorePlan, 'bounds' | 'sentence'>, what: string])[] = [
  ['format', 'the format of plans'],
  ['protocol', 'the protocol'],
  ['store', 'the store'],
  ['host', 'the host'],
  ['source', 'the source'],
  ['roots', 'the place of a root, or how it is exchanged,'],
  ['keep', 'the place of the backup that is made first'],
  ['hooks', 'the set of hooks'],
  ['gates', 'a gate'],
  ['definitionSha256', 'the store definition'],
];

/** Of a database that may be replaced unseen nothing is held against a bound, once it can be read after all. */
function withoutUnseen(approved: NamedDatabases, facts: PlanFacts): PlanFacts {
  const byDatabase = new Map([...facts.byDatabase].filter(([name]) => !approved.first.includes(name)));
  const unseen = approved.first.reduce((sum, name) => sum + (facts.byDatabase.get(name)?.rowsFewer ?? 0), 0);
  return { ...facts, rowsFewer: facts.rowsFewer - unseen, byDatabase };
}

/** What of the databases that were written to is not what was approved; null: nothing. */
function changedBeyond(approved: NamedDatabases, { byDatabase }: PlanFacts): string | null {
  const changed = [...byDatabase].filter(([, { isChanged }]) => isChanged).map(([name]) => name);
  if (!areAllNamed(approved)) {
    const bound = roundBound(approved.count);
    return changed.length > bound ? `${changed.length} databases written to since, ${bound} approved` : null;
  }
  const others = changed.filter((name) => !approved.first.includes(name));
  if (others.length === 0) return null;
  return `${inWords({ count: others.length, first: others.slice(0, 3) })} written to since`;
}

/**
 * Holds the facts found under the lock against the approved plan.
 * @throws Stop plan_stale when anything but the bounds differs, or a fact exceeds its bound
 */
export function assertPlanHolds(approved: RestorePlan, present: RestorePlan, measured: PlanFacts): void {
  const facts = withoutUnseen(approved.bounds.databasesUnreadable, measured);
  const exceeded: string[] = [];
  for (const [key, what] of FIXED)
    if (canonicalJson([approved[key] ?? null]) !== canonicalJson([present[key] ?? null]))
      exceeded.push(`${what} is another by now`);
  if (facts.rowsFewer > approved.bounds.rowsFewerMax)
    exceeded.push(`${facts.rowsFewer} rows, ${approved.bounds.rowsFewerMax} approved`);
  const changed = changedBeyond(approved.bounds.databasesChanged, facts);
  if (changed !== null) exceeded.push(changed);
  if (facts.filesNewer > approved.bounds.filesNewerMax)
    exceeded.push(`${facts.filesNewer} files, ${approved.bounds.filesNewerMax} approved`);
  if (facts.filesCarriedOver > approved.bounds.filesCarriedOverMax) {
    exceeded.push(`${facts.filesCarriedOver} files carried over, ${approved.bounds.filesCarriedOverMax} approved`);
  }
  if (!coversDatabases(approved.bounds.databasesUnreadable, facts.databasesUnreadable))
    exceeded.push(`${inWords(facts.databasesUnreadable)} can't be read now, which is not what was approved`);
  if (exceeded.length > 0)
    throw new Stop('plan_stale', `the plan does not hold any more: ${exceeded.join('; ')}`, { exceeded });
}
