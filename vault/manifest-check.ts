// What must hold from line to line of a manifest (docs/vault-format.md "Manifest"): order, schema, directories, runs,
// databases. The writer asks the same as the reader, so that nothing is written that nobody could read again. Its memory
// is the depth of the tree, the databases' names and a number a pack, never the files.
import { MANIFEST_LINES } from '../domain/schema/vault-manifest.js';
import { Stop } from '../domain/stop.js';
import type { ObjectFact, RunTuple, VaultFileEntry, VaultManifestLine } from '../domain/vault.js';
import { assertRelativePath, compareBytes } from '../files/safe-path.js';
import { CONTROL_NAME } from '../files/walk.js';

type Key = keyof typeof MANIFEST_LINES;

/** As an envelope has them. */
export interface ManifestTotals {
  /** `file` lines: databases among them. */
  readonly files: number;
  readonly databases: number;
  /** Of all files, bytes. */
  readonly sizeBytes: number;
}

/** Which lines may come after which. */
const AFTER: Readonly<Record<Key | 'nothing', readonly Key[]>> = {
  nothing: ['backup'],
  backup: ['database', 'directory', 'end'],
  database: ['database', 'directory'],
  directory: ['directory', 'file', 'end'],
  file: ['directory', 'file', 'end'],
  end: [],
};

interface Place {
  readonly root: string;
  readonly path: string;
}

/** One for each manifest: lines are put to it in their order. */
export class ManifestChecker {
  readonly #name: string;
  readonly #packs: readonly ObjectFact[] | null;
  /** Highest end of a run, by pack. */
  readonly #packEnds = new Map<number, number>();
  /** Those that the lines have described, and not yet listed. */
  readonly #databases = new Set<string>();
  /** The directories that the path of the last line begins with, the nearest last: the only ones that can have more. */
  #directories: string[] = [];
  #before: Key | 'nothing' = 'nothing';
  #last: Place | null = null;
  #lines = 0;
  #files = 0;
  #databaseCount = 0;
  #sizeBytes = 0;

  /**
   * @param name of the object, for messages
   * @param packs of the envelope; null: not known before `finish`
   */
  constructor(name: string, packs: readonly ObjectFact[] | null) {
    this.#name = name;
    this.#packs = packs;
  }

  get lines(): number {
    return this.#lines;
  }

  get totals(): ManifestTotals {
    return { files: this.#files, databases: this.#databaseCount, sizeBytes: this.#sizeBytes };
  }

  /** @throws Stop vault_invalid, path_unsafe */
  accept(value: unknown): VaultManifestLine {
    const key = this.#keyOf(value);
    const line = value as VaultManifestLine;
    if ('database' in line) this.#describe(line.database);
    else if ('directory' in line) this.#enter(line.directory, true);
    else if ('file' in line) this.#acceptFile(line.file);
    else if ('end' in line) this.#end(line.end.lines);
    this.#before = key;
    this.#lines += 1;
    return line;
  }

  /**
   * What can be said only when all lines were there.
   * @param packs of the envelope
   * @throws Stop vault_invalid
   */
  finish(packs: readonly ObjectFact[]): void {
    if (this.#before !== 'end') throw this.invalid('its last line is missing');
    for (const [pack, end] of this.#packEnds) this.#assertWithin(packs, pack, end);
    if (this.#packEnds.size !== packs.length) throw this.invalid('the envelope has a pack that no run names');
  }

  invalid(why: string): Stop {
    return new Stop('vault_invalid', `${this.#name} is not what the format says: ${why}`, {
      object: this.#name,
      line: this.#lines + 1,
    });
  }

  #keyOf(value: unknown): Key {
    const keys = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
    const key = keys[0];
    if (keys.length !== 1 || key === undefined || !Object.hasOwn(MANIFEST_LINES, key))
      throw this.invalid(`line ${this.#lines + 1} is none that it knows`);
    const known = key as Key;
    if (!AFTER[this.#before].includes(known))
      throw this.invalid(`line ${this.#lines + 1} (${known}) is not where it belongs`);
    const parsed = MANIFEST_LINES[known].safeParse((value as Record<Key, unknown>)[known]);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw this.invalid(
        `line ${this.#lines + 1}: ${[known, ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'malformed'}`,
      );
    }
    return known;
  }

  #describe(database: Place): void {
    const name = `${database.root}/${database.path}`;
    if (this.#databases.has(name)) throw this.invalid(`database ${name} is described twice`);
    this.#databases.add(name);
    this.#databaseCount += 1;
  }

  #acceptFile(file: VaultFileEntry): void {
    this.#enter(file, false);
    if (file.type === 'database' && !this.#databases.delete(`${file.root}/${file.path}`))
      throw this.invalid(`database ${file.root}/${file.path} is not described`);
    let size = 0;
    for (const run of file.runs) size += this.#acceptRun(run);
    if (size !== file.sizeBytes)
      throw this.invalid(`the runs of ${file.root}/${file.path} make ${size} bytes, and it has ${file.sizeBytes}`);
    this.#files += 1;
    this.#sizeBytes += size;
    if (!Number.isSafeInteger(this.#sizeBytes)) throw this.invalid('its files have more bytes than can be counted');
  }

  #acceptRun([pack, offset, length, size]: RunTuple): number {
    const end = offset + length;
    if (!Number.isSafeInteger(end)) throw this.invalid(`a run of pack ${pack} goes beyond any end`);
    if (this.#packs !== null) this.#assertWithin(this.#packs, pack, end);
    if (end > (this.#packEnds.get(pack) ?? 0)) this.#packEnds.set(pack, end);
    return size;
  }

  #assertWithin(packs: readonly ObjectFact[], pack: number, end: number): void {
    const fact = packs[pack];
    if (fact === undefined) throw this.invalid(`a run is of pack ${pack}, and the envelope has ${packs.length}`);
    // A plaintext is shorter than its ciphertext
    if (end > fact.sizeBytes) throw this.invalid(`a run goes beyond the end of pack ${fact.sha256}`);
  }

  /** Each once, in its order, with its directory before it. */
  #enter(place: Place, isDirectory: boolean): void {
    this.#assertSafe(place);
    const last = this.#last;
    if (last !== null && comparePlaces(last, place) >= 0)
      throw this.invalid(`${place.root}/${place.path} is not in the order of names, or twice`);
    if (last?.root !== place.root) this.#directories = [];
    this.#last = place;
    if (place.path === '.') {
      if (!isDirectory) throw this.invalid(`root ${place.root} is no directory`);
      this.#directories = ['.'];
      return;
    }
    this.#assertDirectoryOf(place);
    if (isDirectory) this.#directories.push(place.path);
  }

  #assertSafe({ root, path }: Place): void {
    assertRelativePath(root);
    if (root.includes('/')) throw new Stop('path_unsafe', `root ${root} is not a name`, { object: this.#name, root });
    if (path !== '.') assertRelativePath(path);
    // Put into a live root it would be taken for the store's lock, fence and rollback points
    if (path === CONTROL_NAME || path.startsWith(`${CONTROL_NAME}/`))
      throw new Stop('path_unsafe', `${root}/${path} is the place of a control directory`, {
        object: this.#name,
        entry: `${root}/${path}`,
      });
  }

  /**
   * In the order of bytes, whatever begins with a directory's name comes in one go: a directory that a path does not begin
   * with has no more entries, and is forgotten.
   */
  #assertDirectoryOf({ root, path }: Place): void {
    const open = this.#directories;
    for (let last = open.at(-1); last !== undefined && last !== '.' && !path.startsWith(last); last = open.at(-1))
      open.pop();
    const slash = path.lastIndexOf('/');
    if (!open.includes(slash === -1 ? '.' : path.slice(0, slash)))
      throw this.invalid(`${root}/${path} has no directory before it`);
  }

  #end(lines: number): void {
    if (lines !== this.#lines) throw this.invalid(`its end counts ${lines} lines, and there are ${this.#lines}`);
    const [missing] = this.#databases;
    if (missing !== undefined) throw this.invalid(`database ${missing} is described, and not listed`);
  }
}

/** By root, then by the bytes of the path; a root itself comes first. */
export function comparePlaces(left: Place, right: Place): number {
  if (left.root !== right.root) return compareBytes(left.root, right.root);
  if (left.path === right.path) return 0;
  if (left.path === '.') return -1;
  return right.path === '.' ? 1 : compareBytes(left.path, right.path);
}
