// All write locks at once: DESIGN "The cut", steps 2 and 3. Locks are tried, never awaited: waiting in turn would stall
// the writers of every database already locked for as long as the slowest one takes.
import { randomInt } from 'node:crypto';
import { setImmediate as yieldToLoop, setTimeout as sleep } from 'node:timers/promises';
import { Stop } from '../domain/stop.js';
import type { CutMember } from './cut-member.js';
import type { CutInstant, StatAtCut } from './cut.js';
import { lstatMember } from './errors.js';

export interface Locked {
  readonly instant: CutInstant;
  readonly pinnedAtNanos: bigint;
  /** For rollback-journal databases, whose writers have waited since then. */
  millisSinceFirstLock(): number;
}

const BACK_OFF_MICROS_MIN = 300;
const BACK_OFF_MICROS_MAX = 20_000;
/** So many times as long as the try that failed: whoever met our locks during it is let alone for most of the time. */
const BACK_OFF_FACTOR_MIN = 4;
const BACK_OFF_FACTOR_MAX = 16;

/**
 * Takes every lock, pins every snapshot, examines `statAtCut`, and drops the locks of WAL databases.
 * Errors: `database_busy`, `database_exclusive`, `hot_journal`, `source_changed`, `member_missing`.
 */
export async function lockTogether(
  members: readonly CutMember[],
  statAtCut: readonly string[],
  timeoutMillis: number,
): Promise<Locked> {
  const beginning = performance.now();
  for (let tries = 1; ; tries += 1) {
    const tryingAt = performance.now();
    const locked = tryTogether(members, statAtCut, tries, tryingAt - beginning);
    if (locked !== null) return locked;
    const now = performance.now();
    if (now - beginning >= timeoutMillis) throw refusal(members, tries, now - beginning);
    await backOff(backOffMicros((now - tryingAt) * 1000));
  }
}

/** At random, so that a writer with a rhythm of its own is not met at the same beat each time. */
function backOffMicros(tryMicros: number): number {
  const within = (micros: number): number =>
    Math.round(Math.min(BACK_OFF_MICROS_MAX, Math.max(BACK_OFF_MICROS_MIN, micros)));
  return randomInt(within(BACK_OFF_FACTOR_MIN * tryMicros), within(BACK_OFF_FACTOR_MAX * tryMicros) + 1);
}

/** One try. Synchronous throughout: nothing else of this process runs while writers wait. */
function tryTogether(
  members: readonly CutMember[],
  statAtCut: readonly string[],
  lockTries: number,
  waitedMillis: number,
): Locked | null {
  const beginNanos = process.hrtime.bigint();
  let complete = false;
  try {
    if (!members.every((member) => member.lock())) return null;
    const pinnedAtNanos = process.hrtime.bigint();
    const instant = instantNow();
    if (!members.every((member) => member.pin())) return null;
    const stats = statAtCut.map(statOf);
    for (const member of members) member.verifyUnchanged();
    complete = true;
    const unlocking = members.filter((member) => member.isWal && member.takesLock);
    for (const member of unlocking) member.unlock();
    const pauseMillis = unlocking.length === 0 ? 0 : millisSince(beginNanos);
    return {
      instant: { instant, pauseMillis, lockTries, waitedMillis, statAtCut: stats },
      pinnedAtNanos,
      millisSinceFirstLock: () => millisSince(beginNanos),
    };
  } finally {
    if (!complete) for (const member of members) member.release();
  }
}

/** One that was there before the cut and is not now is being rotated: the cut is tried again. */
function statOf(path: string): StatAtCut {
  try {
    const stats = lstatMember(path);
    return { path, sizeBytes: Number(stats.size), inode: String(stats.ino) };
  } catch (error) {
    if (!(error instanceof Stop && error.code === 'member_missing')) throw error;
    throw new Stop('source_changed', 'an append-only file vanished before the cut', { path }, { cause: error });
  }
}

/** The read was refused every time: nobody but a connection in exclusive locking mode does that for so long. */
function refusal(members: readonly CutMember[], tries: number, waitedMillis: number): Stop {
  const busy = members
    .filter((member) => member.lockRefusals + member.readRefusals > 0)
    .toSorted((a, b) => b.lockRefusals + b.readRefusals - (a.lockRefusals + a.readRefusals));
  const [worst] = busy;
  const exclusive = worst !== undefined && worst.lockRefusals === 0 && worst.readRefusals === tries;
  const details = {
    path: worst?.path,
    tries,
    waitedMillis: Math.round(waitedMillis),
    busy: busy.slice(0, 5).map((member) => ({ path: member.path, times: member.lockRefusals + member.readRefusals })),
  };
  return exclusive
    ? new Stop('database_exclusive', 'reading the database was refused all the time', details)
    : new Stop('database_busy', 'the write locks could not be had together in time', details);
}

/** Timers have a resolution of a millisecond; shorter waits block, and then let the loop see the parent's end. */
async function backOff(micros: number): Promise<void> {
  if (micros >= 1000) {
    await sleep(micros / 1000);
    return;
  }
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, micros / 1000);
  await yieldToLoop();
}

export function millisSince(nanos: bigint): number {
  return Number(process.hrtime.bigint() - nanos) / 1e6;
}

/** RFC 3339 with microseconds. The process is young, so that its time origin is still the system's clock. */
function instantNow(): string {
  const micros = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000));
  const seconds = new Date(Number(micros / 1000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(micros % 1_000_000n).padStart(6, '0')}Z`;
}
