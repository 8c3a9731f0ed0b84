// The part of the table of refusals (stops.ts) whose exit status is 78: what a person decided, or has to decide.
import { LIVE_UNTOUCHED, NOTHING_KEPT } from './stop-entry.js';
import type { StopEntry } from './stop-entry.js';

export const REFUSED_BY_CONFIGURATION = {
  // 78: configuration, version or gate
  not_ready: {
    title: 'doctor found what is in the way of a backup or a restore',
    exit: 78,
    safe: 'nothing was changed',
    remedy: 'do what each finding says, then ask doctor again',
  },
  host_ambiguous: {
    title: 'two machines go by one host name',
    exit: 78,
    safe: 'the machine that refused did nothing; the one that holds the lock undoes what it has done',
    remedy: 'give the worker of each machine a HOLDFAST_HOST of its own, and end the one that has the wrong one',
  },
  definition_missing: {
    title: 'there is no definition of this store',
    exit: 78,
    safe: 'nothing was started',
    remedy: 'put <store>.yaml into the definitions directory',
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
} as const satisfies Record<string, StopEntry>;
