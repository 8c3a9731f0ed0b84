// The sink of a vault: databases are copied beside the store, then packed; files of trees are packed as they are read. What
// has not changed since the last backup is not read at all (F-10).
import { critical } from '../control/lock.js';
import type { StoreRoom } from '../control/store-room.js';
import type { VaultRoom } from '../control/vault-room.js';
import type { LockGrant } from '../domain/protocol.js';
import type { CopyJob } from '../files/copy.js';
import { ChunkIndex } from '../vault/chunk-index.js';
import type { KnownFile } from '../vault/chunk-index.js';
import { Packer } from '../vault/packer.js';
import type { PackJob } from '../vault/packer.js';
import { currentKey } from '../vault/trust.js';
import type { Sink, Stamped, Taken } from './sink.js';

export interface VaultSinkOptions {
  readonly room: StoreRoom;
  readonly grant: LockGrant;
  readonly vaultRoom: VaultRoom;
  readonly partial: string;
  /** Everything is read, whether it seems to have changed or not, and written, whether the vault is said to have it or not. */
  readonly rehash: boolean;
}

/** @throws Stop index_corrupt, store_locked and lock_lost of critical */
export async function vaultSink({ room, grant, vaultRoom, partial, rehash }: VaultSinkOptions): Promise<Sink> {
  const { vault, indexPath } = vaultRoom;
  const { store } = room.definition;
  const index = new ChunkIndex(indexPath, vault.description.vault);
  const newPacker = (): Promise<Packer> =>
    // Forgets what a predecessor has begun: only who has the store's lock may
    critical(
      room,
      grant,
      () =>
        new Packer({
          place: vault.place,
          vault: vault.description.vault,
          recipient: currentKey(vault).recipient,
          index,
          store,
          reuses: !rehash,
        }),
    );
  let packer = await newPacker();
  const find = ({ root, path, stamp }: Stamped): KnownFile | null => {
    if (rehash || stamp === '') return null;
    const file = index.file(store, { root, path });
    return file !== null && file.stamp === stamp && file.runs.every(([pack]) => packer.mayReuse(pack)) ? file : null;
  };
  return {
    partial,
    copiesTrees: false,
    known: find,
    take: (jobs, options, onTaken) => packer.packEach(packJobs(jobs), options, onTaken),
    takeDatabase: (copy, signal) => packOne(packer, { source: copy, kind: 'database' }, signal),
    startOver: async () => {
      await packer.close();
      packer = await newPacker();
    },
    finish: async (runs) => {
      await packer.finish();
      const numbers = new Set<number>();
      for (const list of runs) for (const [pack] of list) numbers.add(pack);
      return { packs: [...(await packer.factsOf(numbers))], addedBytes: packer.addedBytes };
    },
    close: async () => {
      await packer.close();
      index.close();
    },
  };
}

function* packJobs(jobs: Iterable<CopyJob>): Generator<PackJob, void, undefined> {
  for (const { target: _, ...job } of jobs) yield { ...job, kind: 'file' };
}

async function packOne(packer: Packer, job: PackJob, signal: AbortSignal): Promise<Taken> {
  const results: Taken[] = [];
  await packer.packEach([job], { signal }, (_index, result) => results.push(result));
  const [taken] = results;
  if (taken === undefined) throw new Error('defect: a file was not packed');
  return taken;
}
