// A file that a thread writes whole: into staging, where nothing of its name is.
import { openSync, writeSync } from 'node:fs';
import { Stop } from '../domain/stop.js';
import { hasErrno } from './errors.js';

/** Never over anything: staging is new, and what is there already is not ours. @throws Stop target_exists */
export function openTarget(target: string): number {
  try {
    return openSync(target, 'wx', 0o600);
  } catch (error) {
    if (hasErrno(error, 'EEXIST'))
      throw new Stop('target_exists', `${target} exists`, { path: target }, { cause: error });
    throw error;
  }
}

/** write(2) may write less than it was given. */
export function writeWhole(descriptor: number, block: Buffer): void {
  for (let written = 0; written < block.length;)
    written += writeSync(descriptor, block, written, block.length - written, null);
}
