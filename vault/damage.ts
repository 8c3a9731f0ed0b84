// What a verification finds wrong with a vault: which objects, and which backups they harm, of all stores. One STOP tells
// it all, bounded, with exact counts (docs/protocols/verify.md).
import { Stop } from '../domain/stop.js';
import type { StopCode } from '../domain/stop.js';
import { numberOfText, OBJECTS } from '../domain/vault.js';
import type { Envelope } from '../domain/vault.js';
import { listStores, readChain, readEnvelope } from './envelopes.js';
import type { Chain } from './envelopes.js';
import type { OpenVault } from './trust.js';

const TOLD_MAX = 100;

export interface BackupName {
  readonly store: string;
  readonly number: number;
}

interface Fault {
  readonly object: string;
  readonly code: StopCode;
  readonly why: string;
}

const ADDRESS = /^backups\/([^/]+)\/(\d{16})\/(?!.*\.verified\.)/;
const PACK = /^packs\/[0-9a-f]{2}\/([0-9a-f]{64})\.age$/;
const KEY = /^keys\/(\d+)\.age$/;

export class Damage {
  /** By object. */
  readonly #faults = new Map<string, Fault>();
  /** By `<store>/<number>`. */
  readonly #harmed = new Set<string>();
  /** Numbers that are absent side by side, but for the first of them. */
  #absent = 0;
  readonly #files: string[] = [];
  #fileCount = 0;

  /** sha256 of the packs that are not as they should be. */
  get packs(): readonly string[] {
    return [...this.#faults.keys()].flatMap((object) => PACK.exec(object)?.[1] ?? []);
  }

  get isFound(): boolean {
    return this.#faults.size > 0;
  }

  has(object: string): boolean {
    return this.#faults.has(object);
  }

  isHarmed({ store, number }: BackupName): boolean {
    return this.#harmed.has(`${store}/${number}`);
  }

  /** The first fault of an object is the one to tell. One in a backup's directory harms that backup. */
  add(object: string, { code, message }: Pick<Stop, 'code' | 'message'>): void {
    if (!this.#faults.has(object)) this.#faults.set(object, { object, code, why: message });
    const [, store, text = ''] = ADDRESS.exec(object) ?? [];
    const number = numberOfText(text);
    if (store !== undefined && number !== null) this.harms({ store, number });
  }

  harms({ store, number }: BackupName): void {
    this.#harmed.add(`${store}/${number}`);
  }

  /** A file that can't be put together, by `<root>/<path>`. */
  harmsFile(name: string): void {
    this.#fileCount += 1;
    if (this.#files.length < TOLD_MAX) this.#files.push(name);
  }

  /**
   * What is wrong with the envelopes of a store: with these, and with how any follow one another.
   * @param numbers that are being verified
   */
  addChain({ store, entries, stop }: Chain, numbers: readonly number[]): void {
    const wanted = new Set(numbers);
    for (const { number, stop: own } of entries) {
      if (own === null || (own.code !== 'chain_broken' && !wanted.has(number))) continue;
      this.add(objectOf(own, OBJECTS.envelope(store, number)), own);
      this.harms({ store, number });
      const { to } = own.details;
      if (typeof to === 'number') this.#absent += to - number;
    }
    if (stop === null || entries.some((entry) => entry.stop === stop)) return;
    const { number } = stop.details;
    if (typeof number !== 'number') return this.add(objectOf(stop, OBJECTS.backups(store)), stop);
    this.add(OBJECTS.envelope(store, number), stop);
  }

  /** Finds every backup that damaged packs and keys harm: what it takes is to read all envelopes. */
  async findHarmed(open: OpenVault, now: string): Promise<void> {
    const keys = [...this.#faults.keys()].flatMap((object) => KEY.exec(object)?.[1] ?? []).map(Number);
    const packs = new Set([...this.#faults.keys()].filter((object) => object.startsWith('packs/')));
    if (keys.length === 0 && packs.size === 0) return;
    // What was packed for a key before is referred to by later backups, too
    const firstKey = Math.min(...keys);
    const isHarmed = (envelope: Envelope): boolean =>
      envelope.keyNumber >= firstKey || envelope.packs.some(({ sha256 }) => packs.has(OBJECTS.pack(sha256)));
    for (const store of (await listStores(open)).stores) {
      const { entries } = await readChain(open, store, { now });
      for (const { number, envelope, stop } of entries) {
        if (envelope === null || (stop !== null && stop.code !== 'chain_broken')) continue;
        const read = await readEnvelope(open, store, number, { now });
        if (isHarmed(read.envelope)) this.harms({ store, number });
      }
    }
  }

  stop({ place }: OpenVault): Stop {
    const objects = [...this.#faults.values()];
    const backups = [...this.#harmed].sort();
    const backupCount = backups.length + this.#absent;
    return new Stop(
      'vault_damaged',
      `${objects.length} ${objects.length === 1 ? 'object' : 'objects'} of the vault are not as they should be, which harms ${backupCount} ${backupCount === 1 ? 'backup' : 'backups'}`,
      {
        vault: place.location,
        objects: objects.slice(0, TOLD_MAX),
        objectCount: objects.length,
        backups: backups.slice(0, TOLD_MAX),
        backupCount,
        ...(this.#fileCount > 0 && { files: this.#files, fileCount: this.#fileCount }),
      },
    );
  }
}

/** What a STOP says that it is about. */
export function objectOf({ details }: Stop, otherwise: string): string {
  const { object } = details;
  return typeof object === 'string' ? object : otherwise;
}
