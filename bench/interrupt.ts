// An interrupted benchmark leaves nothing: what it has started is ended, nothing is started any more, and each part then
// unwinds through its own cleaning up.
import type { ChildProcess } from 'node:child_process';

export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const running = new Set<ChildProcess>();
let isInterrupted = false;

/** @throws Interrupted: before anything is started, and in loops that start nothing */
export function throwIfInterrupted(): void {
  if (isInterrupted) throw new Interrupted('the benchmark was interrupted');
}

/** A command that an interrupt ends: one in a process group of its own, so that no terminal tells it as well. */
export function endsWithUs(child: ChildProcess): void {
  running.add(child);
  child.once('close', () => running.delete(child));
}

export function interrupt(): void {
  isInterrupted = true;
  for (const { pid } of running) {
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGTERM');
    } catch (error) {
      // It ended in between, which is what was wanted
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
