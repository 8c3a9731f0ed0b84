// Hooks that outlived their worker. A hook is a process group of its own, so that it can be killed whole; for that
// very reason it goes on when the worker is killed: a quiesce or detach hook would stop the application after settling
// has let it go on, and a migrate hook would change the former state after it was put back.
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HookName } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import { startTimeOf } from './clock.js';
import { killGroup } from './hooks.js';

const END_WAIT_MILLIS = 10_000;
/** Those whose work would be wrong once the operation is settled; resume and attach are what settling does itself. */
const UNWANTED: readonly HookName[] = ['quiesce', 'detach', 'migrate', 'caches', 'verify', 'version'];

/**
 * Kills the process groups of hooks of an operation that still run, and waits until they are gone. Known by the
 * environment that runHook gave them; what a hook has made a daemon of its own, in a group without its leader, stays.
 * @returns how many there were
 * @throws Stop hook_failed when one can't be ended: to be tried again
 */
export async function endLeftHooks(operation: string): Promise<number> {
  const left = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isLeftHook(pid, operation));
  for (const pid of left) killGroup(pid);
  for (const pid of left) {
    for (let waited = 0; startTimeOf(pid) !== undefined; waited += 10) {
      if (waited >= END_WAIT_MILLIS)
        throw new Stop('hook_failed', 'a hook that outlived its worker does not end', { operation, pid });
      await sleep(10);
    }
  }
  return left.length;
}

function isLeftHook(pid: number, operation: string): boolean {
  const environment = readProcess(pid, 'environ')?.split('\0');
  if (environment?.includes(`HOLDFAST_OPERATION=${operation}`) !== true) return false;
  if (!UNWANTED.some((name) => environment.includes(`HOLDFAST_HOOK=${name}`))) return false;
  const stat = readProcess(pid, 'stat');
  // Fields 3 and 5: state and process group
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  return fields[0] !== 'Z' && fields[2] === String(pid);
}

/** undefined: gone, or another user's and so none of our hooks. */
function readProcess(pid: number, name: 'environ' | 'stat'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}
