// Holds the audit log against what else a host knows of a store: the chain itself, the operations in lock.db, the
// histories whose digests the log has. For doctor. What an intruder with all three can rewrite is not found here.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { readAudit } from './audit.js';
import type { AuditEntry } from './audit.js';
import { withControlDatabase } from './control-database.js';

export interface AuditChecked {
  readonly lines: number;
  readonly histories: number;
  /** Lower-case facts. */
  readonly problems: readonly string[];
}

const decompress = promisify(gunzip);

/** @throws Stop permission_denied, io_error */
export async function checkAudit(controlDirectory: string): Promise<AuditChecked> {
  const entries = await readOrBroken(controlDirectory);
  if (typeof entries === 'string') return { lines: 0, histories: 0, problems: [entries] };
  const told = new Set(entries.map(({ operation }) => operation));
  const silent = (await operationsOf(controlDirectory)).filter((operation) => !told.has(operation));
  const problems =
    silent.length === 0 ? [] : [`${silent.length} operations that took place have no line, such as ${silent[0] ?? ''}`];
  // Written again after a kill, a line has a later one of the same run: they say the same
  const kept = new Map(
    entries.filter(({ event }) => event === 'history kept').map((entry) => [entry.details['file'], entry]),
  );
  for (const entry of kept.values()) {
    const problem = await problemOf(controlDirectory, entry);
    if (problem !== null) problems.push(problem);
  }
  return { lines: entries.length, histories: kept.size, problems };
}

/** Why the chain is broken, where it is. */
async function readOrBroken(controlDirectory: string): Promise<readonly AuditEntry[] | string> {
  try {
    return await readAudit(controlDirectory);
  } catch (error) {
    if (error instanceof Stop && error.code === 'checksum_mismatch') return error.message;
    throw error;
  }
}

/** Each of them had a line before it had an effect. */
async function operationsOf(controlDirectory: string): Promise<readonly string[]> {
  if (!existsSync(join(controlDirectory, 'lock.db'))) return [];
  return withControlDatabase(controlDirectory, (database) => database.operationIds());
}

async function problemOf(controlDirectory: string, { details }: AuditEntry): Promise<string | null> {
  const { file, sha256 } = details;
  const path = join(controlDirectory, String(file));
  try {
    const json = await decompress(await readFile(path));
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
