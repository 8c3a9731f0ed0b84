// Files that are written past the page cache.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { alignedMemory, writeNewDirect } from '../../files/direct-write.js';
import { stopOf } from '../support/engine.js';

const PAGE = 4096;

describe('writeNewDirect', () => {
  let directory = '';
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'holdfast-direct-'))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function patterned(memory: Uint8Array): Uint8Array {
    for (let at = 0; at < memory.length; at += 1) memory[at] = (at * 31 + (at >> 8)) & 0xff;
    return memory;
  }

  test.each([0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * 1024 * 1024 + 517])(
    '%i bytes come back as they were',
    async (size) => {
      const path = join(directory, 'file');
      const bytes = patterned(alignedMemory(size));
      await writeNewDirect(path, bytes, 0o600);
      expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
      expect(statSync(path).mode & 0o777).toBe(0o600);
    },
  );

  test('bytes that do not lie as the disk asks for are written all the same', async () => {
    const path = join(directory, 'file');
    const bytes = patterned(alignedMemory(3 * PAGE)).subarray(1);
    await writeNewDirect(path, bytes, 0o600);
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
  });

  test('where the filesystem knows no direct writes, too', async () => {
    // Before Linux 6.5 tmpfs refuses O_DIRECT; since then it takes it: either way the bytes are there
    const memory = mkdtempSync('/dev/shm/holdfast-direct-');
    try {
      const bytes = patterned(alignedMemory(2 * PAGE + 9));
      await writeNewDirect(join(memory, 'file'), bytes, 0o600);
      expect(Buffer.compare(readFileSync(join(memory, 'file')), bytes)).toBe(0);
    } finally {
      rmSync(memory, { recursive: true, force: true });
    }
  });

  test('a file that is there already stays as it is', async () => {
    const path = join(directory, 'file');
    await writeNewDirect(path, alignedMemory(PAGE).fill(1), 0o600);
    const stop = await stopOf(writeNewDirect(path, alignedMemory(PAGE).fill(2), 0o600));
    expect(stop.code).toBe('io_error');
    expect(readFileSync(path).every((byte) => byte === 1)).toBe(true);
  });

  test('a directory that is missing is a refusal, and leaves nothing', async () => {
    const path = join(directory, 'missing', 'file');
    expect((await stopOf(writeNewDirect(path, alignedMemory(PAGE), 0o600))).code).toBe('io_error');
    expect(existsSync(path)).toBe(false);
  });
});
