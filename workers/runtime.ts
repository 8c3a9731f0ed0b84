// The SDK's runtime of the worker process, installed once, before anything else of the SDK: one log (pino), and
// Prometheus metrics where an address is given. TEMPORAL.md 10.
import type { Logger, LogLevel, LogMetadata } from '@temporalio/common';
import { makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { MetricsExporterConfig } from '@temporalio/worker';
import { setting } from '../client/state-directory.js';
import type { Log } from './log.js';

const PINO_LEVELS = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
} as const satisfies Record<LogLevel, string>;

function sdkLogger(log: Log): Logger {
  const write = (level: LogLevel, message: string, meta?: LogMetadata): void =>
    log[PINO_LEVELS[level]](meta ?? {}, message);
  return {
    log: write,
    trace: (message, meta) => write('TRACE', message, meta),
    debug: (message, meta) => write('DEBUG', message, meta),
    info: (message, meta) => write('INFO', message, meta),
    warn: (message, meta) => write('WARN', message, meta),
    error: (message, meta) => write('ERROR', message, meta),
  };
}

/** HOLDFAST_METRICS_ADDRESS (host:port) serves SDK and holdfast metrics on one endpoint. */
export function installRuntime(log: Log): Runtime {
  const bindAddress = setting(process.env, 'HOLDFAST_METRICS_ADDRESS');
  const metrics: MetricsExporterConfig | undefined =
    bindAddress === undefined
      ? undefined
      : { prometheus: { bindAddress, countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true } };
  return Runtime.install({
    logger: sdkLogger(log),
    // The worker's own handlers decide what a signal means
    shutdownSignals: [],
    telemetryOptions: {
      // Without forward, Core prints beside our log
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }) },
      ...(metrics === undefined ? {} : { metrics }),
    },
  });
}
