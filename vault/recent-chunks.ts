// The chunks that a running backup has already written, shared by its threads without locks. It forgets when it is full: a
// chunk is then written twice, and nothing else comes of it. So memory is bounded whatever the store's size.
import type { ChunkPlace } from './chunk-index.js';

const SLOTS = 2 ** 17;
const PROBES = 8;
const DIGEST_WORDS = 8;
/** State, digest, pack (two words), offset, length, size. */
const SLOT_WORDS = 1 + DIGEST_WORDS + 5;
const EMPTY = 0;
const WRITTEN = 2;
const BEING_WRITTEN = 1;

export const RECENT_CHUNKS_BYTES = SLOTS * SLOT_WORDS * 4;

export class RecentChunks {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** @param sha256 32 bytes */
  find(sha256: Buffer): ChunkPlace | null {
    for (let probe = 0; probe < PROBES; probe += 1) {
      const slot = slotOf(sha256, probe);
      const state = Atomics.load(this.#words, slot);
      if (state === EMPTY) return null;
      if (state === WRITTEN && this.#holds(slot, sha256)) return this.#placeAt(slot);
    }
    return null;
  }

  add(sha256: Buffer, [pack, offset, length, size]: ChunkPlace): void {
    for (let probe = 0; probe < PROBES; probe += 1) {
      const slot = slotOf(sha256, probe);
      if (Atomics.compareExchange(this.#words, slot, EMPTY, BEING_WRITTEN) !== EMPTY) continue;
      for (let word = 0; word < DIGEST_WORDS; word += 1) this.#words[slot + 1 + word] = sha256.readInt32LE(word * 4);
      const rest = slot + 1 + DIGEST_WORDS;
      this.#words[rest] = Math.floor(pack / 2 ** 31);
      this.#words[rest + 1] = pack % 2 ** 31;
      this.#words[rest + 2] = offset;
      this.#words[rest + 3] = length;
      this.#words[rest + 4] = size;
      Atomics.store(this.#words, slot, WRITTEN);
      return;
    }
  }

  #holds(slot: number, sha256: Buffer): boolean {
    for (let word = 0; word < DIGEST_WORDS; word += 1)
      if (this.#words[slot + 1 + word] !== sha256.readInt32LE(word * 4)) return false;
    return true;
  }

  #placeAt(slot: number): ChunkPlace {
    const rest = slot + 1 + DIGEST_WORDS;
    const word = (index: number): number => this.#words[rest + index] ?? 0;
    return [word(0) * 2 ** 31 + word(1), word(2), word(3), word(4)];
  }
}

function slotOf(sha256: Buffer, probe: number): number {
  return ((sha256.readUInt32LE(0) + probe) % SLOTS) * SLOT_WORDS;
}
