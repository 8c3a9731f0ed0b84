// Where a capture goes: into the hidden directory of an artefact, or into a vault (vault-sink.ts). Both hash what they are
// given as they read it, each byte once.
import type { RunTuple } from '../domain/vault.js';
import type { CapturedPacks } from './capture.js';
import { copyEach, hashFiles } from '../files/copy.js';
import type { CopyJob, CopyOptions } from '../files/copy.js';

/** What is known of bytes that were taken in. */
export interface Taken {
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Where a vault has them: numbers of packs are those of its index. */
  readonly runs?: readonly RunTuple[];
}

/** What a sink has of a member that is as it was. */
export interface Known extends Taken {
  /** Of a database: JSON of its ManifestDatabase; '' for a file. */
  readonly facts: string;
}

/** A member, and what its stat was: `stamp` is '' where a later write could look the same. */
export interface Stamped {
  readonly root: string;
  readonly path: string;
  readonly stamp: string;
}

export interface Sink {
  /** Where databases are copied to, and what a step leaves for the next ones. */
  readonly partial: string;
  /** Whether files of trees lie in `partial`, too. */
  readonly copiesTrees: boolean;
  /** What it holds already of a member that is as it was; null: it is to be read. */
  known(member: Stamped): Known | null;
  /** Takes in files of trees; `onTaken` is told of each, in no order, with the number of its job. */
  take(jobs: Iterable<CopyJob>, options: CopyOptions, onTaken: (index: number, taken: Taken) => void): Promise<void>;
  /** Takes in the copy of a database. */
  takeDatabase(copy: string, signal: AbortSignal): Promise<Taken>;
  /** A try of the cut has failed: the next one begins anew. */
  startOver(): Promise<void>;
  /**
   * Everything has been taken in.
   * @param runs of all members
   * @returns the packs that these name; of a directory nothing
   * @throws Stop vault_object_missing
   */
  finish(runs: Iterable<readonly RunTuple[]>): Promise<CapturedPacks | undefined>;
  /** Gives back what it holds, whatever has come about. */
  close(): Promise<void>;
}

/** The hidden directory of an artefact. */
export function artefactSink(partial: string): Sink {
  let hashing: Promise<unknown> = Promise.resolve();
  async function hashDatabase(copy: string, signal: AbortSignal): Promise<Taken> {
    const [taken] = await hashFiles([{ source: copy }], { signal });
    if (taken === undefined) throw new Error('defect: a file was not hashed');
    return taken;
  }
  return {
    partial,
    copiesTrees: true,
    known: () => null,
    take: (jobs, options, onTaken) => copyEach(jobs, options, onTaken),
    // One after the other: the rest of the processors copies trees
    takeDatabase: (copy, signal) => {
      const taken = hashing.then(() => hashDatabase(copy, signal));
      // Whoever asked is told why it failed; the next one begins when it has ended, however that was
      hashing = Promise.allSettled([taken]);
      return taken;
    },
    startOver: async () => undefined,
    finish: async () => undefined,
    close: async () => undefined,
  };
}
