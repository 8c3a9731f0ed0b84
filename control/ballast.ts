// A little space in reserve: settling must write to lock.db, and the disk may be full with the very staging that settling
// would remove. Without the reserve the lock would be held, and the application held still, until somebody made room.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fsyncDirectory, writeFileDurable } from '../files/durable.js';

/** Rollback journal and new pages of lock.db, lines of the audit log, a directory or two. */
const BALLAST_BYTES = 512 * 1024;

const ballastPath = (controlDirectory: string): string => join(controlDirectory, 'ballast');

/** Before anything is begun that may fill the disk. @throws Stop no_space */
export async function ensureBallast(controlDirectory: string): Promise<void> {
  // Random, because zeros take no space on a filesystem that compresses
  if (!existsSync(ballastPath(controlDirectory)))
    await writeFileDurable(ballastPath(controlDirectory), randomBytes(BALLAST_BYTES), 0o600);
}

/** Gives the space free. Idempotent; the next lock puts it back. */
export async function dropBallast(controlDirectory: string): Promise<void> {
  try {
    await unlink(ballastPath(controlDirectory));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await fsyncDirectory(controlDirectory);
}
