// The one log of workers and supervisors: pino, JSON lines to stderr. What is secret by name never reaches it.
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { Stop } from '../domain/stop.js';
import { hasErrno } from '../files/errors.js';

export type Log = Logger;

const SECRET_NAMES = [
  'apiKey',
  'authorization',
  'password',
  'passphrase',
  'secret',
  'secretAccessKey',
  'privateKey',
  'identityKey',
];

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * Level from HOLDFAST_LOG_LEVEL, else info. Written synchronously, so that a crash loses no line.
 * @throws Stop usage for a level that there is not
 */
export function createLog(name: string): Log {
  const paths = SECRET_NAMES.flatMap((secret) => [secret, `*.${secret}`, `*.*.${secret}`]);
  const level = process.env['HOLDFAST_LOG_LEVEL'] ?? 'info';
  if (!LEVELS.includes(level)) throw new Stop('usage', `HOLDFAST_LOG_LEVEL is none of ${LEVELS.join(', ')}`, { level });
  return pino({ name, level, redact: { paths, censor: '[redacted]' } }, { write: writeLine });
}

/** A reader that is behind is waited for so long. */
const WAIT_MILLIS_MAX = 1_000;
const TURN_MILLIS = 10;

/**
 * A line that can't be written, on a full filesystem or to a reader that has gone, is lost; the process that has an engine
 * or a run to end is not. What counts is on record elsewhere: in the history of the run, and in the audit log.
 * pino's own destination waits for space for ever, and blocks the process.
 */
function writeLine(line: string): void {
  let rest = Buffer.from(line);
  for (let waited = 0; rest.length > 0 && waited < WAIT_MILLIS_MAX; waited += TURN_MILLIS) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      if (!hasErrno(error, 'EAGAIN')) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TURN_MILLIS);
    }
  }
}
