// What a walk keeps of an entry (F-3). A store may have a hundred thousand files, and two walks of it are compared: the
// numbers of many entries lie side by side in arrays, and are made strings of when they are asked for. As strings and
// objects of their own they would take more than twice the memory.
import type { BigIntStats } from 'node:fs';

type WalkedKind = 'directory' | 'file' | 'symlink' | 'special';

/** Numbers of so many entries lie in one pair of arrays. */
const ENTRIES_PER_PAGE = 256;
/** 64 bits each: size, inode, mtime, ctime. */
const WIDE = 4;
/** 32 bits each: mode, owner, group, links. */
const NARROW = 4;

interface Page {
  readonly wide: BigInt64Array;
  readonly narrow: Uint32Array;
}

/** What lstat says of an entry. Strings where a JavaScript number would lose digits. */
export class WalkedEntry {
  /** Relative to the walked directory, `/` between parts; `.` is the directory itself. */
  readonly path: string;
  readonly kind: WalkedKind;
  /** A file that begins with SQLite's magic; null: not looked at, also because no database has such a length. */
  readonly isDatabase: boolean | null;
  readonly device: string;
  readonly #page: Page;
  readonly #place: number;

  /** Entries are made by `EntryMaker` and `asFile`. */
  constructor(
    known: Pick<WalkedEntry, 'path' | 'kind' | 'isDatabase' | 'device'>,
    place: { readonly page: Page; readonly place: number },
  ) {
    this.path = known.path;
    this.kind = known.kind;
    this.isDatabase = known.isDatabase;
    this.device = known.device;
    this.#page = place.page;
    this.#place = place.place;
  }

  get sizeBytes(): number {
    return Number(this.#wide(0));
  }
  get inode(): string {
    return this.#wide(1).toString();
  }
  get mtimeNanos(): string {
    return this.#wide(2).toString();
  }
  get ctimeNanos(): string {
    return this.#wide(3).toString();
  }
  /** 0 to 0o7777. */
  get mode(): number {
    return this.#narrow(0);
  }
  get uid(): number {
    return this.#narrow(1);
  }
  get gid(): number {
    return this.#narrow(2);
  }
  get linkCount(): number {
    return this.#narrow(3);
  }

  /** The same entry, looked at as a file that nobody has looked into. */
  asFile(): WalkedEntry {
    const { path, device } = this;
    return new WalkedEntry({ path, device, kind: 'file', isDatabase: null }, { page: this.#page, place: this.#place });
  }

  #wide(column: number): bigint {
    return this.#page.wide[this.#place * WIDE + column] ?? 0n;
  }

  #narrow(column: number): number {
    return this.#page.narrow[this.#place * NARROW + column] ?? 0;
  }
}

/** Makes the entries of one walk. */
export class EntryMaker {
  #page: Page = newPage();
  #place = 0;
  readonly #devices = new Map<bigint, string>();

  make(path: string, facts: BigIntStats, isDatabase: boolean | null): WalkedEntry {
    if (this.#place === ENTRIES_PER_PAGE) {
      this.#page = newPage();
      this.#place = 0;
    }
    const [page, place] = [this.#page, this.#place];
    this.#place += 1;
    page.wide.set([facts.size, facts.ino, facts.mtimeNs, facts.ctimeNs], place * WIDE);
    page.narrow.set(
      [Number(facts.mode & 0o7777n), Number(facts.uid), Number(facts.gid), Number(facts.nlink)],
      place * NARROW,
    );
    return new WalkedEntry({ path, kind: kindOf(facts), isDatabase, device: this.#device(facts.dev) }, { page, place });
  }

  #device(device: bigint): string {
    const known = this.#devices.get(device) ?? device.toString();
    this.#devices.set(device, known);
    return known;
  }
}

function newPage(): Page {
  return {
    wide: new BigInt64Array(ENTRIES_PER_PAGE * WIDE),
    narrow: new Uint32Array(ENTRIES_PER_PAGE * NARROW),
  };
}

function kindOf(facts: BigIntStats): WalkedKind {
  if (facts.isDirectory()) return 'directory';
  if (facts.isFile()) return 'file';
  return facts.isSymbolicLink() ? 'symlink' : 'special';
}
