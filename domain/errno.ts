// What the system answers, in the language of refusals (stop.ts): a full filesystem, a denied access and any other
// failed system call are three different decisions for a person (SM-10). Pure: it looks at errors, and causes none.
import { Stop } from './stop.js';
import type { StopCode, StopDetails } from './stop.js';

/** What Node's file functions and files/system-calls.ts throw: `code` is the errno's name. */
export interface ErrnoError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly path?: string;
}

const STOP_BY_ERRNO: Readonly<Record<string, StopCode>> = {
  EACCES: 'permission_denied',
  EPERM: 'permission_denied',
  ENOSPC: 'no_space',
  EDQUOT: 'no_space',
};

export function stopCodeOf(errnoName: string): StopCode {
  return STOP_BY_ERRNO[errnoName] ?? 'io_error';
}

/** True for a failed system call; false for a STOP, a defect, and anything that is not an error. */
export function isErrnoError(error: unknown): error is ErrnoError {
  if (!(error instanceof Error)) return false;
  const { code, errno, syscall } = error as Partial<ErrnoError>;
  return typeof code === 'string' && typeof errno === 'number' && typeof syscall === 'string';
}

/** True when the error is a failed system call with one of these errno names. */
export function hasErrno(error: unknown, ...names: readonly string[]): boolean {
  return isErrnoError(error) && names.includes(error.code);
}

/**
 * A failed system call becomes a Stop: no_space, permission_denied or io_error, with path, errno and call in its
 * details. Everything else (a STOP, a defect) is returned unchanged, so that `throw translateErrno(error)` is always
 * right. What is thrown but is no Error becomes one.
 */
export function translateErrno(error: unknown, details: StopDetails = {}): Error {
  if (isErrnoError(error)) {
    const path = error.path === undefined ? {} : { path: error.path };
    return new Stop(
      stopCodeOf(error.code),
      `${error.syscall} failed with ${error.code}`,
      { ...path, errno: error.code, systemCall: error.syscall, ...details },
      { cause: error },
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}
