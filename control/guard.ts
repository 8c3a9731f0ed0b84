// The guard: a detached process that lets the application go on if the worker dies between quiesce and resume. It
// holds one end of a pipe whose other end only the worker has: the kernel closes it with the worker, however it dies.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LockGrant } from '../domain/protocol.js';
import type { StoreRoom } from './store-room.js';

export interface GuardOrder {
  readonly room: StoreRoom;
  readonly grant: LockGrant;
}

const guards = new Map<string, ChildProcess>();

/** Starts the guard of an operation and waits until it watches. */
export async function startGuard(room: StoreRoom, grant: LockGrant): Promise<void> {
  const log = openSync(join(room.controlDirectory, 'guard.log'), 'a', 0o600);
  const child = spawn(process.execPath, [fileURLToPath(new URL('./guard-process.js', import.meta.url))], {
    detached: true,
    stdio: ['pipe', 'pipe', log],
  });
  closeSync(log);
  const order: GuardOrder = { room, grant };
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error('defect: the guard has no pipes');
  // A guard that died is noticed by what it does not say; a write to it must not end the worker
  stdin.on('error', () => undefined);
  stdin.write(`${JSON.stringify(order)}\n`);
  const first = await Promise.race([
    once(stdout, 'data').then(([chunk]) => String(chunk)),
    once(child, 'exit').then(() => ''),
  ]);
  if (!first.startsWith('watching')) throw new Error('defect: the guard did not start');
  child.unref();
  stdout.destroy();
  guards.set(grant.operation, child);
}

/** Tells the guard that the application goes on: it ends without doing anything. Idempotent. */
export function dismissGuard(operation: string): void {
  const child = guards.get(operation);
  guards.delete(operation);
  if (child?.stdin?.writable === true) child.stdin.end('resumed\n');
}
