// The audit log of a store: JSON Lines in the control directory, each line bound to the one before it by digest.
// Lines are appended inside a critical section, and are on disk before the effect that they announce. The end of the log
// is recorded in lock.db by the same section, so that lines which were cut off are missed.
import { createHash } from 'node:crypto';
import { lstat, open, readFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../domain/canonical.js';
import { assert, Stop } from '../domain/stop.js';
import { fsyncDirectory } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { now } from './clock.js';
import type { ControlDatabase } from './control-database.js';

export interface AuditEntry {
  readonly number: number;
  readonly at: string;
  readonly event: string;
  readonly operation: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** sha256 of the line before, without its newline; 64 zeros for the first. */
  readonly previousSha256: string;
}

/** An entry with the sha256 of its line. */
export interface LoggedEntry extends AuditEntry {
  readonly sha256: string;
}

/** The last line whose section was committed; what follows it in the log was written by sections that were not. */
export interface AuditHead {
  readonly number: number;
  readonly sha256: string;
  /** Where the line ends in the log, its newline included. */
  readonly endBytes: number;
}

const FIRST = '0'.repeat(64);
const NEWLINE = 0x0a;
/** Lines are some hundred bytes long. */
const TAIL_BYTES = 4096;
const auditPath = (controlDirectory: string): string => join(controlDirectory, 'audit.jsonl');
const digest = (line: string): string => createHash('sha256').update(line).digest('hex');

/**
 * Only inside a critical section of `database`: the chain has one writer at a time. Reads no more than the end of the log.
 * Where the log lacks the recorded end, the line is bound to that end all the same: nothing is refused because of the log,
 * and the gap shows in the chain for ever, whatever is appended after it.
 */
export async function appendAudit(
  database: ControlDatabase,
  event: string,
  operation: string,
  details: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const file = await open(auditPath(database.controlDirectory), 'a+', 0o600);
  try {
    const { size } = await file.stat();
    const tail = await readTail(file, size);
    if (tail.endBytes < size) await file.truncate(tail.endBytes);
    const head = database.auditHead();
    const last = head === null || (await hasHead(file, tail, head)) ? lastOf(tail) : head;
    const line = canonicalJson({
      number: last.number + 1,
      at: now(),
      event,
      operation,
      details,
      previousSha256: last.sha256,
    } satisfies AuditEntry);
    await file.appendFile(`${line}\n`);
    await file.sync();
    const endBytes = tail.endBytes + Buffer.byteLength(line) + 1;
    database.recordAuditHead({ number: last.number + 1, sha256: digest(line), endBytes });
  } finally {
    await file.close();
  }
  if (event === 'lock acquired') await fsyncDirectory(database.controlDirectory);
}

function lastOf({ line }: Tail): Pick<AuditHead, 'number' | 'sha256'> {
  if (line === undefined) return { number: 0, sha256: FIRST };
  return { number: parseEntry(line)?.number ?? 0, sha256: digest(line) };
}

async function hasHead(file: FileHandle, tail: Tail, head: AuditHead): Promise<boolean> {
  if (tail.endBytes < head.endBytes) return false;
  const { line, endBytes } = tail.endBytes === head.endBytes ? tail : await readTail(file, head.endBytes);
  return line !== undefined && endBytes === head.endBytes && digest(line) === head.sha256;
}

interface Tail {
  /** The last complete line; undefined in an empty log. */
  readonly line: string | undefined;
  /** Where complete lines end. */
  readonly endBytes: number;
}

/** Reads backwards from `size` until the last complete line is there, whole. */
async function readTail(file: FileHandle, size: number): Promise<Tail> {
  let tail: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  for (let begin = size; ;) {
    const lines = completeLines(tail.toString('utf8'));
    // The first of them may be the rest of a longer one
    if (lines.length > 1 || begin === 0) {
      return { line: lines.at(-1), endBytes: begin + tail.lastIndexOf(NEWLINE) + 1 };
    }
    const length = Math.min(begin, Math.max(TAIL_BYTES, tail.length));
    begin -= length;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, begin);
    assert(bytesRead === length, 'the log is not written to while it is read');
    tail = Buffer.concat([buffer, tail]);
  }
}

/**
 * Reads the log and proves its chain.
 * @throws Stop checksum_mismatch at the first line that is not bound to the one before it; permission_denied, io_error
 */
export async function readAudit(controlDirectory: string): Promise<readonly LoggedEntry[]> {
  let previous = FIRST;
  return (await readLines(controlDirectory)).map((line, index) => {
    const entry = parseEntry(line);
    if (entry?.previousSha256 !== previous || entry.number !== index + 1) {
      throw new Stop('checksum_mismatch', `line ${index + 1} of the audit log is not bound to the one before it`, {
        line: index + 1,
        path: auditPath(controlDirectory),
      });
    }
    previous = digest(line);
    return { ...entry, sha256: previous };
  });
}

/**
 * Whether the log has such a line, whatever has become of its chain.
 * @throws Stop permission_denied, io_error
 */
export async function isLogged(controlDirectory: string, is: (entry: AuditEntry) => boolean): Promise<boolean> {
  return (await readLines(controlDirectory)).map(parseEntry).some((entry) => entry !== null && is(entry));
}

async function readLines(controlDirectory: string): Promise<string[]> {
  const path = auditPath(controlDirectory);
  try {
    // A FIFO in its place would be waited for without end
    const facts = await lstat(path);
    if (!facts.isFile()) throw new Stop('io_error', 'the audit log is no regular file', { path });
    return completeLines(await readFile(path, 'utf8'));
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw translateErrno(error, { path });
  }
}

/** null: somebody edited the line so that it is no entry any more; the chain is broken there. */
function parseEntry(line: string): AuditEntry | null {
  try {
    const entry = JSON.parse(line) as Partial<AuditEntry> | null;
    const isEntry = Number.isSafeInteger(entry?.number) && typeof entry?.details === 'object' && entry.details !== null;
    return isEntry ? (entry as AuditEntry) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A line torn by a power cut was never acknowledged: what it announced did not happen, the next line takes its place. */
function completeLines(text: string): string[] {
  return text
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.length > 0);
}
