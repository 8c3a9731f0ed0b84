// The write fence (SM-8): a durable marker beside the store. While it stands, the application's start-up gate
// (`holdfast status --gate`, exit 78) refuses; it is lifted only after a validation has passed or the former state
// is back in place and verified.
import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fsyncDirectory, writeFileDurable } from '../files/durable.js';
import { now } from './clock.js';

export interface Fence {
  readonly operation: string;
  readonly protocol: string;
  readonly since: string;
}

const fencePath = (controlDirectory: string): string => join(controlDirectory, 'fence.json');

export async function raiseFence(controlDirectory: string, operation: string, protocol: string): Promise<void> {
  const fence: Fence = { operation, protocol, since: now() };
  await writeFileDurable(fencePath(controlDirectory), `${JSON.stringify(fence)}\n`, 0o644);
}

/** Idempotent. */
export async function liftFence(controlDirectory: string): Promise<void> {
  try {
    await unlink(fencePath(controlDirectory));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await fsyncDirectory(controlDirectory);
}

/** A marker that can't be read still fences. */
export async function readFence(controlDirectory: string): Promise<Fence | undefined> {
  try {
    const fence = JSON.parse(await readFile(fencePath(controlDirectory), 'utf8')) as Partial<Fence> | null;
    return {
      operation: fence?.operation ?? 'unreadable',
      protocol: fence?.protocol ?? 'unknown',
      since: fence?.since ?? 'unknown',
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return { operation: 'unreadable', protocol: 'unknown', since: 'unknown' };
  }
}
