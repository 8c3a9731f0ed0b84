// Who holds file locks on databases: from /proc/locks, which knows the processes of our pid namespace, and by asking
// the kernel for each database, which also knows of holders that /proc does not show (P-18).
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno, translating } from './errors.js';
import type { LockAnswer } from './lock-query.js';

export interface LockUser {
  /** 0: in a pid namespace that can't be seen from here; -1: a lock of an open file, whoever has it open. */
  readonly pid: number;
  readonly path: string;
}

export interface LockUsers {
  readonly users: readonly LockUser[];
  readonly cannotTell: readonly string[];
}

export interface LockLine {
  readonly pid: number;
  readonly major: number;
  readonly minor: number;
  readonly inode: string;
}

/** Parses /proc/locks; lines of processes that wait for a lock (`->`) count as well. */
export function parseLocks(locks: string): LockLine[] {
  const lines: LockLine[] = [];
  for (const match of locks.matchAll(/^\d+:(?: +->)? +\S+ +\S+ +\S+ +(-?\d+) +([0-9a-f]+):([0-9a-f]+):(\d+) /gm)) {
    const [, pid, major, minor, inode] = match;
    lines.push({
      pid: Number(pid),
      major: Number.parseInt(major ?? '', 16),
      minor: Number.parseInt(minor ?? '', 16),
      inode: inode ?? '',
    });
  }
  return lines;
}

/** Holders of locks on databases (absolute paths; absent ones have none). Errors: Stop io_error, permission_denied. */
export async function findLockUsers(databases: readonly string[]): Promise<LockUsers> {
  if (databases.length === 0) return { users: [], cannotTell: [] };
  const lines = parseLocks(
    await translating({ path: '/proc/locks' }, async () => await readFile('/proc/locks', 'utf8')),
  );
  const users: LockUser[] = databases.flatMap((path) => holdersOf(path, lines).map((pid) => ({ pid, path })));
  const cannotTell: string[] = [];
  for (const [index, answer] of (await askInOwnProcess(databases)).entries()) {
    const path = databases[index] ?? '';
    if ('why' in answer) cannotTell.push(answer.why);
    else if (answer.holder !== null) users.push({ pid: answer.holder.pid, path });
  }
  return { users, cannotTell };
}

function holdersOf(path: string, lines: readonly LockLine[]): number[] {
  let device: bigint;
  let inode: string;
  try {
    const facts = statSync(path, { bigint: true });
    device = facts.dev;
    inode = facts.ino.toString();
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw translateErrno(error, { path });
  }
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn));
  const minor = Number((device & 0xffn) | ((device >> 12n) & ~0xffn));
  // btrfs tells stat another anonymous device (major 0) for each subvolume than it tells /proc/locks.
  const isSame = (line: LockLine): boolean =>
    line.inode === inode && ((line.major === major && line.minor === minor) || (line.major === 0 && major === 0));
  return lines.filter(isSame).map(({ pid }) => pid);
}

async function askInOwnProcess(paths: readonly string[]): Promise<LockAnswer[]> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./lock-query.js', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 30_000,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  child.stdin.end(JSON.stringify(paths));
  const [status, output, errors] = await translating(
    { path: process.execPath },
    async () => await Promise.all([ended, text(child.stdout), text(child.stderr)]),
  );
  if (status !== 0)
    throw new Stop('io_error', 'the process that asks for locks failed', { status, output: errors.slice(-500) });
  return JSON.parse(output) as LockAnswer[];
}
