// The audit log of a store: JSON Lines in the control directory, each line bound to the one before it by digest.
// Lines are appended inside a critical section, and are on disk before the effect that they announce.
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../domain/canonical.js';
import { assert, Stop } from '../domain/stop.js';
import { fsyncDirectory } from '../files/durable.js';
import { now } from './clock.js';

export interface AuditEntry {
  readonly number: number;
  readonly at: string;
  readonly event: string;
  readonly operation: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** sha256 of the line before, without its newline; 64 zeros for the first. */
  readonly previousSha256: string;
}

const FIRST = '0'.repeat(64);
const NEWLINE = 0x0a;
/** Lines are some hundred bytes long. */
const TAIL_BYTES = 4096;
const auditPath = (controlDirectory: string): string => join(controlDirectory, 'audit.jsonl');
const digest = (line: string): string => createHash('sha256').update(line).digest('hex');

/** Only inside a critical section: the chain has one writer at a time. Reads no more than the end of the log. */
export async function appendAudit(
  controlDirectory: string,
  event: string,
  operation: string,
  details: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const file = await open(auditPath(controlDirectory), 'a+', 0o600);
  try {
    const tail = await readTail(file);
    if (tail.torn) await file.truncate(tail.endBytes);
    const entry: AuditEntry = {
      number: tail.line === undefined ? 1 : (parseEntry(tail.line)?.number ?? 0) + 1,
      at: now(),
      event,
      operation,
      details,
      previousSha256: tail.line === undefined ? FIRST : digest(tail.line),
    };
    await file.appendFile(`${canonicalJson(entry)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  if (event === 'lock acquired') await fsyncDirectory(controlDirectory);
}

interface Tail {
  /** The last complete line; undefined in an empty log. */
  readonly line: string | undefined;
  /** Where complete lines end. */
  readonly endBytes: number;
  readonly torn: boolean;
}

/** Reads backwards until the last complete line is there, whole. */
async function readTail(file: FileHandle): Promise<Tail> {
  const { size } = await file.stat();
  let tail: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  for (let begin = size; ;) {
    const lines = completeLines(tail.toString('utf8'));
    // The first of them may be the rest of a longer one
    if (lines.length > 1 || begin === 0) {
      const endBytes = begin + tail.lastIndexOf(NEWLINE) + 1;
      return { line: lines.at(-1), endBytes, torn: endBytes < size };
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
 * @throws Stop checksum_mismatch at the first line that is not bound to the one before it
 */
export async function readAudit(controlDirectory: string): Promise<readonly AuditEntry[]> {
  let text: string;
  try {
    text = await readFile(auditPath(controlDirectory), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  let previous = FIRST;
  return completeLines(text).map((line, index) => {
    const entry = parseEntry(line);
    if (entry?.previousSha256 !== previous || entry.number !== index + 1) {
      throw new Stop('checksum_mismatch', `line ${index + 1} of the audit log is not bound to the one before it`, {
        line: index + 1,
        path: auditPath(controlDirectory),
      });
    }
    previous = digest(line);
    return entry;
  });
}

/** null: somebody edited the line so that it is no JSON object any more; the chain is broken there. */
function parseEntry(line: string): AuditEntry | null {
  try {
    return JSON.parse(line) as AuditEntry | null;
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
