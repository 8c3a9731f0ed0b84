// The clock and the identity of processes: the one place of this room that asks the system who and when.
import { readFileSync, readlinkSync } from 'node:fs';

/** Now, RFC 3339 in UTC with milliseconds. */
export function now(): string {
  return new Date().toISOString();
}

export function elapsedSince(begin: bigint): number {
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

/** Who a process is, beyond its number: numbers are used again. */
export interface ProcessIdentity {
  readonly bootId: string;
  /** Inode of the pid namespace: a pid of another namespace can't be judged from here. */
  readonly pidNamespace: string;
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/<pid>/stat. */
  readonly startTime: string;
}

/** undefined: no such process, or only the zombie of one that nobody has waited for. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name is in parentheses and may hold spaces and parentheses itself
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

export function thisProcess(): ProcessIdentity {
  const startTime = startTimeOf(process.pid);
  if (startTime === undefined) throw new Error('defect: /proc does not show this process');
  return {
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
    pid: process.pid,
    startTime,
  };
}

/** `dead` is proof: another boot, or the same namespace without that process. */
export function livenessOf(identity: ProcessIdentity): 'alive' | 'dead' | 'unknown' {
  const self = thisProcess();
  if (identity.bootId !== self.bootId) return 'dead';
  if (identity.pidNamespace !== self.pidNamespace) return 'unknown';
  return startTimeOf(identity.pid) === identity.startTime ? 'alive' : 'dead';
}

/**
 * By the wall clock, the only one that two processes and a restart share: set back meanwhile, it tells nothing, and a
 * backup that is whole isn't refused for that.
 * @param from null: never
 */
export function millisBetween(from: string | null, to: string): number {
  return from === null ? 0 : Math.max(0, Date.parse(to) - Date.parse(from));
}
