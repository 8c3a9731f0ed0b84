// The supervisor's end of its socket: tells every client what goes on, and counts who is there. See
// client/supervisor-link.ts for the protocol.
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { ENGINE_LIMITS } from '../client/engine-limits.js';
import { asEnvironmentStop } from '../client/state-directory.js';
import { withSocketPath } from '../client/supervisor-link.js';
import type { SupervisorMessage } from '../client/supervisor-link.js';

export interface SupervisorSocket {
  readonly connections: () => number;
  /** To everybody who is there, and to whoever comes until the next message. */
  readonly announce: (message: SupervisorMessage) => void;
  readonly close: () => Promise<void>;
}

/** Listens, mode 0600. The caller holds the lock, so a socket that is there is a dead one. STOP io_error. */
export async function listenSupervisor(path: string): Promise<SupervisorSocket> {
  const clients = new Set<Socket>();
  let latest: string | undefined;
  const server = createServer((socket) => {
    clients.add(socket);
    socket.on('close', () => clients.delete(socket));
    // A client that was killed: its close follows
    socket.on('error', () => socket.destroy());
    // Nothing is expected from a client; reading is how its end is noticed
    socket.resume();
    if (latest !== undefined) socket.write(latest);
  });
  rmSync(path, { force: true });
  const release = await listen(server, path);
  // An empty line says that we are alive
  const pulse = setInterval(
    () => clients.forEach((socket) => socket.write('\n')),
    ENGINE_LIMITS.progressIntervalMillis,
  );
  return {
    connections: () => clients.size,
    announce: (message) => {
      const line = `${JSON.stringify(message)}\n`;
      latest = line;
      clients.forEach((socket) => socket.write(line));
    },
    close: async () => {
      clearInterval(pulse);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // What was announced last is still sent
      clients.forEach((socket) => socket.destroySoon());
      await closed;
      release();
    },
  };
}

async function listen(server: Server, path: string): Promise<() => void> {
  try {
    const { result, release } = withSocketPath(path, (short) => {
      return new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(short, () => resolve());
      });
    });
    await result;
    chmodSync(path, 0o600);
    return release;
  } catch (error) {
    throw asEnvironmentStop(error, path);
  }
}
