// The one table of refusals. A STOP is a protocol's answer to a state it does not accept: it has a code,
// an exit status (sysexits), what is known to be safe, and the decision that a person must take.
// docs/reference/stop.md is generated from this table; a test holds table, docs and code together (SM-10, F-31).
import { LIVE_UNTOUCHED, NOTHING_KEPT } from './stop-entry.js';
import type { StopEntry } from './stop-entry.js';
import { REFUSED_BY_CONFIGURATION } from './stops-configuration.js';
import { VAULT_STOPS } from './stops-vault.js';

const SETTLED =
  'the protocol was undone, or finished if it had been committed: `settled` in the details says which; `unknown`: only the lock may have been taken';

export const STOPS = {
  // 64: the request itself
  usage: { title: 'the command was not understood', exit: 64, safe: 'nothing was started', remedy: 'see its --help' },
  ambiguous_intent: {
    title: 'the request can be read in more than one way',
    exit: 64,
    safe: 'nothing was started',
    remedy: 'name one backup or store in full',
  },
  unclear_target: {
    title: 'the target is neither empty nor the root of the store',
    exit: 64,
    safe: LIVE_UNTOUCHED,
    remedy: 'name the root of the store, or an empty directory',
  },
  // 65: data that is not what it says
  artefact_missing: {
    title: 'no such backup',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'see `holdfast list` for the backups there are',
  },
  manifest_missing: {
    title: 'the artefact has no manifest',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup; an artefact without its manifest is never restored',
  },
  manifest_invalid: {
    title: 'the manifest is malformed',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy:
      'use another backup, a manifest is never repaired; of one that was being made: see the details, nothing was published',
  },
  checksum_mismatch: {
    title: 'the bytes are not those the manifest records',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup, and find out what changed this one',
  },
  file_missing: {
    title: 'a file that the manifest lists is missing',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup',
  },
  file_extra: {
    title: 'a file is present that the manifest does not list',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup, and find out who added the file',
  },
  path_unsafe: {
    title: 'a path leaves its root, is absolute, or appears twice',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup, and find out who wrote this one',
  },
  path_not_utf8: {
    title: 'a file name is not UTF-8',
    exit: 65,
    safe: NOTHING_KEPT,
    remedy: 'rename the file, or exclude it in the store definition',
  },
  symlink_found: {
    title: 'a symbolic link was met',
    exit: 65,
    safe: NOTHING_KEPT,
    remedy: 'replace the link by the file, or exclude it in the store definition',
  },
  special_file_found: {
    title: 'a socket, FIFO or device was met',
    exit: 65,
    safe: NOTHING_KEPT,
    remedy: 'remove it, or exclude it in the store definition',
  },
  not_a_database: {
    title: 'a listed database has no SQLite header, or a file of a tree has one but not the length of a database',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'check the path in the store definition; list a database that was cut short, or exclude it from its tree',
  },
  integrity_failed: {
    title: 'a database fails its integrity check',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'restore an older backup, or have the database examined; it is never repaired here',
  },
  foreign_keys_violated: {
    title: 'a database violates more foreign keys than its backup recorded',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup; after a migration, have the migration examined',
  },
  required_table_missing: {
    title: 'a required table is missing',
    exit: 65,
    safe: LIVE_UNTOUCHED,
    remedy: 'use another backup, or correct requiredTables in the store definition',
  },
  member_missing: {
    title: 'a member of the store does not exist',
    exit: 65,
    safe: NOTHING_KEPT,
    remedy: 'check the paths in the store definition; an absent database is never backed up as an empty one',
  },
  lock_damaged: {
    title: 'lock.db, which holds the lock and the journal of the store, is no sound database',
    exit: 65,
    safe: 'nothing is done to a store whose lock can not be had; what was cut short before is still owed its end',
    remedy:
      'see in the log of the system whether its disk fails; where fence.json lies beside it, a restore was cut short: have the roots and what is in trees/ examined, for one of both is the former state; then move lock.db, and fence.json, away, and the note that the next STOP names: the store begins anew, with no rollback point and no operation before',
  },
  operation_missing: {
    title: 'no such operation is running',
    exit: 65,
    safe: 'nothing was changed',
    remedy: 'see `holdfast status` for what is running',
  },
  // 69: somebody does not answer
  engine_unreachable: {
    title: 'the Temporal engine does not answer',
    exit: 69,
    safe: 'nothing was started',
    remedy: 'check TEMPORAL_ADDRESS, or unset it to use the embedded engine',
  },
  engine_unavailable: {
    title: 'the temporal binary could not be found, downloaded or built',
    exit: 69,
    safe: 'nothing was started',
    remedy: 'put `temporal` on PATH, or install Go and try again',
  },
  engine_lost: {
    title: 'the engine stopped answering',
    exit: 69,
    safe: 'an operation that was started goes on, or is undone, once engine and worker are back',
    remedy: 'start `holdfast up`, then see `holdfast watch` and `holdfast status`',
  },
  engine_database_lost: {
    title: 'the database file of the running engine was removed or replaced',
    exit: 69,
    safe: 'no more is begun; what an operation that was open owes its store is in the journal of the store',
    remedy:
      'where the file was only moved, put it back; then start `holdfast up`, and of each store that `holdfast status` says is owed something, run `holdfast recover`',
  },
  host_absent: {
    title: 'no worker of the host took the step in time',
    exit: 69,
    safe: NOTHING_KEPT,
    remedy: 'start `holdfast up` on the host',
  },
  // 73: the target exists
  target_exists: {
    title: 'the target exists',
    exit: 73,
    safe: 'the target is as it was',
    remedy: 'name a path that does not exist yet',
  },
  operation_repeated: {
    title: 'this operation was carried out before',
    exit: 73,
    safe: 'the first run stands; nothing was done again',
    remedy: 'start a new operation if it is really wanted',
  },
  // 74: the machine
  io_error: {
    title: 'the system refused a read or a write',
    exit: 74,
    safe: NOTHING_KEPT,
    remedy: 'see the path and the system error in the details',
  },
  no_space: {
    title: 'the filesystem is full',
    exit: 74,
    safe: NOTHING_KEPT,
    remedy: 'free space on the filesystem named in the details',
  },
  undo_failed: {
    title: 'the former state could not be put back',
    exit: 74,
    safe: 'both states are kept whole, and the fence forbids writes',
    remedy: 'run `holdfast recover`; the details name both trees',
  },
  // 75: busy, now
  store_locked: {
    title: 'another operation holds the lock of the store',
    exit: 75,
    safe: 'this command has changed nothing',
    remedy: 'wait for it; see `holdfast lock show` for what to do when its run was terminated, or its worker is gone',
  },
  store_in_use: {
    title: 'the store is in use',
    exit: 75,
    safe: LIVE_UNTOUCHED,
    remedy: 'stop the processes named in the details, or define a detach hook',
  },
  cannot_tell_in_use: {
    title: 'it cannot be told whether the store is in use',
    exit: 75,
    safe: LIVE_UNTOUCHED,
    remedy:
      'define a detach hook that stops the application; or let every process be looked into: by root, with CAP_SYS_PTRACE, in the pid namespace of the host',
  },
  database_busy: {
    title: 'the write locks could not be had together in time',
    exit: 75,
    safe: NOTHING_KEPT,
    remedy: 'raise quiesceTimeoutMillis, or define a quiesce hook',
  },
  database_exclusive: {
    title: 'a database is held in exclusive locking mode',
    exit: 75,
    safe: NOTHING_KEPT,
    remedy: 'end that connection, or define a quiesce hook that closes it',
  },
  hot_journal: {
    title: 'a database has a hot journal',
    exit: 75,
    safe: 'the live store is as it was; the journal was not rolled back',
    remedy: 'let the application open and recover the database, then try again',
  },
  source_changed: {
    title: 'a tree changed while it was read',
    exit: 75,
    safe: NOTHING_KEPT,
    remedy: 'choose another policy for the tree, or define a quiesce hook',
  },
  pin_too_long: {
    title: 'a snapshot was pinned for longer than is allowed',
    exit: 75,
    safe: NOTHING_KEPT,
    remedy: 'raise pinSecondsMax; a backup is done sooner to a faster destination',
  },
  wal_growth: {
    title: 'a write-ahead log grew beyond its limit while pinned',
    exit: 75,
    safe: NOTHING_KEPT,
    remedy: 'raise walGrowthBytesMax, or try again when less is written',
  },
  plan_stale: {
    title: 'more would be lost than was approved',
    exit: 75,
    safe: LIVE_UNTOUCHED,
    remedy: 'plan again, and approve the new plan',
  },
  lock_lost: {
    title: 'the lock was taken over while the step ran',
    exit: 75,
    safe: 'the step made no effect after the takeover',
    remedy: 'see audit.jsonl in the control directory for who took over',
  },
  worker_lost: {
    title: 'the worker was lost during a step',
    exit: 75,
    safe: SETTLED,
    remedy: 'see the worker log, then start the operation again',
  },
  step_timeout: {
    title: 'a step took longer than is allowed',
    exit: 75,
    safe: SETTLED,
    remedy: 'see the details for the step, then start the operation again',
  },
  cancelled: {
    title: 'the operation was cancelled',
    exit: 75,
    safe: SETTLED,
    remedy: 'start the operation again if it is wanted',
  },
  terminated: {
    title: 'the run was ended from outside, and nothing was undone',
    exit: 75,
    safe: 'both states are kept; the store may be fenced, and its application stopped or paused',
    remedy:
      'start a backup or restore of the store, which settles it first; or stop the worker and run `holdfast recover`',
  },
  // 77: permission or approval
  approval_missing: {
    title: 'the confirmation is missing',
    exit: 77,
    safe: LIVE_UNTOUCHED,
    remedy:
      'read what is shown, the plan or the owner of the lock, then give its digest or its operation with --confirm',
  },
  approval_mismatch: {
    title: 'something else was confirmed',
    exit: 77,
    safe: LIVE_UNTOUCHED,
    remedy: 'look again at the plan or the owner of the lock, and confirm what is shown now',
  },
  approval_expired: { title: 'nobody approved the plan in time', exit: 77, safe: LIVE_UNTOUCHED, remedy: 'plan again' },
  owner_differs: {
    title: 'files belong to another user, and only root may give them back',
    exit: 77,
    safe: LIVE_UNTOUCHED,
    remedy: 'restore as root, or as the user that owns the files',
  },
  permission_denied: {
    title: 'the system denied access',
    exit: 77,
    safe: NOTHING_KEPT,
    remedy: 'run as a user that may read and write the path in the details',
  },
  ...REFUSED_BY_CONFIGURATION,
  ...VAULT_STOPS,
} as const satisfies Record<string, StopEntry>;
