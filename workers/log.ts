// The one log of workers and supervisors: pino, JSON lines to stderr. What is secret by name never reaches it.
import { pino } from 'pino';
import type { Logger } from 'pino';
import { Stop } from '../domain/stop.js';

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
  return pino({ name, level, redact: { paths, censor: '[redacted]' } }, pino.destination({ dest: 2, sync: true }));
}
