// The lengths of append-only files at one instant, without a database whose lock would hold their writers: what only grows
// and is as long when it is looked at again was so in between (DESIGN.md "The cut", step 4).
import { lstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { elapsedSince, now } from '../control/clock.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import type { CutInstant, StatAtCut } from '../sqlite/cut.js';

const PAUSE_MILLIS = 5;

/**
 * Looks at all files again and again until they were as long twice in a row.
 * @throws Stop source_changed after the time that is given
 */
export async function lengthsAtOneInstant(
  paths: readonly string[],
  millisMax: number,
  signal: AbortSignal,
): Promise<CutInstant> {
  const begin = process.hrtime.bigint();
  for (let tries = 1; ; tries += 1) {
    const first = paths.map(lengthOf);
    const instant = now();
    const second = paths.map(lengthOf);
    const moved = second.find(({ sizeBytes, inode }, index) => {
      const before = first[index];
      return before?.sizeBytes !== sizeBytes || before.inode !== inode;
    });
    const waitedMillis = elapsedSince(begin);
    if (moved === undefined) return { instant, pauseMillis: 0, lockTries: tries, waitedMillis, statAtCut: second };
    if (waitedMillis > millisMax)
      throw new Stop('source_changed', `${moved.path} grows without rest`, { path: moved.path, policy: 'append' });
    await sleep(PAUSE_MILLIS, undefined, { signal });
  }
}

function lengthOf(path: string): StatAtCut {
  try {
    const { size, ino } = lstatSync(path, { bigint: true });
    return { path, sizeBytes: Number(size), inode: String(ino) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('source_changed', `${path} vanished while it was looked at`, { path, policy: 'append' });
    throw translateErrno(error, { path });
  }
}
