// The one table of refusals. A STOP is a protocol's answer to a state it does not accept: it has a code,
// an exit status (sysexits), what is known to be safe, and the decision that a person must take.
// docs/reference/stop.md is generated from this table; a test holds table, docs and code together (SM-10, F-31).
import { VAULT_STOPS } from './stops-vault.js';

export interface StopEntry {
  /** One line, a lower-case fact. */
  readonly title: string;
  /** Exit status of the command line (sysexits.h). */
  readonly exit: 64 | 65 | 69 | 73 | 74 | 75 | 77 | 78;
  /** What a reader may rely on after this STOP. */
  readonly safe: string;
  /** What to do: an action, or the decision that is wanted from a person. */
  readonly remedy: string;
}

const LIVE_UNTOUCHED = 'the live store is as it was';
const NOTHING_KEPT = 'the live store is as it was, and nothing half-made is left';

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
    safe: 'the protocol was undone, or finished if it had been committed: `settled` in the details says which; `unknown`: only the lock may have been taken',
    remedy: 'see the worker log, then start the operation again',
  },
  step_timeout: {
    title: 'a step took longer than is allowed',
    exit: 75,
    safe: 'the protocol was undone, or finished if it had been committed: `settled` in the details says which; `unknown`: only the lock may have been taken',
    remedy: 'see the details for the step, then start the operation again',
  },
  cancelled: {
    title: 'the operation was cancelled',
    exit: 75,
    safe: 'the protocol was undone, or finished if it had been committed: `settled` in the details says which; `unknown`: only the lock may have been taken',
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
  // 78: configuration, version or gate
  host_ambiguous: {
    title: 'two machines go by one host name',
    exit: 78,
    safe: 'the machine that refused did nothing; the one that holds the lock undoes what it has done',
    remedy: 'give the worker of each machine a HOLDFAST_HOST of its own, and end the one that has the wrong one',
  },
  definition_missing: {
    title: 'there is no definition of this store, or no settings of this vault',
    exit: 78,
    safe: 'nothing was started',
    remedy: 'put the file that is missing into the directory; `holdfast init` and `holdfast keys init` write new ones',
  },
  definition_invalid: {
    title: 'the store definition is malformed',
    exit: 78,
    safe: 'nothing was started',
    remedy: 'correct the line named in the details',
  },
  settings_invalid: {
    title: "the application's settings are not those of the store",
    exit: 78,
    safe: NOTHING_KEPT,
    remedy: 'correct the settings file or the definition, whichever is wrong',
  },
  secret_found: {
    title: 'a setting that would be written into a backup looks like a secret',
    exit: 78,
    safe: NOTHING_KEPT,
    remedy: 'give the setting a value that is no secret; secrets have settings of their own, which are never read',
  },
  definition_untrusted: {
    title: 'others can write the store definition',
    exit: 78,
    safe: 'nothing was started',
    remedy: 'give it to the user of the worker or root, mode 0644 or less, in such a directory',
  },
  roots_overlap: {
    title: 'two roots lie in one another',
    exit: 78,
    safe: 'nothing was started',
    remedy: 'give every store roots of its own',
  },
  not_exchangeable: {
    title: 'the root can be exchanged in neither mode',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy:
      'mend what the message says is in the way: unmount it, let the parent of the root be written, or give `.holdfast` to the user of the worker',
  },
  root_missing: {
    title: 'a root of a store that was worked on is not there',
    exit: 78,
    safe: 'nothing was changed',
    remedy:
      'mount it; where the store was lost, moved, or is meant to begin anew, remove the note that the message names, if it names one, and then restore it or make the directory',
  },
  unsupported_filesystem: {
    title: 'the filesystem is not fit for a store',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'use a local filesystem that keeps its data',
  },
  fenced: {
    title: 'the store is fenced: a restore has not been validated',
    exit: 78,
    safe: 'no data was lost; writes are forbidden until `holdfast recover` has run',
    remedy: 'run `holdfast recover`',
  },
  store_differs: {
    title: 'the backup is of another store',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'name a backup of this store, or restore it as a new one (--from)',
  },
  platform_differs: {
    title: 'the backup is of another platform family',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'restore on a platform of the same family',
  },
  version_refused: {
    title: 'the version gate refuses the backup',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'install the version named in the details, or use another backup',
  },
  modules_refused: {
    title: 'the module gate refuses the backup',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'install the modules named in the details, or use another backup',
  },
  sequence_rewind: {
    title: 'a sequence would go back',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'use a newer backup, or restore as a new store (--from)',
  },
  migrations_diverged: {
    title: 'the migration history of the backup is not a prefix of the live one',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'use a backup of this line of history',
  },
  history_rewritten: {
    title: 'accepted rows differ between backup and live store',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'have the difference examined; accepted history is never rewritten',
  },
  hook_failed: {
    title: 'a hook of the application failed',
    exit: 78,
    safe: 'the protocol was undone, or finished if it had been committed: `settled` in the details says which',
    remedy: 'run the hook by hand; its last output is in the details',
  },
  schedule_foreign: {
    title: 'the schedule is not that of this host',
    exit: 78,
    safe: 'nothing was done',
    remedy:
      'apply on the host that it is of; a schedule of a host that is gone, or that somebody else has made, is deleted in the Temporal UI',
  },
  schedule_missing: {
    title: 'there is no such schedule',
    exit: 78,
    safe: 'nothing was done',
    remedy: 'see `holdfast schedule list`; `holdfast schedule apply` makes those of the definitions',
  },
  rollback_missing: {
    title: 'there is no such rollback point',
    exit: 78,
    safe: LIVE_UNTOUCHED,
    remedy: 'see `holdfast status` for the rollback points',
  },
  ...VAULT_STOPS,
} as const satisfies Record<string, StopEntry>;
