// Large files past the page cache (O_DIRECT): what was just sealed is not read again, and the memory of the store's own
// pages is left alone. docs/performance.md says what that is worth.
import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import koffi from 'koffi';
import { hasErrno, translating } from './errors.js';

/** Of addresses, offsets and lengths: a multiple of what any disk asks for. */
const ALIGNMENT = 4096;

/** Memory that threads share, and that writeNewDirect hands to the disk as it is. */
export function alignedMemory(sizeBytes: number): Uint8Array<SharedArrayBuffer> {
  const memory = new Uint8Array(new SharedArrayBuffer(sizeBytes + ALIGNMENT));
  const excess = addressOf(memory) % ALIGNMENT;
  return memory.subarray(ALIGNMENT - excess, ALIGNMENT - excess + sizeBytes);
}

/** The last bits alone: addresses need not be safe integers. */
const addressOf = (bytes: Uint8Array): number => Number(koffi.address(bytes) % BigInt(ALIGNMENT));

/**
 * Writes a new file, whose bytes are on disk when it returns; its name is not before its directory is synced. Bytes
 * elsewhere than in alignedMemory, and filesystems without direct writes, are written in the ordinary way.
 * @throws Stop no_space, permission_denied, io_error; then there is no file
 */
export async function writeNewDirect(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await translating({ path }, async () => {
    const file = await open(path, 'wx', mode);
    try {
      const written = addressOf(bytes) === 0 ? await writeAligned(path, bytes) : 0;
      await writeAll(file, bytes, written, bytes.length);
      await file.sync();
    } catch (error) {
      await unlink(path);
      throw error;
    } finally {
      await file.close();
    }
  });
}

/** @returns how many bytes from the beginning are written: all but the last ones, or none where the filesystem can't */
async function writeAligned(path: string, bytes: Uint8Array): Promise<number> {
  const end = bytes.length - (bytes.length % ALIGNMENT);
  try {
    const file = await open(path, constants.O_WRONLY | constants.O_DIRECT);
    try {
      await writeAll(file, bytes, 0, end);
    } finally {
      await file.close();
    }
    return end;
  } catch (error) {
    if (hasErrno(error, 'EINVAL')) return 0;
    throw error;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, from: number, to: number): Promise<void> {
  for (let at = from; at < to;) at += (await file.write(bytes, at, to - at, at)).bytesWritten;
}
