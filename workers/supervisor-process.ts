// The supervisor as a detached process, which client/connection.ts starts by path. Its exit status is the STOP's.
import { EXIT_DEFECT, Stop, STOPS } from '../domain/stop.js';
import { createLog } from './log.js';
import { runSupervisor } from './supervisor.js';

process.umask(0o077);
const log = createLog('holdfast-supervisor');
const ending = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => ending.abort());
try {
  await runSupervisor({ foreground: false, signal: ending.signal, log });
  process.exit(0);
} catch (error) {
  log.fatal({ err: error }, 'the supervisor failed');
  process.exit(error instanceof Stop ? STOPS[error.code].exit : EXIT_DEFECT);
}
