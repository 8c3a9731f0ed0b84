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
  /** Globs of what the layout lets into no backup, whatever claims it; absent where it has no such rule. */
  readonly neverCaptured?: readonly string[];
}

export interface HookDefinition {
  /** No shell: argv[0] is an absolute path. */
  readonly argv: readonly string[];
  readonly timeoutSeconds: number;
}

export const HOOK_NAMES = ['quiesce', 'resume', 'detach', 'attach', 'caches', 'migrate', 'verify', 'version'] as const;
export type HookName = (typeof HOOK_NAMES)[number];

export const LAYOUT_NAMES = ['plain', 'helionyx'] as const;
export type LayoutName = (typeof LAYOUT_NAMES)[number];

/** Globs below a root of what gets into no backup of a layout, and comes from none. `.env…` are files of secrets (H-6). */
export const NEVER_CAPTURED: Readonly<Record<LayoutName, readonly string[]>> = {
  plain: [],
  helionyx: ['**/.env*', '**/.env*/**'],
};

/** How a backup lies on disk. */
export type LayoutDefinition =
  | { readonly name: 'plain' }
  | {
      readonly name: 'helionyx';
      /** What meta.json and ENV of the settings say. */
      readonly environment: string;
      /** Where the application runs: paths of its settings begin there, and its commit is recorded. */
      readonly directory: string;
      /** File of `NAME=value` lines; only the settings that are not secret are read from it. */
      readonly settings: string;
    };

/**
 * What a person does to approve a plan: `plan`, give its digest; `typed`, type yes at a terminal, or set CONFIRM_LIVE=YES
 * where there is none; `none`, nothing more than ask for it.
 */
export const CONFIRMATIONS = ['plan', 'typed', 'none'] as const;
export type Confirmation = (typeof CONFIRMATIONS)[number];

export const SCHEDULED_PROTOCOLS = ['backup', 'verify'] as const;
export type ScheduledProtocol = (typeof SCHEDULED_PROTOCOLS)[number];

export interface ScheduleDefinition {
  /** Five fields, or six that begin with seconds. */
  readonly cron: string;
  /** Name of the IANA data base. */
  readonly timeZone: string;
  /** Each start is delayed by a random part of this. */
  readonly jitterSeconds: number;
  /** What should have started while the engine was down is started after it, if it is not older. */
  readonly catchUpSeconds: number;
}

/** The instants of a schedule, in its time zone: any that has a value of each list. Days of the week begin with Sunday. */
export interface Calendar {
  readonly second: readonly number[];
  readonly minute: readonly number[];
  readonly hour: readonly number[];
  readonly dayOfMonth: readonly number[];
  /** 1 to 12. */
  readonly month: readonly number[];
  /** 0 to 6. */
  readonly dayOfWeek: readonly number[];
}

/** A schedule of a store, with what its cron expression means. */
export interface StoreSchedule extends ScheduleDefinition {
  readonly store: string;
  readonly protocol: ScheduledProtocol;
  readonly calendar: Calendar;
}

export interface StoreDefinition {
  /** Lower-case letters, digits and hyphens. */
  readonly store: string;
  readonly roots: readonly RootDefinition[];
  readonly layout: LayoutDefinition;
  readonly confirmation: Confirmation;
  readonly hooks: Readonly<Partial<Record<HookName, HookDefinition>>>;
  readonly schedules: Readonly<Partial<Record<ScheduledProtocol, ScheduleDefinition>>>;
  readonly gates: {
    readonly version: 'exact' | 'same-major' | 'not-newer' | 'off';
    readonly modules: 'exact' | 'superset' | 'off';
  };
  readonly backup: {
    /** Directory that receives the artefacts, absolute; null: backups go to the vault. */
    readonly destination: string | null;
    /** Name of a vault (`vaults/<name>.yaml`), where backups do not go to a directory. */
    readonly vault?: string;
    readonly quiesceTimeoutMillis: number;
    readonly cutTriesMax: number;
    readonly pinSecondsMax: number;
    readonly walGrowthBytesMax: number;
  };
  readonly rollback: {
    /** Directory that receives a backup of the present state before a restore replaces it; absolute. */
    readonly destination: string | null;
    readonly pointsMax: number;
    readonly daysMax: number;
  };
}
