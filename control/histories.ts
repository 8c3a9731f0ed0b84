// The histories of closed runs, beside the audit log: an engine forgets its runs in time, and may be lost with its
// host. One compressed file a run, as Temporal's own tools write and replay histories; its digest is in the audit log.
// They are kept for ever, as the log is.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { compactInstant } from '../domain/names.js';
import { assert } from '../domain/stop.js';
import { ensureDirectory, removeTree, renameDurable, writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { appendAudit, isLogged } from './audit.js';
import type { ControlDatabase } from './control-database.js';
import { withPresentControlDatabase } from './control-database.js';

export interface ClosedRun {
  readonly operation: string;
  readonly protocol: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly closedAt: Date;
}

/** `<instant of its end>-<protocol>-<run id>.json.gz` */
const NAME = /^\d{8}T\d{6}Z-[a-z]+-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json\.gz$/;
const DIRECTORY = 'histories';
const compress = promisify(gzip);
const decompress = promisify(gunzip);
const sha256Of = (json: string | Buffer): string => createHash('sha256').update(json).digest('hex');
/** Where a history is until its line is in the log. */
const hiddenOf = (path: string): string => join(dirname(path), `.${basename(path)}`);

/** Every part of the name comes from an engine: none may lead out of the directory. */
function fileOf({ closedAt, protocol, runId }: Omit<ClosedRun, 'operation'>): string {
  const name = `${compactInstant(closedAt.toISOString())}-${protocol}-${runId}.json.gz`;
  assert(NAME.test(name), `a history is not named ${JSON.stringify(name.slice(0, 200))}`);
  return `${DIRECTORY}/${name}`;
}

/** What the audit log calls a history: relative to the control directory, and never outside its `histories/`. */
export function isHistoryFile(file: unknown): file is string {
  return typeof file === 'string' && file.startsWith(`${DIRECTORY}/`) && NAME.test(file.slice(DIRECTORY.length + 1));
}

export function isKept(controlDirectory: string, run: Omit<ClosedRun, 'operation'>): boolean {
  return existsSync(join(controlDirectory, fileOf(run)));
}

/**
 * What is in `histories/`, without what is hidden.
 * @throws Stop permission_denied, io_error
 */
export async function historyNames(controlDirectory: string): Promise<readonly string[]> {
  return (await namesIn(controlDirectory)).filter((name) => !name.startsWith('.'));
}

async function namesIn(controlDirectory: string): Promise<readonly string[]> {
  const path = join(controlDirectory, DIRECTORY);
  try {
    return await readdir(path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw translateErrno(error, { path });
  }
}

/** Its compressed bytes, also of one that a kill has left hidden. Fails with the errno. */
export async function readHistory(path: string): Promise<Buffer> {
  for (const place of [path, hiddenOf(path)]) {
    try {
      return await readFile(place);
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  }
  // It may have been given its name in between
  return readFile(path);
}

/**
 * Keeps the history of a run, once, where the store has a lock.db. It is whole on disk, hidden, before its line is in
 * the log, and is given its name after that: what fails costs no line, and a line without its history was not written here.
 * @param json the whole history, as historyToJSON writes it
 * @throws Stop store_locked, no_space, permission_denied, io_error
 */
export async function keepHistory(controlDirectory: string, run: ClosedRun, json: string): Promise<void> {
  const file = fileOf(run);
  const path = join(controlDirectory, file);
  const hidden = hiddenOf(path);
  const bytes = await compress(json);
  const keep = (database: ControlDatabase): Promise<void> =>
    database.section(async () => {
      if (existsSync(hidden)) await settleHidden(controlDirectory);
      // Several workers of a host look for runs to keep
      if (existsSync(path)) return;
      await ensureDirectory(dirname(path), 0o700);
      await writeFileDurable(hidden, bytes, 0o600);
      await appendAudit(database, 'history kept', run.operation, {
        protocol: run.protocol,
        workflowId: run.workflowId,
        runId: run.runId,
        file,
        sha256: sha256Of(json),
      });
      await renameDurable(hidden, path);
    });
  await withPresentControlDatabase(controlDirectory, keep, () => undefined);
}

/**
 * Gives the histories that a kill has left hidden their names, and removes what was not whole, or has no line.
 * @throws Stop store_locked, permission_denied, io_error
 */
export async function settleHistories(controlDirectory: string): Promise<void> {
  if (!(await namesIn(controlDirectory)).some((name) => name.startsWith('.'))) return;
  const settle = (database: ControlDatabase): Promise<void> => database.section(() => settleHidden(controlDirectory));
  await withPresentControlDatabase(controlDirectory, settle, () => undefined);
}

/** Only inside a section: nobody is at work on them. */
async function settleHidden(controlDirectory: string): Promise<void> {
  for (const name of (await namesIn(controlDirectory)).filter((one) => one.startsWith('.'))) {
    const file = `${DIRECTORY}/${name.slice(1)}`;
    const path = join(controlDirectory, file);
    const hidden = join(controlDirectory, DIRECTORY, name);
    if (isHistoryFile(file) && !existsSync(path) && (await hasLine(controlDirectory, file, hidden)))
      await renameDurable(hidden, path);
    else await removeTree(hidden);
  }
}

async function hasLine(controlDirectory: string, file: string, hidden: string): Promise<boolean> {
  try {
    const sha256 = sha256Of(await decompress(await readFile(hidden)));
    return await isLogged(
      controlDirectory,
      ({ event, details }) => event === 'history kept' && details['file'] === file && details['sha256'] === sha256,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code?.startsWith('Z_') === true) return false;
    throw translateErrno(error, { path: hidden });
  }
}
