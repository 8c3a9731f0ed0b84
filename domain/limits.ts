// Every limit, in one place. A wait, a queue, a size or a count that is not bounded here is a defect.

export const LIMITS = {
  /** Workflow history stays under these for any store (DESIGN "Workflows"). */
  historyEventsMax: 200,
  historyBytesMax: 100 * 1024,
  /** A step's heartbeat: longer than a restart of the server (measured at 6 s), shorter than a person's patience. */
  heartbeatTimeoutMillis: 30_000,
  heartbeatIntervalMillis: 1_000,
  scheduleToStartMillis: 60_000,
  stepTimeoutMillis: 6 * 3600 * 1000,
  /** Beyond two hooks of the longest time limit: cut short, a hook goes on beside its next try. Heartbeats tell a dead worker. */
  compensationTimeoutMillis: 54 * 3600 * 1000,
  /** A compensation that has not succeeded by then raises an alarm, and goes on. */
  compensationAlarmMillis: 5 * 60 * 1000,
  quiesceTimeoutMillis: 10_000,
  cutTriesMax: 5,
  pinSecondsMax: 600,
  walGrowthBytesMax: 1024 ** 3,
  /** While a live database without a write-ahead log is read its writers wait; most drivers give up after five seconds. */
  writersWaitMillisMax: 2_000,
  hookTimeoutSeconds: 60,
  hookOutputBytesMax: 16 * 1024,
  gitTimeoutMillis: 10_000,
  documentBytesMax: 64 * 1024,
  catchUpSeconds: 3600,
  approvalDeadlineMillis: 7 * 24 * 3600 * 1000,
  approvalDeadlineMillisMax: 366 * 24 * 3600 * 1000,
  rollbackPointsMax: 2,
  rollbackDaysMax: 30,
  /** Journals of ended operations; as long as the embedded engine keeps closed runs, which name the same operations. */
  journalDaysMax: 90,
  manifestBytesMax: 512 * 1024 * 1024,
  /** Of a vault: a line has a file's runs, at worst one a chunk; some six million of them. */
  vaultManifestLineBytesMax: 256 * 1024 * 1024,
  pathBytesMax: 4096,
  /** A plan travels in the input of each step: of many databases it names a few. */
  databasesNamedMax: 10,
  databaseNamesCharactersMax: 1_000,
  definitionBytesMax: 1024 * 1024,
} as const;
