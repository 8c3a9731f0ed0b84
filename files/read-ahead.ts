// Has the disk read files before another process asks for them. That one reads a page at a time, and the kernel alone reads
// but little ahead of it: on a disk with a long way to it half of the time is waiting.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { adviseWillNeedPart } from './system-calls.js';

/** What is read and not asked for yet lies in the page cache. */
const AHEAD_BYTES = 128 * 1024 * 1024;
const PART_BYTES = 4 * 1024 * 1024;

export interface FileToRead {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Reads files ahead in their order. What can't be read, whoever asks for it will say. */
export class ReadAhead {
  readonly #parts: Iterator<Part>;
  #advisedBytes = 0;
  #wantedBytes = 0;
  #isAdvising = false;

  constructor(files: Iterable<FileToRead>) {
    this.#parts = partsOf(files);
  }

  /** @param bytes of all the files that have been asked for so far */
  reached(bytes: number): void {
    this.#wantedBytes = bytes + AHEAD_BYTES;
    if (!this.#isAdvising) void this.#advise();
  }

  async #advise(): Promise<void> {
    this.#isAdvising = true;
    while (this.#advisedBytes < this.#wantedBytes) {
      const { done, value } = this.#parts.next();
      if (done === true) break;
      this.#advisedBytes += value.lengthBytes;
      await advise(value);
    }
    this.#isAdvising = false;
  }
}

interface Part {
  readonly path: string;
  readonly offset: number;
  readonly lengthBytes: number;
}

function* partsOf(files: Iterable<FileToRead>): Generator<Part, undefined, undefined> {
  for (const { path, sizeBytes } of files)
    for (let offset = 0; offset < sizeBytes; offset += PART_BYTES)
      yield { path, offset, lengthBytes: Math.min(PART_BYTES, sizeBytes - offset) };
  return undefined;
}

async function advise({ path, offset, lengthBytes }: Part): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null);
  if (file === null) return;
  await adviseWillNeedPart(file.fd, offset, lengthBytes);
  await file.close();
}
