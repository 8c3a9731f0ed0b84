// Commands that put together what lies sealed, without an engine: interrupted, they take away what they had put together.
import { Stop } from '../domain/stop.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `work` with a signal that is given by those of the system. @throws Stop cancelled, by whoever heeds it */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const giveUp = (name: string): void => controller.abort(new Stop('cancelled', `interrupted by ${name}`, {}));
  for (const name of SIGNALS) process.on(name, giveUp);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, giveUp);
  }
}
