// Translates what the system answers into the language of refusals (domain/stop.ts): a full filesystem, a denied
// access and any other failed system call are three different decisions for a person (SM-10).
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';

/** What Node's file functions and files/system-calls.ts throw: `code` is the errno's name. */
export interface ErrnoError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly path?: string;
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

/** Runs `action` and translates the errno it fails with. */
export async function translating<T>(details: StopDetails, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw translateErrno(error, details);
  }
}

function stopCodeOf(errnoName: string): StopCode {
  if (errnoName === 'ENOSPC' || errnoName === 'EDQUOT') return 'no_space';
  if (errnoName === 'EACCES' || errnoName === 'EPERM') return 'permission_denied';
  return 'io_error';
}
