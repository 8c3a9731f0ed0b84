// Whether anybody has written to a live database since it was backed up. Rows that were changed in place don't show in
// numbers of rows, and comparing them all takes as long as reading both states. What shows is that its files are not the
// ones of then: another inode, another length, another ctime, which nobody sets. No clocks are compared. Of a log the mtime
// counts: SQLite gives logs to the owner of their database whenever root opens one, which is a change of its ctime.
import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { now } from '../control/clock.js';

/** The kernel stamps files by a clock that stands still for so long: within it, two writes look like one. */
const TICK_NANOS = 20_000_000n;
/** Some filesystems keep whole seconds alone, as ext4 does with small inodes: a time without a fraction is one of theirs. */
const SECOND_NANOS = 1_000_000_000n;

/** -shm is rebuilt at will; an empty log holds nothing, and comes and goes with whoever reads. */
const SUFFIXES = ['', '-wal', '-journal'] as const;

interface Stamp {
  /** Lower-case hex. */
  readonly sha256: string;
  /** The latest of their times; Unix time. */
  readonly changedNanos: bigint;
}

/**
 * Taken before the write locks of a cut, so that what is written in between is in the backup and counts as changed.
 * @returns null where a later write could look the same: the files were written to in this very moment
 */
export function liveStamp(path: string): string | null {
  // Before it is looked at: what is written while the clock is asked must count as fresh
  const readAt = now();
  const { sha256, changedNanos } = stampOf(path);
  return isTooFresh(changedNanos, readAt) ? null : sha256;
}

/** Whether a file that was changed at `changedNanos` (Unix time) could be changed again, after `readAt`, and look the same. */
export function isTooFresh(changedNanos: bigint, readAt: string): boolean {
  const grainNanos = changedNanos % SECOND_NANOS === 0n ? SECOND_NANOS + TICK_NANOS : TICK_NANOS;
  return changedNanos > BigInt(Date.parse(readAt)) * 1_000_000n - grainNanos;
}

/** @param stamp of liveStamp; null or undefined: nothing is known of then */
export function mayBeWrittenSince(path: string, stamp: string | null | undefined): boolean {
  return stamp === null || stamp === undefined || stampOf(path).sha256 !== stamp;
}

function stampOf(path: string): Stamp {
  const hash = createHash('sha256');
  let changedNanos = 0n;
  for (const suffix of SUFFIXES) {
    const facts = lstatSync(path + suffix, { bigint: true, throwIfNoEntry: false });
    if (facts === undefined || facts.size === 0n) continue;
    const nanos = suffix === '' ? facts.ctimeNs : facts.mtimeNs;
    hash.update(`${suffix} ${facts.dev} ${facts.ino} ${facts.size} ${nanos}\n`);
    if (nanos > changedNanos) changedNanos = nanos;
  }
  return { sha256: hash.digest('hex'), changedNanos };
}
