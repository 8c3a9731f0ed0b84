// Orders, grants, progress and reports: what goes into a protocol and what comes out. All of it is small: ids,
// digests, counts and paths of directories, never lists of files (DESIGN "Workflows": history stays bounded).
import type { Adopted } from './adoption.js';
import { SCHEDULED_PROTOCOLS } from './definition.js';
import type { Confirmation, ScheduledProtocol } from './definition.js';
import type { ForeignKeysSum } from './foreign-keys.js';
import { LIMITS } from './limits.js';
import type { CutReport, Epoch } from './manifest.js';
import type { RestorePlan } from './plan.js';
import { Stop } from './stop.js';
import type { StopCode, StopDetails } from './stop.js';
import type { StepId } from './steps.js';

/** What every order names. `operation` is a UUID made by whoever asks: the same operation never runs twice. */
export interface Order {
  readonly operation: string;
  readonly store: string;
  readonly host: string;
  readonly requestedBy: string;
  /**
   * How long a step may be silent before its worker counts as lost; LIMITS.heartbeatTimeoutMillis when it is not given.
   * Longer than a restart of the server, or that restart ends the protocol.
   */
  readonly heartbeatTimeoutMillis?: number;
}

export interface BackupOrder extends Order {
  /** Everything is read and written anew, whatever seems to be there already; only a vault knows what is. */
  readonly rehash?: boolean;
}

export type RestoreSource =
  | {
      readonly kind: 'backup';
      /** Id, name or number, unique prefix, `latest`, or the path of an artefact. */ readonly backup: string;
      /** The store that the backup is of, where it is to be restored as a new one (SM-4). */ readonly from?: string;
      /** Fingerprint of the key that signed it, where its vault does not believe that key (SM-12). */ readonly adopt?: string;
    }
  | { readonly kind: 'rollback'; /** Id of a rollback point, or `latest`. */ readonly point: string };

export interface PlanOrder extends Order {
  readonly source: RestoreSource;
}

/** `yes` at a terminal, or CONFIRM_LIVE=YES where there is none. */
export type ConfirmedBy = 'typed' | 'variable';

export interface RequestOrder extends PlanOrder {
  /** Digest of the plan that the requester has read; null: wait for the update `confirm`. */
  readonly confirm: string | null;
  readonly deadlineMillis: number;
  /** What was done for a definition of confirmation `typed`; absent where nothing was asked for. */
  readonly confirmedBy?: ConfirmedBy;
}

/** The execution carries the plan that was approved: its digest is checked again, then its bounds are held. */
export interface RestoreOrder extends PlanOrder {
  readonly approved: {
    readonly digest: string;
    readonly plan: RestorePlan;
    /** Identity of the lock.db beside which it was planned (LockGrant). */
    readonly lockId: string;
  };
}

/** How deep a verification goes; only of a vault can anything be known without looking at the contents. */
export const VERIFY_DEPTHS = ['ciphertext', 'sample', 'full'] as const;
export type VerifyDepth = (typeof VERIFY_DEPTHS)[number];

export interface VerifyOrder extends Order {
  /** As in RestoreSource; `all`: every backup of the store in its vault. */
  readonly backup: string;
  /** `full` when it is not given. */
  readonly depth?: VerifyDepth;
  /** Chooses the files of a sample; made by the step when it is not given. */
  readonly seed?: string;
}

/** What a schedule gives each run: the operation is the run's own. */
export interface ScheduledOrder extends Omit<Order, 'operation'> {
  readonly start: ScheduledProtocol;
}

/** What the holder of a store's lock shows at each effect; the token only grows. */
export interface LockGrant {
  readonly operation: string;
  readonly runId: string;
  readonly token: number;
  /** Identity of the lock.db that gave it: on another machine that goes by the same host name it is another one. */
  readonly lockId: string;
}

/** Heartbeat details of a running step; every count is what has been done, not what is hoped. */
export interface Progress {
  readonly step: StepId | 'settle';
  readonly phase: string;
  readonly bytesDone: number;
  readonly bytesTotal: number | null;
  readonly filesDone: number;
  readonly filesTotal: number | null;
  readonly elapsedMillis: number;
}

export interface StepTime {
  readonly step: string;
  readonly millis: number;
}

/** What was paid of what a run owed that did not end well. */
export interface Settlement {
  readonly undone: boolean;
  readonly finished: boolean;
  /** Hooks that were run for it, in order. */
  readonly hooks: readonly string[];
  readonly stagingDropped: number;
}

/**
 * For the details of a STOP. `settled`: `undone`, `finished` (it had been committed before it was cut short, so what was
 * asked for has come about), or `ended` (nothing of the live store had been touched). `unknown`: whether the lock was
 * taken, no worker of the host was there to say; nothing else had been.
 */
export function settlementDetails(settlement: Settlement | null): StopDetails {
  if (settlement === null) return { settled: 'unknown' };
  const { undone, finished, hooks, stagingDropped } = settlement;
  return { settled: finished ? 'finished' : undone ? 'undone' : 'ended', hooksRun: hooks, stagingDropped };
}

/** Says where what was asked for has come about although the run was cut short, and where nobody knows what was left. */
export function settledMessage(message: string, settlement: Settlement | null): string {
  if (settlement === null) return `${message}; if it has taken the lock, the next backup or restore settles it`;
  return settlement.finished ? `${message}; it had been committed, and was finished` : message;
}

export interface BackupReport {
  readonly protocol: 'backup';
  readonly operation: string;
  readonly store: string;
  readonly backupId: string;
  /** Directory of the artefact on the host. */
  readonly artefact: string;
  readonly manifestSha256: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly databases: number;
  /** As the manifest records them: the application wrote these rows, and a restore brings them back. */
  readonly foreignKeys: ForeignKeysSum;
  readonly cut: CutReport;
  readonly steps: readonly StepTime[];
}

export interface RestoreReport {
  readonly protocol: 'restore' | 'rollback';
  readonly operation: string;
  readonly store: string;
  readonly planDigest: string;
  readonly rollbackPoint: string;
  /** Backup of the state that was replaced, where the definition asks for one; null: that state could not be backed up. */
  readonly kept?: string | null;
  readonly notKeptBecause?: StopCode | null;
  /** Who signed what was restored, where its vault did not believe it; absent where it did, and for a rollback. */
  readonly adopted?: Adopted;
  readonly epoch: Epoch;
  readonly sizeBytes: number;
  readonly files: number;
  readonly steps: readonly StepTime[];
}

export interface PlanReport {
  readonly protocol: 'plan';
  readonly plan: RestorePlan;
  readonly digest: string;
  /** What the definition wants of whoever approves. */
  readonly confirmation: Confirmation;
}

export interface ScheduledReport {
  readonly protocol: 'scheduled';
  readonly store: string;
  readonly started: ScheduledProtocol;
  /** Of the child: what it did is in its own history. */
  readonly workflowId: string;
  /** null: it was not. */
  readonly skippedBecause: string | null;
}

export interface SampleReport {
  readonly seed: string;
  /** How many were looked at. */
  readonly files: number;
  /** The first hundred of them: `<number>:<root>/<path>`. */
  readonly listed: readonly string[];
}

/** Of several backups: sums, and ids and digests of the newest. */
export interface VerifyReport {
  readonly protocol: 'verify';
  readonly operation: string;
  readonly store: string;
  readonly backupId: string;
  readonly artefact: string;
  readonly manifestSha256: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly databases: number;
  /** As the manifest records them: the application wrote these rows, and a restore brings them back. Absent: not looked at. */
  readonly foreignKeys?: ForeignKeysSum;
  readonly depth: VerifyDepth;
  readonly backups: number;
  /** Of a vault: how many packs were hashed, and their bytes. */
  readonly packs?: number;
  readonly packBytes?: number;
  readonly sample?: SampleReport;
  /** Whether this host vouches for the backups in their vault. */
  readonly countersigned: boolean;
  readonly steps: readonly StepTime[];
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/;
/** RFC 9562 with its version and variant, as the manifest's schema wants it. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export function isStoreName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(value);
}

export function isOperationId(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

function isHeartbeat(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value >= 2_000 && value <= 600_000);
}

/**
 * Checks the shape of an order at the top of a workflow: orders also come as hand-written JSON.
 * @throws Stop usage
 */
export function checkOrder(order: Order): void {
  const facts: readonly [boolean, string][] = [
    [typeof order === 'object' && order !== null, 'the input is one JSON object'],
    [isStoreName(order?.store), '`store` is a store id'],
    [isOperationId(order?.operation), '`operation` is a UUID in lower case'],
    [
      typeof order?.host === 'string' && order.host.length > 0 && order.host.length < 256,
      '`host` names the host of the store',
    ],
    [isHeartbeat(order?.heartbeatTimeoutMillis), '`heartbeatTimeoutMillis` is between 2000 and 600000'],
    [typeof order?.requestedBy === 'string' && order.requestedBy.length > 0, '`requestedBy` says who asks'],
  ];
  for (const [holds, fact] of facts)
    if (!holds) throw new Stop('usage', `the order is malformed: ${fact}`, { expected: fact });
}

/**
 * That the definition got what it wants of whoever restores: the digest of a plan can be had by anybody.
 * @throws Stop approval_missing
 */
export function assertConfirmed(confirmation: Confirmation | undefined, { confirmedBy }: RequestOrder): void {
  if (confirmation !== 'typed' || confirmedBy !== undefined) return;
  throw new Stop('approval_missing', 'nothing was done: `yes` at a terminal, or CONFIRM_LIVE=YES, is wanted as well', {
    confirmation,
  });
}

/** @throws Stop usage */
export function checkScheduled(order: ScheduledOrder): void {
  if (!SCHEDULED_PROTOCOLS.includes(order.start))
    throw new Stop('usage', `the order is malformed: \`start\` is one of ${SCHEDULED_PROTOCOLS.join(', ')}`, {
      expected: SCHEDULED_PROTOCOLS,
    });
}

/** @throws Stop usage */
export function checkVerify({ backup, depth, seed }: VerifyOrder): void {
  const facts: readonly [boolean, string][] = [
    [typeof backup === 'string' && backup !== '', '`backup` names a backup'],
    [depth === undefined || VERIFY_DEPTHS.includes(depth), `\`depth\` is one of ${VERIFY_DEPTHS.join(', ')}`],
    [
      seed === undefined || (typeof seed === 'string' && /^[\w.-]{1,64}$/.test(seed)),
      '`seed` is at most 64 letters, digits, dots and hyphens',
    ],
  ];
  for (const [holds, fact] of facts)
    if (!holds) throw new Stop('usage', `the order is malformed: ${fact}`, { expected: fact });
}

/**
 * What a request says beside its order. A deadline that is left out would mean waiting for ever.
 * @throws Stop usage
 */
export function checkRequest(order: RequestOrder): void {
  const { confirm, confirmedBy, deadlineMillis } = order;
  const facts: readonly [boolean, string][] = [
    [
      confirm === null || typeof confirm === 'string',
      '`confirm` is the digest of a plan, or null to wait for the update',
    ],
    [
      typeof deadlineMillis === 'number' && deadlineMillis > 0 && deadlineMillis <= LIMITS.approvalDeadlineMillisMax,
      `\`deadlineMillis\` is at most ${LIMITS.approvalDeadlineMillisMax}`,
    ],
    [
      confirmedBy === undefined || confirmedBy === 'typed' || confirmedBy === 'variable',
      '`confirmedBy` is `typed` or `variable`, where anything is asked for',
    ],
  ];
  for (const [holds, fact] of facts)
    if (!holds) throw new Stop('usage', `the request is malformed: ${fact}`, { expected: fact });
}
