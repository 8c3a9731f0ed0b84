// Names that more than one room must agree on: queues, workflow ids, search attributes, workflow types.

export const WORKFLOW_QUEUE = 'holdfast';

/** The workflows that workflows/index.ts exports. */
export const WORKFLOW_TYPES: readonly string[] = [
  'backup',
  'plan',
  'request',
  'restore',
  'rollback',
  'scheduled',
  'verify',
];

/** Activities that touch a host run on that host's own queue. */
export function hostQueue(host: string): string {
  return `holdfast@${host}`;
}

/** The execution's id: the server lets one run at a time and names it. */
export function executionId(store: string): string {
  return `holdfast/${store}`;
}

/** A request waits for people under an id of its own, outside any exclusion. */
export function requestId(store: string, operation: string): string {
  return `holdfast/${store}/request/${operation}`;
}

/** Of a schedule, and the beginning of the ids of what it starts: the server appends the time. */
export function scheduleId(store: string, protocol: string): string {
  return `holdfast/${store}/schedule/${protocol}`;
}

export const SEARCH_ATTRIBUTES = [
  'HoldfastStore',
  'HoldfastProtocol',
  'HoldfastBackupId',
  'HoldfastOutcome',
  'HoldfastStopCode',
] as const;

export type Outcome = 'running' | 'waiting' | 'compensating' | 'done' | 'skipped' | 'stopped' | 'failed';

/** An RFC 3339 instant of UTC as names of files have it, to the second: `20261121T120000Z`. */
export function compactInstant(instant: string): string {
  return `${instant.slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
}
