// Where a vault lies: named objects, written once, whole or not at all. A directory (directory-place.ts) is one; whatever
// else holds bytes under names, and can refuse to replace one, can be another. docs/vault-format.md "Orders of writing".

export interface ObjectListed {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface Place {
  /** For messages and logs; no secrets. */
  readonly location: string;
  /**
   * @throws Stop vault_object_missing; vault_invalid where it is larger than `bytesMax`
   */
  read(name: string, bytesMax: number): Promise<Buffer>;
  /** A local file with the bytes of an object, there or not: for threads, which read parts of packs. */
  localPath(name: string): Promise<string>;
  /** null: there is no such object. */
  sizeOf(name: string): Promise<number | null>;
  /** Every object below `prefix` (whole parts of a name; '' is everything), sorted by name; unfinished writes are not. */
  list(prefix: string): Promise<readonly ObjectListed[]>;
  /** Names one level below, of directories and objects, sorted. */
  children(prefix: string): Promise<readonly string[]>;
  /** Durable when it returns. false: there is one of this name, which stays as it is. */
  putNew(name: string, bytes: Uint8Array): Promise<boolean>;
  /** putNew of the bytes of a local file, which stays. */
  putNewFile(name: string, path: string): Promise<boolean>;
  /** Durable when it returns, old or new at any moment. */
  replace(name: string, bytes: Uint8Array): Promise<void>;
  /** Durable only after the next `settle`; one that is there already stays, for its name says what is in it. */
  putPack(name: string, bytes: Uint8Array): Promise<void>;
  /** Makes every putPack that has returned durable. */
  settle(): Promise<void>;
  /** Nothing there is fine. */
  remove(name: string): Promise<void>;
}
