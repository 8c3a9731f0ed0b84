// A STOP: a protocol's answer to a state that it does not accept, with a code of the table in stops.ts (SM-10, F-31).
import { STOPS } from './stops.js';

export { STOPS } from './stops.js';
export type { StopEntry } from './stop-entry.js';

export type StopCode = keyof typeof STOPS;

/** Details are small and JSON: paths, numbers, names. Never file contents, never secrets. */
export type StopDetails = Readonly<Record<string, unknown>>;

/** A STOP as every room throws it; activities translate it into an ApplicationFailure of the same code. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly code: StopCode;
  readonly details: StopDetails;
  constructor(code: StopCode, message: string, details: StopDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** True for a code of the table; anything else that ends a protocol is a defect (exit 70). */
export function isStopCode(code: unknown): code is StopCode {
  return typeof code === 'string' && Object.hasOwn(STOPS, code);
}

/** The error model (SM-10): what logs, JSON output and failure details carry. */
export interface StopModel {
  readonly code: StopCode;
  readonly message: string;
  readonly exit: number;
  readonly safe: string;
  readonly remedy: string;
  readonly details: StopDetails;
}

export function stopModel(code: StopCode, message: string, details: StopDetails = {}): StopModel {
  const entry = STOPS[code];
  return { code, message, exit: entry.exit, safe: entry.safe, remedy: entry.remedy, details };
}

/** Exit status of a programming error: never a STOP. */
export const EXIT_DEFECT = 70;

/** Asserts what must hold in a correct program; its failure is a defect, not a STOP. */
export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Error(`defect: ${why}`);
}
