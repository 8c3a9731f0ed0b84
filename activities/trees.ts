// The trees of a cut, read by their policies (DESIGN.md "The cut", step 4). Files are hashed as they are copied.
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { capturePath } from '../artefacts/artefact.js';
import type { RoomRoot, StoreRoom } from '../control/store-room.js';
import type { CutReport, ManifestEntry } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { CopyJob } from '../files/copy.js';
import { compareWalks } from '../files/members.js';
import type { FileMember } from '../files/members.js';
import type { CutInstant } from '../sqlite/cut.js';
import { writeEntries } from './capture.js';
import type { CapturedInVault } from './capture.js';
import { isTooFresh } from './live-stamp.js';
import { livePath, membersOf } from './members.js';
import { metadataOf } from '../files/metadata.js';
import type { RootMembers } from './members.js';
import type { Sink, Taken } from './sink.js';
import type { StepContext } from './step.js';

export function treePolicies(room: StoreRoom): CutReport['policies'] {
  return room.roots.flatMap((root) =>
    root.definition.trees.map((tree) => ({ root: root.definition.name, tree: tree.path, policy: tree.policy })),
  );
}

export interface TreesCopied {
  readonly sizeBytes: number;
  /** What was copied, as it was listed: it must still be so when everything has been read. */
  readonly listed: readonly RootMembers[];
}

/**
 * Copies every file of every tree once the snapshots are pinned, and leaves the entries of directories and files, in the
 * order of the walk, to the steps that come (capture.ts).
 * @throws Stop source_changed, not_a_database
 */
export async function copyTrees(
  context: Pick<StepContext, 'room' | 'report'>,
  sink: Sink,
  before: readonly RootMembers[],
  instant: CutInstant,
  readAt: string,
  signal: AbortSignal,
): Promise<TreesCopied> {
  const listed = await listAtInstant(context.room, before);
  if (sink.copiesTrees) await makeDirectories(sink.partial, listed);
  const lengths = new Map(instant.statAtCut.map((fact) => [fact.path, fact]));
  const filesTotal = listed.reduce((sum, { members }) => sum + members.files.length, 0);
  context.report({ filesTotal });
  const hasDatabases = listed.some(({ members }) => members.databases.length > 0);
  const results = new Results(filesTotal);
  /** The file of each job. */
  const fileOfJob: number[] = [];
  function* jobs(): Generator<CopyJob, void, undefined> {
    let index = -1;
    for (const { root, member } of filesOf(listed)) {
      index += 1;
      const source = livePath(root, member.entry.path);
      const expected = expectation(member, lengths.get(source));
      const stamp = stampOfFile(member, lengths.get(source)?.sizeBytes, readAt);
      const known = sink.known({ root: root.definition.name, path: member.entry.path, stamp });
      results.stamp(index, stamp);
      if (known !== null) {
        results.put(index, known);
        continue;
      }
      fileOfJob.push(index);
      const target = capturePath(sink.partial, { root: root.definition.name, path: member.entry.path });
      yield { source, target, refuseDatabase: true, ...expected };
    }
  }
  await sink.take(
    jobs(),
    {
      signal,
      // The cut copies meanwhile, and whoever waits for its pins to be dropped waits for that
      ...(hasDatabases && sink.copiesTrees && { threadsMax: Math.max(1, availableParallelism() - 1) }),
      onProgress: (bytesDone, filesDone) => context.report({ bytesDone, filesDone }),
    },
    (job, taken) => results.put(fileOfJob[job] ?? -1, taken),
  );
  await writeEntries(sink.partial, entriesOf(listed, results));
  return { sizeBytes: results.sizeBytes, listed };
}

/** Of those of an earlier walk most are there. */
export async function makeDirectories(partial: string, listed: readonly RootMembers[]): Promise<void> {
  for (const { root, members } of listed) {
    for (const { entry } of members.directories)
      await mkdir(capturePath(partial, { root: root.definition.name, path: entry.path }), {
        recursive: true,
        mode: 0o700,
      });
  }
}

/** @param lengthBytes of a file of policy `append`, at the instant */
function stampOfFile({ entry, tree }: FileMember, lengthBytes: number | undefined, readAt: string): string {
  const { device, inode, sizeBytes, mtimeNanos, ctimeNanos } = entry;
  if (tree.policy === 'append' && lengthBytes !== sizeBytes) return '';
  const changed = [mtimeNanos, ctimeNanos].map(BigInt);
  return changed.some((nanos) => isTooFresh(nanos, readAt))
    ? ''
    : `${device} ${inode} ${sizeBytes} ${mtimeNanos} ${ctimeNanos}`;
}

function* filesOf(
  listed: readonly RootMembers[],
): Generator<{ readonly root: RoomRoot; readonly member: FileMember }, void, undefined> {
  for (const { root, members } of listed) for (const member of members.files) yield { root, member };
}

/** What is asked of the disk for each entry, its extended attributes, is read before the store is walked again. */
function* entriesOf(listed: readonly RootMembers[], results: Results): Generator<ManifestEntry, void, undefined> {
  for (const { root, members } of listed)
    for (const { entry } of members.directories)
      yield {
        type: 'directory',
        root: root.definition.name,
        path: entry.path,
        ...metadataOf(entry, livePath(root, entry.path)),
      };
  let index = 0;
  for (const { root, member } of filesOf(listed)) {
    yield {
      type: 'file',
      root: root.definition.name,
      path: member.entry.path,
      ...results.at(index),
      ...metadataOf(member.entry, livePath(root, member.entry.path)),
    };
    index += 1;
  }
}

const DIGEST_BYTES = 32;

/** What is known of each of many files, by its number. */
class Results {
  readonly #sizes: Float64Array;
  readonly #digests: Buffer;
  readonly #runs: (Taken['runs'] | undefined)[] = [];
  readonly #stamps: string[] = [];

  constructor(files: number) {
    this.#sizes = new Float64Array(files).fill(-1);
    this.#digests = Buffer.alloc(files * DIGEST_BYTES);
  }

  stamp(index: number, stamp: string): void {
    this.#stamps[index] = stamp;
  }

  put(index: number, { sizeBytes, sha256, runs }: Taken): void {
    this.#sizes[index] = sizeBytes;
    if (runs !== undefined) this.#runs[index] = runs;
    this.#digests.write(sha256, index * DIGEST_BYTES, 'hex');
  }

  at(index: number): Taken & Partial<Pick<CapturedInVault, 'stamp'>> {
    const sizeBytes = this.#sizes[index] ?? -1;
    if (sizeBytes < 0) throw new Error('defect: a copy without its result');
    const begin = index * DIGEST_BYTES;
    const sha256 = this.#digests.toString('hex', begin, begin + DIGEST_BYTES);
    const runs = this.#runs[index];
    return { sizeBytes, sha256, ...(runs !== undefined && { runs, stamp: this.#stamps[index] ?? '' }) };
  }

  get sizeBytes(): number {
    return this.#sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  }
}

/**
 * `verify` and `quiesced` hold to the walk before the cut: what they list must still be so when it is read. `immutable`
 * and `append` are listed again at the instant: files that the databases speak of by now may be younger than the walk.
 */
async function listAtInstant(room: StoreRoom, before: readonly RootMembers[]): Promise<readonly RootMembers[]> {
  const grows = room.roots.some((root) =>
    root.definition.trees.some((tree) => tree.policy === 'immutable' || tree.policy === 'append'),
  );
  if (!grows) return before;
  const present = await membersOf(room);
  return before.map((old, index) => {
    const fresh = present[index];
    if (fresh === undefined) throw new Error('defect: a root went away between two walks');
    const known = new Set(old.members.files.map(({ entry }) => entry.path));
    const added = fresh.members.files.filter(({ entry }) => !known.has(entry.path));
    for (const { entry, tree } of added) {
      // Its length at the cut is unknown, so it may not be left out and can't be taken in
      if (tree.policy === 'append')
        throw new Stop('source_changed', `${entry.path} appeared during the cut`, {
          path: entry.path,
          policy: tree.policy,
        });
    }
    const files = [...old.members.files, ...added.filter(({ tree }) => tree.policy === 'immutable')];
    return { root: old.root, members: { ...old.members, directories: fresh.members.directories, files } };
  });
}

function expectation(
  { entry, tree }: FileMember,
  atCut: { readonly sizeBytes: number; readonly inode: string } | undefined,
): Pick<CopyJob, 'expected' | 'lengthBytes'> {
  const { inode, sizeBytes, mtimeNanos, ctimeNanos } = entry;
  if (tree.policy !== 'append') return { expected: { inode, sizeBytes, mtimeNanos, ctimeNanos } };
  if (atCut === undefined || atCut.inode !== inode)
    throw new Stop('source_changed', `${entry.path} was replaced during the cut`, { path: entry.path });
  return { expected: { inode }, lengthBytes: atCut.sizeBytes };
}

/**
 * Walks again, after everything has been read: what was captured is a state of one instant, or it is not. What was
 * listed only at the instant is held to that list: it may have been half written when it was copied.
 * @throws Stop source_changed
 */
export async function assertNothingChanged(
  room: StoreRoom,
  before: readonly RootMembers[],
  listed: readonly RootMembers[],
): Promise<void> {
  const after = await membersOf(room);
  for (const [index, old] of before.entries()) {
    const [copied, now] = [listed[index], after[index]];
    if (copied === undefined || now === undefined) throw new Error('defect: a root went away between two walks');
    // The directories of the first walk: `verify` allows nothing in them from then on
    const [first, ...more] = compareWalks({ ...old.members, files: copied.members.files }, now.members);
    if (first !== undefined) {
      throw new Stop(
        'source_changed',
        `${first.path} ${first.change === 'changed' ? 'changed' : first.change} while the store was read`,
        {
          root: old.root.definition.name,
          path: first.path,
          change: first.change,
          more: more.length,
        },
      );
    }
  }
}
