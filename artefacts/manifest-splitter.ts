// Takes manifest.json apart while it is read: a few of its entries at a time, and the rest of the document as if it had
// none. A manifest has a few hundred bytes for each file of a store; whole, as text and then as values, it would take
// that several times. What this takes is what JSON.parse takes, but for a second list of entries, which nobody writes.

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Text of so many entries is parsed at once. */
const GROUP_BYTES = 64 * 1024;
const LIST = 'entries';

/** @throws SyntaxError for what is not JSON, TypeError for what is not UTF-8: from `push` or, at the latest, `end` */
export class ManifestSplitter {
  readonly #onEntries: (entries: readonly unknown[]) => void;
  /** A byte-order mark is no part of a text, and none may be anywhere but before it. */
  readonly #inside = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #whole = new TextDecoder('utf-8', { fatal: true });
  #rest: Buffer[] = [];
  #group: Buffer[] = [];
  #groupBytes = 0;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #list: 'before' | 'in' | 'after' = 'before';
  #hasEntries = false;
  /** Bytes of the name that is being read, or was read last, of the document's own object; null: none is due. */
  #name: number[] | null = null;
  #isNameDue = false;

  /** @param onEntries told all entries in their order, some at a time */
  constructor(onEntries: (entries: readonly unknown[]) => void) {
    this.#onEntries = onEntries;
  }

  push(chunk: Buffer): void {
    // Begin of what is not yet put by
    let begin = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      if (this.#isInString) {
        this.#readString(byte);
        continue;
      }
      const wasIn = this.#list === 'in';
      if (byte === QUOTE) this.#beginString();
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) this.#open(byte);
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) this.#close(byte);
      else if (byte === COMMA || byte === COLON) this.#separate(byte);
      const isIn = this.#list === 'in';
      const isGroupFull = wasIn && byte === COMMA && this.#depth === 2 && this.#groupBytes + at - begin >= GROUP_BYTES;
      if (isIn && !wasIn) {
        this.#rest.push(Buffer.from(chunk.subarray(begin, at + 1)));
        begin = at + 1;
      } else if (isGroupFull || (wasIn && !isIn)) {
        this.#put(chunk.subarray(begin, at));
        this.#flush(!isIn);
        begin = isIn ? at + 1 : at;
      }
    }
    if (this.#list === 'in') this.#put(Buffer.from(chunk.subarray(begin)));
    else this.#rest.push(Buffer.from(chunk.subarray(begin)));
  }

  /** @returns the document, with no entries where there was a list of them */
  end(): unknown {
    return JSON.parse(this.#whole.decode(Buffer.concat(this.#rest)));
  }

  #beginString(): void {
    this.#isInString = true;
    if (this.#isNameDue) this.#name = [];
  }

  #readString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) {
      this.#isInString = false;
      this.#isNameDue = false;
      return;
    }
    if (this.#isNameDue) this.#name?.push(byte);
  }

  #open(byte: number): void {
    if (this.#depth === 1 && byte === OPEN_LIST && this.#isListDue()) {
      if (this.#list === 'after') throw new SyntaxError(`two lists of ${LIST}`);
      this.#list = 'in';
    }
    this.#depth += 1;
    this.#isNameDue = this.#depth === 1 && byte === OPEN_OBJECT;
  }

  #close(byte: number): void {
    this.#depth -= 1;
    this.#isNameDue = false;
    if (this.#list !== 'in' || this.#depth > 1) return;
    if (byte !== CLOSE_LIST) throw new SyntaxError(`the list of ${LIST} does not end`);
    this.#list = 'after';
    this.#name = null;
  }

  #separate(byte: number): void {
    if (this.#depth !== 1 || byte !== COMMA) return;
    this.#name = null;
    this.#isNameDue = true;
  }

  #isListDue(): boolean {
    return this.#name !== null && JSON.parse(`"${this.#inside.decode(Buffer.from(this.#name))}"`) === LIST;
  }

  #put(piece: Buffer): void {
    this.#group.push(piece);
    this.#groupBytes += piece.length;
  }

  #flush(isLast: boolean): void {
    const text = this.#inside.decode(Buffer.concat(this.#group));
    this.#group = [];
    this.#groupBytes = 0;
    if (isLast && !this.#hasEntries && /^[ \t\r\n]*$/.test(text)) return;
    // Between two commas there is something: a group of nothing is no list
    if (/^[ \t\r\n]*$/.test(text)) throw new SyntaxError(`nothing between two ${LIST}`);
    this.#hasEntries = true;
    this.#onEntries(JSON.parse(`[${text}]`) as unknown[]);
  }
}
