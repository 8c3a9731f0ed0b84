// Limits of finding, starting and ending the engine (DESIGN "Engine"). Constants only: client/ and workers/
// share them, because both ends of the supervisor's socket must agree on who waits how long for whom.

export const ENGINE_LIMITS = {
  /** A cluster named by TEMPORAL_ADDRESS answers within this, or it is STOP engine_unreachable. */
  connectMillis: 10_000,
  /** One line of the supervisor's protocol. */
  messageBytesMax: 64 * 1024,
  /** The supervisor says something at least this often until it is ready. */
  progressIntervalMillis: 5_000,
  /** A supervisor that says nothing for this long is stuck. */
  silenceMillisMax: 60_000,
  /** A whole start, building Temporal on a slow machine included. */
  startMillisMax: 30 * 60_000,
  /** How often a client starts a supervisor that ends without a word. */
  supervisorStartsMax: 5,
  /** Between tries to reach a supervisor, and to have its lock. */
  retryMillis: 50,
  /** After the last client has gone: one that starts a moment later finds everything still up. */
  lingerMillis: 1_000,
  /** Between looks at whether workflows are still open, with no client left. */
  idleCheckMillis: 2_000,
  /** A started engine answers, or a started worker polls, within this. */
  readyMillis: 90_000,
  /** Critical sections of activities end within this once the worker is asked to stop (TEMPORAL.md 2). */
  workerGraceMillis: 60_000,
  /** On top of the grace: what the worker needs to report and leave. */
  workerStopMarginMillis: 15_000,
  engineStopMillis: 15_000,
  /** Between looks at whether the database file of the running engine is still its own. */
  databaseCheckMillis: 1_000,
  /** Back-off between restarts of a process that died, and how many failures in a row end the supervisor. */
  restartDelayMillis: 250,
  restartDelayMillisMax: 30_000,
  restartFailuresMax: 6,
  /** A process that has lived this long starts its back-off anew. */
  restartForgetMillis: 60_000,
  /** The log of a detached supervisor is set aside once at this size. */
  logBytesMax: 16 * 1024 * 1024,
  /** Closed runs are kept this long in the embedded engine, whose own default is a day. */
  retentionSeconds: 90 * 24 * 3600,
} as const;
