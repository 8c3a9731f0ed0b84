// Facts of LIVE databases, for plans and gates (DESIGN "Restore": against the live state). Read-only, in a process of
// its own that exits after, because closing a file descriptor of a database drops its process's locks on it.
import type { DatabaseFacts } from '../domain/manifest.js';
import { callChild } from './child.js';
import { CHECK_INTERVAL_MILLIS, PinWatch } from './cut-watch.js';
import type { PinLimits } from './cut-watch.js';
import type { FactsRequest } from './facts.js';
import type { Unreadable } from './source.js';

export type LiveFacts = { readonly facts: DatabaseFacts } | Unreadable;

export interface LiveLimits extends PinLimits {
  /** How long reading may keep out the writers of a database without a write-ahead log. */
  readonly writersWaitMillisMax?: number;
}

/** In turn: the snapshot of this database is about to be pinned, and no other is; then its answer, without a pin. */
export type LiveEvent =
  | { readonly type: 'pinning'; readonly path: string; readonly journalMode: string }
  | { readonly type: 'answered'; readonly answer: LiveFacts };

/** The pin that is held, or may be. */
interface Pin {
  /** Place of the database among the requests. */
  readonly index: number;
  readonly path: string;
  readonly watch: PinWatch;
  readonly waitMillisMax: number;
}

/** Ends the process, and not the call: the other databases are still to be read. */
class WritersWaited extends Error {
  readonly pin: Pin;

  constructor(pin: Pin) {
    super('reading is given up, for the sake of the writers');
    this.pin = pin;
  }
}

/**
 * Reads each database in a read transaction of its own; they are not one instant. Order is that of the requests. Each
 * pin has the limits of a cut, which are watched from here: the process itself is deaf while SQLite reads a table.
 * A database whose writers would wait for too long is `pin_too_long` as an answer, like one that can't be read.
 * @param limits null where nobody is at work whose log could grow, and where a refusal would only come too late
 * Errors: `pin_too_long`, `wal_growth`; the reason of `signal`; `io_error` when the process can't be started or the kernel ends it.
 */
export async function readLiveFacts(
  requests: readonly FactsRequest[],
  limits: LiveLimits | null,
  signal?: AbortSignal,
): Promise<readonly LiveFacts[]> {
  const answers: LiveFacts[] = [];
  while (answers.length < requests.length) {
    try {
      await readRest(requests, answers, limits, signal);
    } catch (error) {
      if (!(error instanceof WritersWaited)) throw error;
      // Its answer may have been on the way
      if (answers.length === error.pin.index) answers.push(keepsWritersOut(error.pin));
    }
  }
  return answers;
}

function keepsWritersOut({ path, waitMillisMax }: Pin): Unreadable {
  return {
    unreadable: 'pin_too_long',
    message: 'reading takes longer than the writers of a database without a write-ahead log may be kept out',
    details: { path, writersWaitMillisMax: waitMillisMax },
  };
}

/** Appends to `answers` what they lack, in one process. */
async function readRest(
  requests: readonly FactsRequest[],
  answers: LiveFacts[],
  limits: LiveLimits | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const exceeded = new AbortController();
  let pin: Pin | null = null;
  const timer = setInterval(() => {
    try {
      checkPin(pin);
    } catch (error) {
      exceeded.abort(error);
    }
  }, CHECK_INTERVAL_MILLIS);
  try {
    await callChild<readonly FactsRequest[], LiveEvent, null>({
      program: new URL('./live-process.js', import.meta.url),
      request: requests.slice(answers.length),
      onEvent: (event) => {
        if (event.type === 'answered') {
          pin = null;
          answers.push(event.answer);
          return;
        }
        if (limits === null) return;
        const { path, journalMode } = event;
        pin = {
          index: answers.length,
          path,
          // Without a log there is nothing that could grow
          watch: new PinWatch([{ path, isWal: true }], process.hrtime.bigint(), limits),
          waitMillisMax: journalMode === 'wal' ? Infinity : (limits.writersWaitMillisMax ?? Infinity),
        };
      },
      signal: AbortSignal.any([exceeded.signal, ...(signal === undefined ? [] : [signal])]),
    });
  } finally {
    clearInterval(timer);
  }
}

function checkPin(pin: Pin | null): void {
  if (pin === null) return;
  if (pin.watch.elapsedMillis() > pin.waitMillisMax) throw new WritersWaited(pin);
  pin.watch.check();
}
