// Finding, starting and following the supervisor of a state directory (workers/supervisor.ts), which is known here by
// its path and its socket only. DESIGN "Engine".
import { spawn } from 'node:child_process';
import { closeSync, openSync, renameSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Stop } from '../domain/stop.js';
import { ENGINE_LIMITS } from './engine-limits.js';
import { asEnvironmentStop, assertSpace, ensurePrivateDirectory } from './state-directory.js';
import type { Environment, SupervisorPaths } from './state-directory.js';
import { attachSupervisor } from './supervisor-link.js';
import type { EngineReady, SupervisorLink } from './supervisor-link.js';

/** Attaches to the running supervisor, or starts one and attaches to whichever then holds the lock. */
export async function supervisedEngine(
  paths: SupervisorPaths,
  environment: Environment,
  onProgress: (line: string) => void,
): Promise<SupervisorLink> {
  ensurePrivateDirectory(paths.directory);
  const deadline = performance.now() + ENGINE_LIMITS.startMillisMax;
  let starting: { ended: boolean } | undefined;
  let starts = 0;
  while (performance.now() < deadline) {
    const link = await attachSupervisor(paths.socket, onProgress);
    if (link !== 'absent') return link;
    if (starting === undefined || starting.ended) {
      if (starts === ENGINE_LIMITS.supervisorStartsMax) break;
      starts += 1;
      assertSpace(paths.directory);
      starting = startSupervisor(paths, environment);
    }
    await new Promise((resolve) => setTimeout(resolve, ENGINE_LIMITS.retryMillis));
  }
  throw new Stop('engine_unavailable', 'the supervisor of the engine does not start', { log: paths.log, starts });
}

/** Starts a supervisor that outlives this process, in the state directory so that no store is its working directory. */
function startSupervisor(paths: SupervisorPaths, environment: Environment): { ended: boolean } {
  const state = { ended: false };
  const log = openLog(paths.log);
  try {
    const program = fileURLToPath(new URL('../workers/supervisor-process.js', import.meta.url));
    const env = { ...environment, HOLDFAST_STATE_DIRECTORY: paths.directory };
    const child = spawn(process.execPath, [program], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: paths.directory,
      env,
    });
    child.once('exit', () => (state.ended = true));
    child.once('error', () => (state.ended = true));
    child.unref();
    return state;
  } finally {
    closeSync(log);
  }
}

/** Appends; a log over its limit is set aside once, so that there are two at most. */
function openLog(path: string): number {
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > ENGINE_LIMITS.logBytesMax) renameSync(path, `${path}.1`);
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
}

export interface Attachment {
  readonly ready: () => EngineReady;
  readonly close: () => void;
  /** What ended the session, if something did. */
  readonly failure: () => Error | undefined;
}

/**
 * Keeps a supervisor for the length of the session: one that was killed is replaced, at the same address, so that runs
 * and calls go on. Where that fails every call is ended, and close() says why.
 */
export function keepAttached(
  first: SupervisorLink,
  endCalls: () => Promise<void>,
  attach: () => Promise<SupervisorLink>,
): Attachment {
  const address = first.ready().address;
  let link = first;
  let closed = false;
  let failure: Error | undefined;
  const follow = async (): Promise<void> => {
    for (;;) {
      const how = await link.ended;
      if (how instanceof Error) throw how;
      if (!how) return;
      const next = await attach();
      if (closed) return next.close();
      link = next;
      if (next.ready().address !== address) {
        throw new Stop('engine_unreachable', 'the engine came back at another address', {
          address,
          now: next.ready().address,
        });
      }
    }
  };
  follow().catch(async (error: unknown) => {
    failure = error instanceof Error ? error : new Error(String(error));
    link.close();
    await endCalls();
  });
  const close = (): void => {
    closed = true;
    link.close();
  };
  return { ready: () => link.ready(), close, failure: () => failure };
}
