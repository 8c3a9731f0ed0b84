// The store definition: what is protected, and how. Written as YAML, parsed and validated in domain/schema/.
// These are its types after validation, with every default filled in.

/**
 * How a tree is captured beside the databases (DESIGN "The cut", step 4). `append` takes the application's word that bytes
 * once written stay: only another inode and a shorter file are seen.
 */
export type TreePolicy = 'verify' | 'immutable' | 'append' | 'quiesced';

export interface SequenceDefinition {
  readonly table: string;
  readonly column: string;
}

export interface MigrationsDefinition {
  readonly table: string;
  /** Rows in this order are the history. */
  readonly orderBy: string;
}

export interface DatabaseDefinition {
  /** Path or glob, relative to the root. */
  readonly path: string;
  /** Names, or patterns with `*`; each must match at least one table. */
  readonly requiredTables: readonly string[];
  /** Monotonic columns that a restore may never lower (SM-4). */
  readonly sequences: readonly SequenceDefinition[];
  /** Tables whose rows, once there, never change (SM-7), with the column that orders them. */
  readonly appendOnly: readonly SequenceDefinition[];
  readonly migrations: MigrationsDefinition | null;
  /** `none`: the writer takes no file locks; captured only while the quiesce hook holds it. */
  readonly locking: 'sqlite' | 'none';
  /** May be absent, or, for a glob, match nothing: else the absent is never taken for the empty. */
  readonly optional: boolean;
}

export interface TreeDefinition {
  /** Directory relative to the root; `.` is the root itself. */
  readonly path: string;
  /** Globs relative to the tree; a file that matches one of them and no exclude is captured. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly policy: TreePolicy;
}

export interface RootDefinition {
  readonly name: string;
  /** Absolute, resolved. */
  readonly path: string;
  readonly databases: readonly DatabaseDefinition[];
  readonly trees: readonly TreeDefinition[];
  /** Globs of files outside the members that a restore leaves behind instead of carrying over. */
  readonly drop: readonly string[];
}

export interface HookDefinition {
  /** No shell: argv[0] is an absolute path. */
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
}

export const HOOK_NAMES = ['quiesce', 'resume', 'detach', 'attach', 'caches', 'migrate', 'verify', 'version'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

export interface StoreDefinition {
  /** Lower-case letters, digits and hyphens. */
  readonly store: string;
  readonly roots: readonly RootDefinition[];
  readonly hooks: Readonly<Partial<Record<HookName, HookDefinition>>>;
  readonly gates: {
    readonly version: 'exact' | 'same-major' | 'not-newer' | 'off';
    readonly modules: 'exact' | 'superset' | 'off';
  };
  readonly backup: {
    /** Directory that receives the artefacts; absolute. */
    readonly destination: string;
    readonly quiesceTimeoutMillis: number;
    readonly cutTriesMax: number;
    readonly pinSecondsMax: number;
    readonly walGrowthBytesMax: number;
  };
  readonly rollback: {
    readonly pointsMax: number;
    readonly daysMax: number;
  };
}
