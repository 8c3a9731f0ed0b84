// Deterministic numbers, bytes and prose for the benchmark's tree: the same seed gives the same tree on every machine.
import { createCipheriv, createHash } from 'node:crypto';
import type { Cipher } from 'node:crypto';

const SYLLABLES =
  'ba ce di fo gu ha ji ke lo mu na pe qui ro su ta ve wi xo zu an el is or un ter men lis ton ver pra ste con dor gel'.split(
    ' ',
  );
const WORDS = 20_000;
/** Words are drawn from a table with as many places for each as its rank deserves. */
const PLACES = 1 << 16;

/** A stream of AES in counter mode: fast, without structure for a compressor, and fixed by its label. */
export class RandomStream {
  readonly #cipher: Cipher;
  #pool: Buffer = Buffer.alloc(0);
  #offset = 0;

  constructor(seed: number, label: string) {
    const key = createHash('sha256').update(`${seed}/${label}`).digest();
    this.#cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16, 32));
  }

  bytes(length: number): Buffer {
    return this.#cipher.update(Buffer.alloc(length));
  }

  /** An unsigned 32-bit number. */
  next(): number {
    if (this.#offset === this.#pool.length) {
      this.#pool = this.bytes(1 << 16);
      this.#offset = 0;
    }
    const value = this.#pool.readUInt32LE(this.#offset);
    this.#offset += 4;
    return value;
  }

  /** An integer from `from` up to, not including, `to`. */
  between(from: number, to: number): number {
    return from + Math.floor((this.next() / 2 ** 32) * (to - from));
  }

  fraction(): number {
    return this.next() / 2 ** 32;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.between(0, values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  uuid(): string {
    const hex = this.bytes(16).toString('hex');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }
}

/** Prose whose words are as unevenly frequent as those of a language, so that it compresses like text. */
export class Prose {
  readonly #table: readonly string[];

  constructor(random: RandomStream) {
    const words = Array.from({ length: WORDS }, () => {
      const syllables = random.pick([1, 2, 2, 3, 3, 4]);
      return Array.from({ length: syllables }, () => random.pick(SYLLABLES)).join('');
    });
    const weights = words.map((_, rank) => 1 / (rank + 2) ** 0.85);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const table: string[] = [];
    let reached = 0;
    for (const [rank, word] of words.entries()) {
      reached += ((weights[rank] ?? 0) / total) * PLACES;
      while (table.length < reached) table.push(word);
    }
    this.#table = table;
  }

  words(random: RandomStream, count: number): string {
    return Array.from({ length: count }, () => random.pick(this.#table)).join(' ');
  }
}
