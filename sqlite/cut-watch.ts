// What a pin may cost: DESIGN "The cut", step 5. While a snapshot is pinned the application's checkpoints wait for it
// and its log grows; both are bounded, for a cut and for whoever else reads live databases (live.ts). Logs are examined
// by stat, never opened.
import { statSync } from 'node:fs';
import { Stop } from '../domain/stop.js';
import { millisSince } from './cut-lock.js';
import type { CutRequest } from './cut.js';

export type PinLimits = Pick<CutRequest, 'pinSecondsMax' | 'walGrowthBytesMax'>;

/** A database with a pinned snapshot. */
interface Pinned {
  readonly path: string;
  readonly isWal: boolean;
}

export const CHECK_INTERVAL_MILLIS = 50;

export class PinWatch {
  readonly #pinnedAtNanos: bigint;
  readonly #limits: PinLimits;
  /** Size of each log when it was pinned. */
  readonly #logs: Map<Pinned, number>;
  #lastCheckMillis = -Infinity;

  constructor(members: readonly Pinned[], pinnedAtNanos: bigint, limits: PinLimits) {
    this.#pinnedAtNanos = pinnedAtNanos;
    this.#limits = limits;
    this.#logs = new Map(members.filter((member) => member.isWal).map((member) => [member, logBytes(member)]));
  }

  elapsedMillis(): number {
    return millisSince(this.#pinnedAtNanos);
  }

  /** Errors: `pin_too_long`, `wal_growth`. Cheap enough to be called at every step of a copy. */
  check(): void {
    const elapsedMillis = this.elapsedMillis();
    if (elapsedMillis - this.#lastCheckMillis < CHECK_INTERVAL_MILLIS) return;
    this.#lastCheckMillis = elapsedMillis;
    const { pinSecondsMax, walGrowthBytesMax } = this.#limits;
    if (elapsedMillis > pinSecondsMax * 1000) {
      const paths = [...this.#logs.keys()].map((member) => member.path).slice(0, 5);
      throw new Stop('pin_too_long', 'a snapshot was pinned for too long', { pinSecondsMax, paths });
    }
    for (const [member, atPin] of this.#logs) {
      const growthBytes = logBytes(member) - atPin;
      if (growthBytes > walGrowthBytesMax) {
        throw new Stop('wal_growth', 'the write-ahead log grew too much', {
          path: member.path,
          growthBytes,
          walGrowthBytesMax,
        });
      }
    }
  }

  drop(member: Pinned): void {
    this.#logs.delete(member);
  }
}

function logBytes(member: Pinned): number {
  return statSync(`${member.path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}
