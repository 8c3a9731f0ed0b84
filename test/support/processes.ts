// Processes of tests beside the engine's: each is started here, and stopped by its id when the test ends.
import { fork, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

export interface Started {
  readonly pid: number;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

/** Starts writer.ts on a root and waits until it is in full flow. */
export async function startWriter(root: string, pauseFile: string): Promise<Started> {
  const child = fork(new URL('./writer.js', import.meta.url), [root, pauseFile], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const started = followed(child);
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error('the writer ended'))),
  ]);
  return started;
}

/** Starts a program and waits until it prints its first line. */
export async function startProgram(command: string, ...argv: string[]): Promise<Started> {
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const started = followed(child);
  const { stdout } = child;
  if (stdout === null) throw new Error('a program without its output');
  await Promise.race([
    once(stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${command} ended`))),
  ]);
  return started;
}

function followed(child: ChildProcess): Started {
  const { pid } = child;
  if (pid === undefined) throw new Error('a process that did not start');
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(killer);
  };
  onTestFinished(stop);
  return { pid, stop };
}
