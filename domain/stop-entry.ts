// What the table of refusals says of each (stops.ts).
export interface StopEntry {
  /** One line, a lower-case fact. */
  readonly title: string;
  /** Exit status of the command line (sysexits.h). */
  readonly exit: 64 | 65 | 69 | 73 | 74 | 75 | 77 | 78;
  /** What a reader may rely on after this STOP. */
  readonly safe: string;
  /** What to do: an action, or the decision that is wanted from a person. */
  readonly remedy: string;
}

export const LIVE_UNTOUCHED = 'the live store is as it was';
export const NOTHING_KEPT = 'the live store is as it was, and nothing half-made is left';
