// What this room and those above it translate refusals of the system with; the table is the language's (domain/errno.ts).
import { translateErrno } from '../domain/errno.js';
import type { StopDetails } from '../domain/stop.js';

export { hasErrno, isErrnoError, translateErrno } from '../domain/errno.js';

/** Runs `action` and translates the errno it fails with. */
export async function translating<T>(details: StopDetails, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw translateErrno(error, details);
  }
}
