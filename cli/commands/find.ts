// holdfast find STORE GLOB [--backup BACKUP]
import type { Command } from 'commander';
import type { BackupView } from '../../control/backup-source.js';
import { Stop } from '../../domain/stop.js';
import { AT_FLAGS, AT_TEXT, BACKUP_TEXT, backupOf } from '../backup-argument.js';
import type { AtOption } from '../backup-argument.js';
import { describeCommand, outputOf } from '../command.js';
import { openBackups } from '../open-backups.js';
import type { Backups } from '../open-backups.js';
import { formatCount } from '../output.js';
import type { Output } from '../output.js';
import { entryFact, entryLine } from '../render-entry.js';

interface FindOptions extends AtOption {
  readonly backup?: string;
}

export function findCommand(): Command {
  return describeCommand({
    name: 'find',
    summary: 'find files and directories by a glob, in every backup of a store or in one',
    examples: [
      "holdfast find shop '*.jpg'",
      "holdfast find shop 'data/uploads/2026/**' --backup latest",
      "holdfast find shop '*.db' --at 2026-11-21T10:00:00Z",
    ],
    exits: [65, 74, 77, 78],
  })
    .argument('<store>', 'store id')
    .argument('<glob>', 'of `<root>/<path>`, as in definitions; without a slash, of the last part')
    .option('--backup <backup>', BACKUP_TEXT)
    .option(AT_FLAGS, AT_TEXT)
    .action(async (store: string, glob: string, options: FindOptions, command: Command) => {
      const output = outputOf(command);
      const backups = await openBackups(command, store);
      const globs = [glob.includes('/') ? glob : `**/${glob}`, glob];
      const faults: { readonly path: string; readonly stop: Stop }[] = [];
      let [looked, count] = [0, 0];
      for await (const searched of searchedOf(backups, store, options)) {
        looked += 1;
        const found = await lookInto(searched, globs, output);
        count += found.count;
        if (found.stop === null) continue;
        faults.push({ path: searched.path, stop: found.stop });
        output.note(`STOP ${found.stop.code}: ${searched.path}: ${found.stop.message}`);
      }
      assertAllSound(faults);
      output.result({ store, glob, backups: looked, count }, []);
      output.note(`${count} found in ${formatCount(looked, 'backup')}`);
    });
}

/** Shows what is found, also in a backup that is only out of its order; the catalogue's own complaint comes first. */
async function lookInto(
  { view, stop }: Searched,
  globs: readonly string[],
  output: Output,
): Promise<{ readonly count: number; readonly stop: Stop | null }> {
  const { entriesMatching } = await import('../../vault/entries.js');
  let count = 0;
  try {
    const backup = await view();
    const { path, head } = backup;
    const { backupId, createdAt } = head;
    for await (const entry of entriesMatching(backup.entries(), globs)) {
      count += 1;
      output.event('entry', { backup: path, backupId, createdAt, ...entryFact(entry) });
      output.lines([`${backupLabel(head)}  ${entryLine(entry)}`]);
    }
    return { count, stop };
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { count, stop: stop ?? error };
  }
}

/** What could not be looked into may hold what is looked for. @throws Stop: the first of them */
function assertAllSound(faults: readonly { readonly path: string; readonly stop: Stop }[]): void {
  const [first] = faults;
  if (first === undefined) return;
  const { code, message, details } = first.stop;
  throw new Stop(code, `${formatCount(faults.length, 'backup')} can't be searched, or can't be relied on: ${message}`, {
    ...details,
    backups: faults.slice(0, FAULTS_TOLD_MAX).map(({ path, stop }) => ({ path, code: stop.code })),
  });
}

const FAULTS_TOLD_MAX = 20;

const backupLabel = ({ number, createdAt }: BackupView['head']): string =>
  `${String(number).padStart(6)}  ${createdAt.slice(0, 19)}Z`;

interface Searched {
  readonly path: string;
  readonly view: () => Promise<BackupView>;
  /** What the catalogue says against it. */
  readonly stop: Stop | null;
}

/** One, or all of them, oldest first. */
async function* searchedOf(
  { host, definition, view }: Backups,
  store: string,
  { backup, at }: FindOptions,
): AsyncGenerator<Searched> {
  if (backup !== undefined || at !== undefined) {
    const opened = await view(backupOf(backup, at === undefined ? {} : { at }));
    yield { path: opened.path, view: () => Promise.resolve(opened), stop: null };
    return;
  }
  const { listBackups } = await import('../../control/backups.js');
  for (const { path, stop } of await listBackups(host, definition, store))
    yield {
      path,
      view: () => view(path),
      stop: stop === undefined ? null : new Stop(stop.code, stop.message, { path }),
    };
}
