// The audit log of a store: JSON Lines in the control directory, each line bound to the one before it by digest.
// Lines are appended inside a critical section, and are on disk before the effect that they announce.
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../domain/canonical.js';
import { Stop } from '../domain/stop.js';
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
const auditPath = (controlDirectory: string): string => join(controlDirectory, 'audit.jsonl');
const digest = (line: string): string => createHash('sha256').update(line).digest('hex');

/** Only inside a critical section: the chain has one writer at a time. */
export async function appendAudit(
  controlDirectory: string,
  event: string,
  operation: string,
  details: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const file = await open(auditPath(controlDirectory), 'a+', 0o600);
  try {
    const text = await file.readFile('utf8');
    if (!text.endsWith('\n')) await file.truncate(Buffer.byteLength(text.slice(0, text.lastIndexOf('\n') + 1)));
    const lines = completeLines(text);
    const last = lines.at(-1);
    const entry: AuditEntry = {
      number: lines.length + 1,
      at: now(),
      event,
      operation,
      details,
      previousSha256: last === undefined ? FIRST : digest(last),
    };
    await file.appendFile(`${canonicalJson(entry)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  if (event === 'lock acquired') await fsyncDirectory(controlDirectory);
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
