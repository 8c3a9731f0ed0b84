// The histories of closed runs, beside the audit log: an engine forgets its runs in time, and may be lost with its
// host. One compressed file a run, as Temporal's own tools write and replay histories; its digest is in the audit log.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { compactInstant } from '../domain/names.js';
import { ensureDirectory, writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { appendAudit } from './audit.js';
import type { ControlDatabase } from './control-database.js';
import { withPresentControlDatabase } from './control-database.js';

export interface ClosedRun {
  readonly operation: string;
  readonly protocol: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly closedAt: Date;
}

export interface KeptHistories {
  readonly runIds: ReadonlySet<string>;
  /** When the last of the kept runs closed; null when none is kept. */
  readonly newestClosedAt: Date | null;
}

/** `<instant of its end>-<protocol>-<run id>.json.gz` */
const NAME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[a-z]+-([0-9a-f-]{36})\.json\.gz$/;
const historiesOf = (controlDirectory: string): string => join(controlDirectory, 'histories');
const compress = promisify(gzip);

/** @throws Stop permission_denied, io_error */
export async function keptHistories(controlDirectory: string): Promise<KeptHistories> {
  const directory = historiesOf(controlDirectory);
  const matches = (await namesIn(directory)).sort().flatMap((name) => {
    const match = NAME.exec(name);
    return match === null ? [] : [match];
  });
  const newest = matches.at(-1);
  return {
    runIds: new Set(matches.map((match) => match[7] ?? '')),
    newestClosedAt: newest === undefined ? null : new Date(isoOf(newest)),
  };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw translateErrno(error, { path: directory });
  }
}

function isoOf([, year, month, day, hour, minute, second]: readonly string[]): string {
  return `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
}

/**
 * Keeps the history of a run, once, where the store has a lock.db. The file comes after its line in the audit log, because it is what tells that the
 * run is kept: killed in between, the line is written again by the next try.
 * @param json the whole history, as historyToJSON writes it
 * @throws Stop store_locked, no_space, permission_denied, io_error
 */
export async function keepHistory(controlDirectory: string, run: ClosedRun, json: string): Promise<void> {
  const name = `${compactInstant(run.closedAt.toISOString())}-${run.protocol}-${run.runId}.json.gz`;
  const directory = historiesOf(controlDirectory);
  const path = join(directory, name);
  const bytes = await compress(json);
  const keep = (database: ControlDatabase): Promise<void> =>
    database.section(async () => {
      // Several workers of a host look for runs to keep
      if (existsSync(path)) return;
      await ensureDirectory(directory, 0o700);
      await appendAudit(controlDirectory, 'history kept', run.operation, {
        protocol: run.protocol,
        workflowId: run.workflowId,
        runId: run.runId,
        file: `histories/${name}`,
        sha256: createHash('sha256').update(json).digest('hex'),
      });
      await writeFileDurable(path, bytes, 0o600);
    });
  await withPresentControlDatabase(controlDirectory, keep, () => undefined);
}
