// The one log of workers and supervisors: pino, JSON lines to stderr. What is secret by name never reaches it.
import { pino } from 'pino';
import type { Logger } from 'pino';

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

/** Level from HOLDFAST_LOG_LEVEL, else info. Written synchronously, so that a crash loses no line. */
export function createLog(name: string): Log {
  const paths = SECRET_NAMES.flatMap((secret) => [secret, `*.${secret}`, `*.*.${secret}`]);
  const level = process.env['HOLDFAST_LOG_LEVEL'] ?? 'info';
  return pino({ name, level, redact: { paths, censor: '[redacted]' } }, pino.destination({ dest: 2, sync: true }));
}
