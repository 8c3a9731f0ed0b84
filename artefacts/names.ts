// How backups are named in a destination, and in what order names stand. Backups are ordered by their numbers: clocks are
// set wrong, and set right again. Layout `helionyx` names a backup by its instant, so there the instants must rise.
import { readdir } from 'node:fs/promises';
import type { LayoutName } from '../domain/definition.js';
import type { Manifest } from '../domain/manifest.js';
import { compactInstant } from '../domain/names.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';

/** `<number>-<instant>-<begin of the backup id>`; such a number is exact, and so is the next one. */
const NUMBERED = /^(\d{6,15})-\d{8}T\d{6}Z-[0-9a-f]{8}$/;
/** The instant alone; its digits are the number. */
const INSTANT = /^(\d{8})T(\d{6})Z$/;

const NUMBER_MAX = 10 ** 15 - 1;

type Named = Pick<Manifest, 'layout' | 'number' | 'createdAt' | 'backupId'>;

/** The name under which a backup is published. */
export function backupName({ layout, number, createdAt, backupId }: Named): string {
  const instant = compactInstant(createdAt);
  return layout === 'helionyx' ? instant : `${String(number).padStart(6, '0')}-${instant}-${backupId.slice(0, 8)}`;
}

/** null: no name that is given to backups here, as of a copy that somebody has put beside them. */
export function numberOf(name: string): number | null {
  const digits = NUMBERED.exec(name)?.[1] ?? INSTANT.exec(name)?.slice(1).join('');
  return digits === undefined ? null : Number(digits);
}

/** The beginning of a backup's id that is part of its name; null: the name has none. */
export function idOf(name: string): string | null {
  return NUMBERED.test(name) ? name.slice(name.lastIndexOf('-') + 1) : null;
}

/**
 * The number of the backup that is published next: one more than the highest, whichever store's that is. Under the lock of
 * a store no other backup of it takes the same one on this host; another store's, or another host's, may at the same moment.
 * @throws Stop manifest_invalid where the highest is one that no other can follow; target_exists where a layout whose
 * names are instants holds one that is not earlier
 */
export async function nextNumber(destination: string, layout: LayoutName, createdAt: string): Promise<number> {
  const names = await artefactNames(destination);
  const highest = names.reduce((number, name) => Math.max(number, numberOf(name) ?? 0), 0);
  if (layout === 'helionyx') return instantAfter(highest, destination, createdAt);
  if (highest < NUMBER_MAX) return highest + 1;
  throw new Stop('manifest_invalid', `${destination} holds a backup of number ${highest}: rename it, none can follow`, {
    path: destination,
    number: highest,
  });
}

function instantAfter(highest: number, destination: string, createdAt: string): number {
  const name = compactInstant(createdAt);
  const number = numberOf(name);
  if (number === null) throw new Error('defect: an instant that is no name');
  if (number > highest) return number;
  throw new Stop(
    'target_exists',
    `${destination} holds a backup that is not earlier than ${name}: is the clock right?`,
    {
      path: destination,
      name,
      newest: highest,
    },
  );
}

/** Names of published artefacts in a destination. */
export async function artefactNames(destination: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(destination, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw translateErrno(error, { path: destination });
  }
}
