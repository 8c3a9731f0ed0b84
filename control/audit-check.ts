// Holds the audit log against what else a host knows of a store: the chain itself, its end and the operations in
// lock.db, the histories whose digests the log has. For doctor. What an intruder with all three can rewrite is not found.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { readAudit } from './audit.js';
import type { LoggedEntry } from './audit.js';
import { withPresentControlDatabase } from './control-database.js';
import type { ControlDatabase } from './control-database.js';
import { historyNames, isHistoryFile, readHistory } from './histories.js';

export interface AuditChecked {
  readonly lines: number;
  readonly histories: number;
  /** Lower-case facts. */
  readonly problems: readonly string[];
}

interface Look {
  readonly entries: readonly LoggedEntry[];
  /** Of the files in histories/. */
  readonly names: readonly string[];
  readonly problems: readonly string[];
}

const decompress = promisify(gunzip);

/**
 * What an operation changes is looked at in one section of lock.db, so that one which is under way is no problem; the
 * histories, which nothing changes, after it.
 * @throws Stop store_locked, permission_denied, io_error
 */
export async function checkAudit(controlDirectory: string): Promise<AuditChecked> {
  const look = await withPresentControlDatabase(
    controlDirectory,
    (database) => database.section(() => lookAround(controlDirectory, database)),
    () => lookAround(controlDirectory, null),
  );
  if (typeof look === 'string') return { lines: 0, histories: 0, problems: [look] };
  const { entries, names } = look;
  // Kept again after it was removed, a history has a later line
  const kept = new Map(
    entries.filter(({ event }) => event === 'history kept').map((entry) => [entry.details['file'], entry]),
  );
  const problems = [...look.problems];
  for (const name of names) {
    const file = `histories/${name}`;
    if (!kept.has(file)) problems.push(`${join(controlDirectory, file)} has no line in the audit log`);
  }
  for (const entry of kept.values()) {
    const problem = await problemOf(controlDirectory, entry);
    if (problem !== null) problems.push(problem);
  }
  return { lines: entries.length, histories: kept.size, problems };
}

/** Or why the chain is broken: of such a log nothing else is known. */
async function lookAround(controlDirectory: string, database: ControlDatabase | null): Promise<Look | string> {
  try {
    const entries = await readAudit(controlDirectory);
    const problems = database === null ? withoutDatabase(entries) : missingFrom(entries, database);
    return { entries, names: await historyNames(controlDirectory), problems };
  } catch (error) {
    if (error instanceof Stop && error.code === 'checksum_mismatch') return error.message;
    throw error;
  }
}

/** The first line is written by a section of lock.db. */
function withoutDatabase(entries: readonly LoggedEntry[]): readonly string[] {
  return entries.length === 0 ? [] : [`lock.db is gone, of which the audit log has ${entries.length} lines`];
}

function missingFrom(entries: readonly LoggedEntry[], database: ControlDatabase): readonly string[] {
  const problems: string[] = [];
  const head = database.auditHead();
  // Lines after it are those of sections that were not committed, as by a kill
  if (head !== null && entries[head.number - 1]?.sha256 !== head.sha256)
    problems.push(`line ${head.number}, the last that lock.db knows of, is not in the audit log`);
  const operations = database.operations();
  const ended = operations.filter(({ endedAt }) => endedAt !== null);
  for (const [of, events, what] of [
    [operations, ['lock acquired'], 'took place have no line of their beginning'],
    [ended, ['lock released', 'operation settled'], 'ended have no line of their end'],
  ] as const) {
    const told = new Set(
      entries.filter(({ event }) => events.some((one) => one === event)).map((entry) => entry.operation),
    );
    const silent = of.filter(({ operation }) => !told.has(operation));
    if (silent.length > 0)
      problems.push(`${silent.length} operations that ${what}, such as ${silent[0]?.operation ?? ''}`);
  }
  return problems;
}

async function problemOf(controlDirectory: string, { number, details }: LoggedEntry): Promise<string | null> {
  const { file, sha256 } = details;
  if (!isHistoryFile(file)) return `line ${number} of the audit log names no history`;
  const path = join(controlDirectory, file);
  try {
    const json = await decompress(await readHistory(path));
    return createHash('sha256').update(json).digest('hex') === sha256
      ? null
      : `${path} is not the history that was kept`;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return `${path} is gone`;
    if ((error as NodeJS.ErrnoException).code?.startsWith('Z_') === true)
      return `${path} is not the history that was kept`;
    throw translateErrno(error, { path });
  }
}
