// A directory of its own for each test of files/, removed at its end, and the few helpers these tests share.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Stop } from '../../domain/stop.js';
import type { StopCode } from '../../domain/stop.js';

/** Makes a temporary directory that is removed when the running test ends. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-files-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes files by relative path, with the directories they need. */
export function fill(directory: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
}

/** The STOP that an action ends in; fails when it ends otherwise. */
export async function stopOf(action: () => unknown): Promise<Stop> {
  try {
    await action();
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
  throw new Error('the action did not stop');
}

/** The code of the STOP that an action ends in. */
export async function codeOf(action: () => unknown): Promise<StopCode> {
  return (await stopOf(action)).code;
}

/** True where the tests may mount filesystems and change owners. */
export const isRoot = process.geteuid?.() === 0;
