// Step backup.snapshot: the cut (DESIGN.md "The cut", steps 1 to 5; SM-1, F-3, F-9). Databases are cut in a process of
// their own; trees are walked before, read by their policies, and walked again after. A tree or a set of databases that
// changed meanwhile starts the whole cut over, a few times.
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beginArtefact, capturePath, partialName } from '../artefacts/artefact.js';
import { DATA_NAME } from '../artefacts/layout.js';
import { now } from '../control/clock.js';
import { critical } from '../control/lock.js';
import type { RoomRoot } from '../control/store-room.js';
import { debtsOf } from '../domain/journal.js';
import { Stop } from '../domain/stop.js';
import { hashFiles } from '../files/copy.js';
import { removeTree } from '../files/durable.js';
import { takeCut } from '../sqlite/cut.js';
import type { CutInstant, DatabasesCut } from '../sqlite/cut.js';
import { quiesceApplication, resumeApplication } from './application.js';
import { writeCapture } from './capture.js';
import type { Capture, LiveStamps } from './capture.js';
import { lengthsAtOneInstant } from './lengths.js';
import { liveStamp } from './live-stamp.js';
import { definitionOf, livePath, membersOf } from './members.js';
import { metadataOf } from '../files/metadata.js';
import type { RootMembers } from './members.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { assertNothingChanged, copyTrees, treePolicies } from './trees.js';

export interface SnapshotOutput {
  /** The hidden directory of the artefact that is being made. */
  readonly partial: string;
  readonly sizeBytes: number;
}

export const snapshot = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: GrantedInput, context) =>
    captureInto(context.room.definition.backup.destination, input, context, { quiesces: true }),
  );

/**
 * Captures the store into a hidden directory of the destination, which is owed to be dropped from then on.
 * @param quiesces whether the application is asked to hold still for each further try
 */
export async function captureInto(
  destination: string,
  input: GrantedInput,
  context: StepContext,
  { quiesces }: { readonly quiesces: boolean },
): Promise<SnapshotOutput> {
  const { cutTriesMax } = context.room.definition.backup;
  const backupId = randomUUID();
  const createdAt = now();
  const partial = join(destination, partialName(input.store, context.dependencies.host, backupId));
  await critical(context.room, input.grant, async (database) => {
    database.journal(input.operation, { event: 'staging', directories: [partial] });
  });
  await critical(context.room, input.grant, () => beginArtefact(partial));
  for (let cutTries = 1; ; cutTries += 1) {
    try {
      const { cut, treesBytes, ...captured } = await cutOnce(input, context, partial, cutTries === 1);
      const capture: Capture = { backupId, createdAt, cut: { ...cut, cutTries }, ...captured };
      await writeCapture(partial, capture);
      return { partial, sizeBytes: captured.databases.reduce((sum, { sizeBytes }) => sum + sizeBytes, treesBytes) };
    } catch (error) {
      if (!(error instanceof Stop) || error.code !== 'source_changed' || cutTries >= cutTriesMax) throw error;
      context.report({ phase: `cut ${cutTries + 1}: ${error.message}`, bytesDone: 0, filesDone: 0 });
      await critical(context.room, input.grant, async () => {
        await removeTree(join(partial, DATA_NAME));
        await mkdir(join(partial, DATA_NAME), { mode: 0o700 });
      });
      if (quiesces) await holdStillAgain(input, context);
    }
  }
}

/** The application went on at the instant of the cut that failed; the next instant is one at which it holds still, too. */
async function holdStillAgain({ grant, operation }: GrantedInput, { room, signal }: StepContext): Promise<void> {
  const held = await critical(room, grant, (database) => debtsOf(database.events(operation)).resume);
  if (!held) await quiesceApplication(room, grant, signal);
}

type CutResult = Pick<Capture, 'databases' | 'liveStamps'> & {
  readonly treesBytes: number;
  readonly cut: Omit<Capture['cut'], 'cutTries'>;
};

/** @param resumesAtOnce not after a failed try: what the application writes when it goes on would fail the next one, too */
async function cutOnce(
  input: GrantedInput,
  context: StepContext,
  partial: string,
  resumesAtOnce: boolean,
): Promise<CutResult> {
  const { room, signal } = context;
  const before = await membersOf(room);
  await makeDirectories(partial, before);
  const liveStamps = stampsOf(before);
  const shared = shareProgress(context, before);
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  const sideEffects: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const followed = <T>(work: Promise<T>): Promise<T> => {
    // Whichever part fails first ends the others; it is the failure that is told
    sideEffects.push(
      work.catch((error: unknown) => {
        failures.push(error);
        stop.abort();
      }),
    );
    return work;
  };
  let trees: ReturnType<typeof copyTrees> | undefined;
  const onInstant = (instant: CutInstant): void => {
    if (resumesAtOnce && mayResumeAtOnce(before)) sideEffects.push(followed(resumeApplication(room, input.grant)));
    trees = followed(copyTrees(shared.trees, partial, before, instant, stopped));
  };
  try {
    const cut = await followed(cutDatabases(shared.databases, partial, before, onInstant, stopped));
    if (trees === undefined) throw new Error('defect: a cut without its instant');
    const copied = await trees;
    await Promise.all(sideEffects);
    await assertNothingChanged(room, before, copied.listed);
    return {
      cut: {
        instant: cut.instant,
        pauseMillis: cut.pauseMillis,
        rollbackJournalPauseMillis: cut.rollbackJournalPauseMillis,
        lockTries: cut.lockTries,
        pinMillis: cut.pinMillis,
        policies: treePolicies(room),
      },
      treesBytes: copied.sizeBytes,
      databases: databasesOf(partial, before, cut),
      liveStamps,
    };
  } catch (error) {
    throw failures[0] ?? error;
  } finally {
    stop.abort();
    await Promise.allSettled(sideEffects);
  }
}

function stampsOf(all: readonly RootMembers[]): LiveStamps {
  return Object.fromEntries(
    all.flatMap(({ root, members }) =>
      members.databases.map(({ entry: { path } }) => [
        `${root.definition.name}/${path}`,
        liveStamp(livePath(root, path)),
      ]),
    ),
  );
}

/** Databases and trees are copied side by side: how far the step is is the sum of both. */
function shareProgress(
  context: StepContext,
  all: readonly RootMembers[],
): { readonly databases: StepContext; readonly trees: StepContext } {
  const entries = all.flatMap(({ members }) => [...members.databases, ...members.files]);
  const bytesTotal = entries.reduce((sum, { entry }) => sum + entry.sizeBytes, 0);
  const done = { databases: 0, trees: 0 };
  const part = (name: 'databases' | 'trees'): StepContext => ({
    ...context,
    report: ({ bytesDone, ...news }) => {
      if (bytesDone !== undefined) done[name] = bytesDone;
      context.report({ ...news, phase: 'copy', bytesTotal, bytesDone: done.databases + done.trees });
    },
  });
  return { databases: part('databases'), trees: part('trees') };
}

/** Nothing but the instant needed the application to hold still: it may go on as soon as the snapshots are pinned. */
function mayResumeAtOnce(members: readonly RootMembers[]): boolean {
  return members.every(
    ({ root, members: { databases } }) =>
      root.definition.trees.every((tree) => tree.policy !== 'quiesced') &&
      databases.every((database) => definitionOf(database).locking === 'sqlite'),
  );
}

async function makeDirectories(partial: string, all: readonly RootMembers[]): Promise<void> {
  for (const { root, members } of all) {
    for (const { entry } of members.directories)
      await mkdir(capturePath(partial, { root: root.definition.name, path: entry.path }), {
        recursive: true,
        mode: 0o700,
      });
  }
}

/** With the digest of each copy, by its target. */
type HashedCut = DatabasesCut & { readonly hashes: ReadonlyMap<string, string> };

async function cutDatabases(
  context: StepContext,
  partial: string,
  all: readonly RootMembers[],
  onInstant: (instant: CutInstant) => void,
  signal: AbortSignal,
): Promise<HashedCut> {
  const { backup } = context.room.definition;
  const databases = all.flatMap(({ root, members }) =>
    members.databases.map((member) => ({
      source: livePath(root, member.entry.path),
      target: capturePath(partial, { root: root.definition.name, path: member.entry.path }),
      locking: definitionOf(member).locking,
    })),
  );
  const statAtCut = all.flatMap(({ root, members }) =>
    members.files.filter(({ tree }) => tree.policy === 'append').map(({ entry }) => livePath(root, entry.path)),
  );
  const hasFiles = all.some(({ members }) => members.files.length > 0);
  if (databases.length === 0) {
    const instant = await lengthsAtOneInstant(statAtCut, backup.quiesceTimeoutMillis, signal);
    onInstant(instant);
    return { ...instant, pinMillis: 0, rollbackJournalPauseMillis: 0, databases: [], hashes: new Map() };
  }
  const hashes = new Map<string, string>();
  let hashing = Promise.resolve();
  const cut = await takeCut(
    {
      databases,
      lockWrites: databases.length > 1 || hasFiles,
      statAtCut,
      quiesceTimeoutMillis: backup.quiesceTimeoutMillis,
      pinSecondsMax: backup.pinSecondsMax,
      walGrowthBytesMax: backup.walGrowthBytesMax,
    },
    {
      onInstant,
      // While the next is copied: it is still in memory. One after the other: the rest of the processors copies trees
      onCopied: ({ target }) =>
        (hashing = hashing.then(async () => {
          for (const { sha256 } of await hashFiles([{ source: target }], { signal })) hashes.set(target, sha256);
        })),
      onProgress: (progress) => context.report({ bytesDone: progress.bytesDone }),
      signal,
    },
  );
  return { ...cut, hashes };
}

function databasesOf(partial: string, all: readonly RootMembers[], cut: HashedCut): Capture['databases'] {
  const sizes = new Map(cut.databases.map((database) => [database.target, database.sizeBytes]));
  return all.flatMap(({ root, members }: { root: RoomRoot; members: RootMembers['members'] }) =>
    members.databases.map(({ entry }) => {
      const target = capturePath(partial, { root: root.definition.name, path: entry.path });
      const sizeBytes = sizes.get(target);
      const sha256 = cut.hashes.get(target);
      if (sizeBytes === undefined || sha256 === undefined)
        throw new Error(`defect: ${dirname(entry.path)} has a database that was not cut`);
      return {
        root: root.definition.name,
        path: entry.path,
        sizeBytes,
        sha256,
        ...metadataOf(entry, livePath(root, entry.path)),
      };
    }),
  );
}
