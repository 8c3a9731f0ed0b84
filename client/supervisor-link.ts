// The client's end of the supervisor's socket: newline-separated JSON, one way. Holding the connection open is the
// whole request; the kernel closes it for a killed client. DESIGN "Engine" (the last command to end stops it).
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { dirname, basename } from 'node:path';
import { isStopCode, Stop } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import { ENGINE_LIMITS } from './engine-limits.js';
import { asEnvironmentStop } from './state-directory.js';

/** Engine and worker are up. Sent once to each client, and again whenever a process of it was replaced. */
export interface EngineReady {
  readonly address: string;
  readonly namespace: string;
  readonly namespaceId: string;
  readonly uiAddress?: string;
  readonly supervisorPid: number;
  readonly workerPid: number;
  /** Absent with TEMPORAL_ADDRESS: the engine is not ours. */
  readonly enginePid?: number;
  /** What the worker goes by; a client that goes by something else must know. */
  readonly host: string;
  readonly definitionsDirectory: string;
}

export interface EngineFailure {
  readonly error: { readonly code: string; readonly message: string; readonly details: StopDetails };
}

export type SupervisorMessage = EngineReady | EngineFailure | { readonly progress: string };

export interface SupervisorLink {
  /** The newest state that the supervisor announced. */
  readonly ready: () => EngineReady;
  /** Settles when the connection ends: true if it was not us who ended it, or why the supervisor has given up. */
  readonly ended: Promise<boolean | Error>;
  readonly close: () => void;
}

/** sun_path holds 107 bytes. A longer path is reached through its directory's descriptor, never cut short. */
const SOCKET_PATH_BYTES_MAX = 100;

/** Calls `use` with a path for the socket that fits into sun_path. */
export function withSocketPath<T>(path: string, use: (path: string) => T): { result: T; release: () => void } {
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return { result: use(path), release: () => undefined };
  const descriptor = openSync(dirname(path), 'r');
  return { result: use(`/proc/self/fd/${descriptor}/${basename(path)}`), release: () => closeSync(descriptor) };
}

/** Splits a byte stream into lines; a line over the limit is an error of the sender. */
function onLines(socket: Socket, onLine: (line: string) => void): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const lines = (pending + chunk).split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > ENGINE_LIMITS.messageBytesMax) socket.destroy(new Error('the line is too long'));
    // An empty line only says that the supervisor is alive
    for (const line of lines.filter((text) => text !== '')) onLine(line);
  });
}

function failureOf(message: EngineFailure): Error {
  const { code, message: text, details } = message.error;
  return isStopCode(code) ? new Stop(code, text, details) : new Error(text);
}

/**
 * Connects to a running supervisor and waits until engine and worker are ready. 'absent' when there is none, or when
 * it was just ending. STOPs: whatever ended the supervisor's start, engine_unavailable when it says nothing,
 * permission_denied when the socket is another user's.
 */
export function attachSupervisor(
  socketPath: string,
  onProgress: (line: string) => void,
): Promise<SupervisorLink | 'absent'> {
  return new Promise((resolve, reject) => {
    const { result: socket, release } = withSocketPath(socketPath, (path) => connect(path));
    let latest: EngineReady | undefined;
    let closedByUs = false;
    let endLink: (how: boolean | Error) => void = () => undefined;
    const ended = new Promise<boolean | Error>((settle) => (endLink = settle));
    const close = (): void => {
      closedByUs = true;
      socket.destroy();
    };
    socket.once('close', () => {
      release();
      resolve('absent');
      endLink(!closedByUs);
    });
    socket.on('error', (error) => {
      if (!isAbsence(error)) reject(asEnvironmentStop(error, socketPath));
    });
    socket.setTimeout(ENGINE_LIMITS.silenceMillisMax, () => {
      reject(new Stop('engine_unavailable', 'the supervisor of the engine says nothing', { socket: socketPath }));
      socket.destroy();
    });
    onLines(socket, (line) => {
      const message = parseMessage(line);
      if ('progress' in message) return onProgress(message.progress);
      if ('error' in message) {
        const failure = failureOf(message);
        reject(failure);
        endLink(failure);
        return close();
      }
      latest = message;
      const ready = (): EngineReady => latest ?? message;
      // From now on silence is what is expected
      socket.setTimeout(0);
      resolve({ ready, ended, close });
    });
  });
}

/** A line that is not of the protocol ends the connection like any other failure of the supervisor. */
function parseMessage(line: string): SupervisorMessage {
  try {
    return JSON.parse(line);
  } catch (error) {
    return {
      error: { code: 'defect', message: `the supervisor does not keep to its protocol: ${String(error)}`, details: {} },
    };
  }
}

/** Nobody listens, or whoever did is just ending: the close that follows says the same. */
function isAbsence(error: Error): boolean {
  return 'code' in error && ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(String(error.code));
}
