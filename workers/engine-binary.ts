// Finds Temporal's own binary, or makes it (DESIGN "Engine"): PATH, holdfast's cache, the SDK's download, a build from
// the Go module proxy. A binary is used only after it has named its version, and enters the cache by one rename.
import {
  accessSync,
  constants,
  fsyncSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { asEnvironmentStop, ensurePrivateDirectory, setting } from '../client/state-directory.js';
import type { Environment } from '../client/state-directory.js';
import { Stop } from '../domain/stop.js';
import { tryExclusiveLock } from './exclusive-lock.js';
import { runBounded } from './run-bounded.js';

/** The newest version on the module proxy without replace directives: `go install` refuses those. */
export const TEMPORAL_VERSION = '1.5.1';
const MODULE = `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_VERSION}`;
/** Older servers lack what workflows here use (updates, summaries, current details). */
const SERVER_VERSION_MIN = [1, 27] as const;
const DOWNLOAD_STALL_MILLIS = 20_000;

export interface TemporalBinary {
  readonly path: string;
  /** As it names itself, such as "1.5.1 (Server 1.29.1, UI 2.42.1)". */
  readonly version: string;
  readonly source: 'path' | 'cache' | 'download' | 'build';
}

export interface FindOptions {
  readonly onProgress: (line: string) => void;
  readonly environment?: Environment;
  readonly signal?: AbortSignal;
}

/** Which binary runs the embedded engine. STOP engine_unavailable, with the reason of each way that failed. */
export async function findTemporalBinary(options: FindOptions): Promise<TemporalBinary> {
  const environment = options.environment ?? process.env;
  const given = setting(environment, 'HOLDFAST_TEMPORAL_BINARY');
  if (given !== undefined) {
    const version = isAbsolute(given) && isExecutable(given) ? await versionOf(given) : undefined;
    if (version === undefined)
      throw new Stop('engine_unavailable', 'HOLDFAST_TEMPORAL_BINARY is not a usable temporal', { path: given });
    return { path: given, version, source: 'path' };
  }
  return (
    (await onPath(environment, options.onProgress)) ??
    (await inCache(environment)) ??
    (await madeOnce(environment, options))
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return false;
    throw asEnvironmentStop(error, path);
  }
}

/** What the binary says of itself, or undefined if it isn't a Temporal that is new enough. */
async function versionOf(path: string): Promise<string | undefined> {
  const { status, output } = await runBounded(path, ['--version'], { timeoutMillis: 20_000, environment: process.env });
  const found = /^temporal version (.*\(Server (\d+)\.(\d+)\.\d+.*)$/m.exec(output);
  if (status !== 0 || found?.[1] === undefined) return undefined;
  const [major, minor] = [Number(found[2]), Number(found[3])];
  const isNewEnough =
    major > SERVER_VERSION_MIN[0] || (major === SERVER_VERSION_MIN[0] && minor >= SERVER_VERSION_MIN[1]);
  return isNewEnough ? found[1].trim() : undefined;
}

async function onPath(
  environment: Environment,
  onProgress: (line: string) => void,
): Promise<TemporalBinary | undefined> {
  for (const directory of (environment['PATH'] ?? '').split(delimiter).filter(isAbsolute)) {
    const path = join(directory, 'temporal');
    if (!isExecutable(path)) continue;
    const version = await versionOf(path);
    if (version !== undefined) return { path, version, source: 'path' };
    onProgress(`passing over ${path}: not a temporal whose server is ${SERVER_VERSION_MIN.join('.')} or newer`);
  }
  return undefined;
}

function cacheDirectory(environment: Environment): string {
  return join(setting(environment, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'holdfast');
}

function cachedPath(environment: Environment): string {
  return join(cacheDirectory(environment), `temporal-${TEMPORAL_VERSION}`);
}

async function inCache(environment: Environment): Promise<TemporalBinary | undefined> {
  const path = cachedPath(environment);
  if (!isExecutable(path)) return undefined;
  const version = await versionOf(path);
  return version === undefined ? undefined : { path, version, source: 'cache' };
}

/** Under a lock, so that of several processes one makes the binary and the others find it. */
async function madeOnce(environment: Environment, options: FindOptions): Promise<TemporalBinary> {
  const directory = cacheDirectory(environment);
  ensurePrivateDirectory(directory);
  const release = await awaitLock(`${cachedPath(environment)}.lock`, options);
  try {
    const found = await inCache(environment);
    if (found !== undefined) return found;
    // What a killed process left half-made
    const remains = readdirSync(directory).filter((name) => name.startsWith('make-'));
    for (const name of remains) rmSync(join(directory, name), { recursive: true, force: true });
    return await make(environment, directory, options);
  } finally {
    release();
  }
}

async function awaitLock(path: string, { onProgress, signal }: FindOptions): Promise<() => void> {
  const deadline = performance.now() + ENGINE_LIMITS.startMillisMax;
  for (let turn = 0; performance.now() < deadline; turn += 1) {
    const release = tryExclusiveLock(path);
    if (release !== undefined) return release;
    if (turn % 20 === 0) onProgress('waiting for another process that makes the temporal binary');
    await delay(250, undefined, signal === undefined ? {} : { signal });
  }
  throw new Stop('engine_unavailable', 'another process has been making the temporal binary for too long', {
    lock: path,
  });
}

async function make(environment: Environment, directory: string, options: FindOptions): Promise<TemporalBinary> {
  const reasons: Record<string, string> = {};
  for (const source of ['download', 'build'] as const) {
    const work = mkdtempSync(join(directory, 'make-'));
    try {
      const reason = await (source === 'download'
        ? download(work, environment, options)
        : build(work, environment, options));
      const names = readdirSync(work).filter((name) => name.startsWith('temporal') && !name.endsWith('.downloading'));
      const made = names[0] === undefined ? undefined : join(work, names[0]);
      const version = reason === undefined && made !== undefined ? await versionOf(made) : undefined;
      if (made !== undefined && version !== undefined) {
        keep(made, cachedPath(environment), directory);
        return { path: cachedPath(environment), version, source };
      }
      reasons[source] = reason ?? 'no usable binary came of it';
      options.onProgress(`${source} of temporal: ${reasons[source]}`);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  throw new Stop('engine_unavailable', 'no temporal on PATH, in the cache, by download or by build', {
    ...reasons,
    cache: directory,
  });
}

/** Into the cache: synced, then renamed, then the directory synced. */
function keep(source: string, target: string, directory: string): void {
  try {
    for (const [path, before] of [
      [source, () => undefined],
      [directory, () => renameSync(source, target)],
    ] as const) {
      before();
      const descriptor = openSync(path, 'r');
      fsyncSync(descriptor);
      closeSync(descriptor);
    }
  } catch (error) {
    throw asEnvironmentStop(error, target);
  }
}

/**
 * The SDK's download, in a process group of its own: it has no time limit, and starts what it downloaded. Ended when
 * no byte arrives for DOWNLOAD_STALL_MILLIS. Returns why it failed, or undefined.
 */
async function download(
  work: string,
  environment: Environment,
  { onProgress, signal }: FindOptions,
): Promise<string | undefined> {
  onProgress(`downloading temporal ${TEMPORAL_VERSION} through the SDK`);
  const program = fileURLToPath(new URL('./engine-download.js', import.meta.url));
  let bytes = 0;
  const { status, output } = await runBounded(process.execPath, [program, work, `v${TEMPORAL_VERSION}`], {
    timeoutMillis: 15 * 60_000,
    environment,
    directory: work,
    ...(signal === undefined ? {} : { signal }),
    stall: {
      millis: DOWNLOAD_STALL_MILLIS,
      measure: () =>
        (bytes = readdirSync(work).reduce(
          (sum, name) => sum + (statSync(join(work, name), { throwIfNoEntry: false })?.size ?? 0),
          0,
        )),
    },
    onTick: () => onProgress(`downloading temporal: ${Math.round(bytes / 1024 ** 2)} MiB`),
  });
  return status === 0 ? undefined : (lastLine(output) ?? 'it ended without a word');
}

/** `go install` from the module proxy: about three minutes when nothing is cached. */
async function build(
  work: string,
  environment: Environment,
  { onProgress, signal }: FindOptions,
): Promise<string | undefined> {
  const go = (environment['PATH'] ?? '')
    .split(delimiter)
    .filter(isAbsolute)
    .map((directory) => join(directory, 'go'))
    .find(isExecutable);
  if (go === undefined) return 'go is not on PATH';
  onProgress(`building temporal ${TEMPORAL_VERSION} from the Go module proxy: about three minutes, once`);
  const begin = performance.now();
  const { status, output } = await runBounded(go, ['install', MODULE], {
    timeoutMillis: 25 * 60_000,
    environment: { ...environment, GOBIN: work },
    directory: work,
    ...(signal === undefined ? {} : { signal }),
    onTick: () => onProgress(`building temporal: ${Math.round((performance.now() - begin) / 1000)} s`),
  });
  return status === 0 ? undefined : (lastLine(output) ?? `go install ended with status ${status}`);
}

function lastLine(output: string): string | undefined {
  return output.trim().split('\n').at(-1)?.slice(0, 500) || undefined;
}
