// Where holdfast keeps its own state (engine database, sockets, logs), and the names inside. The one definition
// for client/ and workers/, which must meet at the same socket. DESIGN "Engine".
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, statfsSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { Stop } from '../domain/stop.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** An environment variable that is set and not empty. */
export function setting(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  return value === undefined || value === '' ? undefined : value;
}

function absolute(name: string, path: string): string {
  if (!isAbsolute(path)) throw new Stop('usage', `${name} is not an absolute path`, { [name]: path });
  return path;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** $HOLDFAST_STATE_DIRECTORY, else /var/lib/holdfast for root, else the user's XDG state directory. STOP usage. */
export function stateDirectory(environment: Environment = process.env): string {
  const given = setting(environment, 'HOLDFAST_STATE_DIRECTORY');
  if (given !== undefined) return absolute('HOLDFAST_STATE_DIRECTORY', given);
  if (isRoot()) return '/var/lib/holdfast';
  const base = setting(environment, 'XDG_STATE_HOME') ?? join(homedir(), '.local', 'state');
  return join(absolute('XDG_STATE_HOME', base), 'holdfast');
}

/**
 * Makes a directory of mode 0700 where it is absent, takes an existing one of ours from everybody else, and refuses
 * one of another user: sockets and binaries in it are trusted. STOP permission_denied, no_space, io_error.
 */
export function ensurePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const found = lstatSync(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) {
      throw new Stop('permission_denied', 'a private directory is not a directory of ours', { path, uid: found.uid });
    }
    // A directory made for us (systemd's StateDirectory is 0755) becomes private
    if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700);
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
}

/** The client's own small translation: this room may not import files/. */
export function asEnvironmentStop(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof Stop) return error;
  const details = { path, errno: error.code };
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new Stop('permission_denied', 'the system denied access', details, { cause: error });
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT')
    return new Stop('no_space', 'the filesystem is full', details, { cause: error });
  return new Stop('io_error', 'the system refused a read or a write', details, { cause: error });
}

/**
 * One supervisor a state directory and engine: 'embedded', or a digest of the cluster that TEMPORAL_ADDRESS names, so
 * that a worker for a cluster is never mistaken for that of the embedded engine.
 */
export function engineKey(environment: Environment): string {
  const address = setting(environment, 'TEMPORAL_ADDRESS');
  if (address === undefined) return 'embedded';
  const cluster = JSON.stringify([
    address,
    setting(environment, 'TEMPORAL_NAMESPACE'),
    setting(environment, 'TEMPORAL_PROFILE'),
  ]);
  return createHash('sha256').update(cluster).digest('hex').slice(0, 12);
}

export interface SupervisorPaths {
  readonly directory: string;
  /** An SQLite file that is only ever locked: the kernel frees it with its holder. */
  readonly lock: string;
  readonly socket: string;
  readonly log: string;
  /** What runs now: pid, start time, address. Absent when nothing does. */
  readonly engineRecord: string;
  /** The ports used last, kept so that the address of the UI stays the same. */
  readonly ports: string;
  readonly database: string;
}

export function supervisorPaths(directory: string, key: string): SupervisorPaths {
  const suffix = key === 'embedded' ? '' : `-${key}`;
  return {
    directory,
    lock: join(directory, `supervisor${suffix}.lock`),
    socket: join(directory, `supervisor${suffix}.sock`),
    log: join(directory, `supervisor${suffix}.log`),
    engineRecord: join(directory, 'engine.json'),
    ports: join(directory, 'ports.json'),
    database: join(directory, 'engine.db'),
  };
}

/** The engine's database is larger than that before its first run. */
const FREE_BYTES_MIN = 1024 * 1024;

/** Neither supervisor nor engine can start without, and neither could say why. @throws Stop no_space */
export function assertSpace(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= FREE_BYTES_MIN) return;
  throw new Stop('no_space', `the filesystem of the state directory ${directory} is full`, {
    path: directory,
    freeBytes,
    freeBytesMin: FREE_BYTES_MIN,
  });
}
