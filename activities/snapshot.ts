// Step backup.snapshot: the cut (DESIGN.md "The cut", steps 1 to 5; SM-1, F-3, F-9). Databases are cut in a process of
// their own; trees are walked before, read by their policies, and walked again after. A tree or a set of databases that
// changed meanwhile starts the whole cut over, a few times.
import { createHash, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beginArtefact, capturePath, partialName } from '../artefacts/artefact.js';
import { DATA_NAME } from '../artefacts/layout.js';
import { now } from '../control/clock.js';
import { critical } from '../control/lock.js';
import { openVaultRoom } from '../control/vault-room.js';
import { backupPlace } from '../domain/backup-place.js';
import type { DatabaseDefinition } from '../domain/definition.js';
import { debtsOf } from '../domain/journal.js';
import type { Metadata } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { RunTuple } from '../domain/vault.js';
import { removeTree } from '../files/durable.js';
import { ReadAhead } from '../files/read-ahead.js';
import { takeCut } from '../sqlite/cut.js';
import type { CutInstant, DatabasesCut } from '../sqlite/cut.js';
import { quiesceApplication, resumeApplication } from './application.js';
import { readEntries, writeCapture } from './capture.js';
import type { Capture, CapturedDatabase } from './capture.js';
import { lengthsAtOneInstant } from './lengths.js';
import { liveStamp, mayBeWrittenSince } from './live-stamp.js';
import { definitionOf, livePath, membersOf } from './members.js';
import { metadataOf } from '../files/metadata.js';
import type { RootMembers } from './members.js';
import { artefactSink } from './sink.js';
import type { Known, Sink, Taken } from './sink.js';
import { step } from './step.js';
import type { ActivityDependencies, GrantedInput, StepContext } from './step.js';
import { assertNothingChanged, copyTrees, makeDirectories, treePolicies } from './trees.js';
import { announce, assertNothingCondemned } from '../vault/intents.js';
import { vaultSink } from './vault-sink.js';

export interface SnapshotOutput {
  /** The hidden directory of the artefact that is being made. */
  readonly partial: string;
  readonly sizeBytes: number;
}

export type SnapshotInput = GrantedInput & { readonly rehash?: boolean };

export const snapshot = (dependencies: ActivityDependencies) =>
  step(dependencies, async (input: SnapshotInput, context) => {
    const place = backupPlace(context.room.definition);
    if ('vault' in place) return captureForVault(place.vault, input, context);
    return captureInto(place.directory, input, context, { quiesces: true });
  });

/** Captures the store into a vault; what is left beside it are copies of databases, until the backup exists. */
async function captureForVault(name: string, input: SnapshotInput, context: StepContext): Promise<SnapshotOutput> {
  const { room, dependencies } = context;
  const vaultRoom = await openVaultRoom(dependencies, name);
  const { place } = vaultRoom.vault;
  const { operation, store } = input;
  await announce(place, { operation, host: dependencies.host, store, startedAt: now(), generation: 0 });
  await assertNothingCondemned(place);
  return capture(room.controlDirectory, input, context, {
    quiesces: true,
    sinkFor: (partial) => vaultSink({ room, grant: input.grant, vaultRoom, partial, rehash: input.rehash === true }),
  });
}

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
  return capture(destination, input, context, { quiesces, sinkFor: async (partial) => artefactSink(partial) });
}

interface CaptureOptions {
  readonly quiesces: boolean;
  readonly sinkFor: (partial: string) => Promise<Sink>;
}

async function capture(
  directory: string,
  input: GrantedInput,
  context: StepContext,
  { quiesces, sinkFor }: CaptureOptions,
): Promise<SnapshotOutput> {
  const backupId = randomUUID();
  const createdAt = now();
  const partial = join(directory, partialName(input.store, context.dependencies.host, backupId));
  await critical(context.room, input.grant, async (database) => {
    database.journal(input.operation, { event: 'staging', directories: [partial] });
  });
  await critical(context.room, input.grant, () => beginArtefact(partial));
  const sink = await sinkFor(partial);
  try {
    const { cut, treesBytes, ...captured } = await cutUntilSound(input, context, sink, quiesces);
    const vault = await sink.finish(runsOf(partial, captured.databases));
    await writeCapture(partial, { backupId, createdAt, cut, ...captured, ...(vault !== undefined && { vault }) });
    return { partial, sizeBytes: captured.databases.reduce((sum, { sizeBytes }) => sum + sizeBytes, treesBytes) };
  } finally {
    await sink.close();
  }
}

function* runsOf(partial: string, databases: Capture['databases']): Generator<readonly RunTuple[], void, undefined> {
  for (const { runs } of databases) if (runs !== undefined) yield runs;
  for (const { runs } of readEntries(partial)) if (runs !== undefined) yield runs;
}

/** A tree or a set of databases that changed meanwhile starts the whole cut over, a few times. */
async function cutUntilSound(
  input: GrantedInput,
  context: StepContext,
  sink: Sink,
  quiesces: boolean,
): Promise<Omit<CutResult, 'cut'> & Pick<Capture, 'cut'>> {
  const { partial } = sink;
  for (let cutTries = 1; ; cutTries += 1) {
    try {
      const { cut, ...captured } = await cutOnce(input, context, sink, cutTries === 1);
      return { cut: { ...cut, cutTries }, ...captured };
    } catch (error) {
      const { cutTriesMax } = context.room.definition.backup;
      if (!(error instanceof Stop) || error.code !== 'source_changed' || cutTries >= cutTriesMax) throw error;
      context.report({ phase: `cut ${cutTries + 1}: ${error.message}`, bytesDone: 0, filesDone: 0 });
      await critical(context.room, input.grant, async () => {
        await removeTree(join(partial, DATA_NAME));
        await mkdir(join(partial, DATA_NAME), { mode: 0o700 });
      });
      await sink.startOver();
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
  sink: Sink,
  resumesAtOnce: boolean,
): Promise<CutResult> {
  const { room, signal } = context;
  const readAt = now();
  const before = await membersOf(room);
  await makeDirectories(sink.partial, before);
  const databases = databasesToTake(before, sink);
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
    trees = followed(copyTrees(shared.trees, sink, before, instant, readAt, stopped));
  };
  try {
    const cut = await followed(cutDatabases(shared.databases, sink, before, databases, onInstant, stopped));
    if (trees === undefined) throw new Error('defect: a cut without its instant');
    const copied = await trees;
    await Promise.all(sideEffects);
    await assertNothingChanged(room, before, copied.listed);
    assertStillUnchanged(databases);
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
      databases: databases.map((database) => capturedOf(database, cut)),
      liveStamps: Object.fromEntries(databases.map(({ root, path, live }) => [`${root}/${path}`, live])),
    };
  } catch (error) {
    throw failures[0] ?? error;
  } finally {
    stop.abort();
    await Promise.allSettled(sideEffects);
  }
}

/** A database of a cut, by what it was just before. */
interface DatabaseToTake {
  readonly root: string;
  readonly path: string;
  readonly source: string;
  readonly copy: string;
  readonly locking: DatabaseDefinition['locking'];
  readonly sizeBytes: number;
  readonly metadata: Metadata;
  /** ManifestDatabase.liveStamp. */
  readonly live: string | null;
  /** By which the sink knows it again: `live`, and what its definition asks of it. */
  readonly stamp: string;
  /** What the sink has of it, if it stays as it is until after the instant: it is neither locked nor copied. */
  readonly known: Known | null;
}

function databasesToTake(all: readonly RootMembers[], sink: Sink): readonly DatabaseToTake[] {
  return all.flatMap(({ root, members }) =>
    members.databases.map((member): DatabaseToTake => {
      const place = { root: root.definition.name, path: member.entry.path };
      const source = livePath(root, place.path);
      const live = liveStamp(source);
      const asked = createHash('sha256')
        .update(JSON.stringify(definitionOf(member)))
        .digest('hex');
      const stamp = live === null ? '' : `${live} ${asked}`;
      return {
        ...place,
        source,
        copy: capturePath(sink.partial, place),
        locking: definitionOf(member).locking,
        sizeBytes: member.entry.sizeBytes,
        metadata: metadataOf(member.entry, source),
        live,
        stamp,
        known: sink.known({ ...place, stamp }),
      };
    }),
  );
}

/**
 * What was as it is before the instant and after it was so at the instant.
 * @throws Stop source_changed
 */
function assertStillUnchanged(databases: readonly DatabaseToTake[]): void {
  for (const { source, path, known, live } of databases)
    if (known !== null && mayBeWrittenSince(source, live))
      throw new Stop('source_changed', `${path} was written to while the store was read`, { path });
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

/** With what was taken of each copy, by its target. */
type TakenCut = DatabasesCut & { readonly taken: ReadonlyMap<string, Taken> };

async function cutDatabases(
  context: StepContext,
  sink: Sink,
  all: readonly RootMembers[],
  databases: readonly DatabaseToTake[],
  onInstant: (instant: CutInstant) => void,
  signal: AbortSignal,
): Promise<TakenCut> {
  const { backup } = context.room.definition;
  const changed = databases.filter(({ known }) => known === null);
  const statAtCut = all.flatMap(({ root, members }) =>
    members.files.filter(({ tree }) => tree.policy === 'append').map(({ entry }) => livePath(root, entry.path)),
  );
  const hasFiles = all.some(({ members }) => members.files.length > 0);
  if (changed.length === 0) {
    const instant = await lengthsAtOneInstant(statAtCut, backup.quiesceTimeoutMillis, signal);
    onInstant(instant);
    return { ...instant, pinMillis: 0, rollbackJournalPauseMillis: 0, databases: [], taken: new Map() };
  }
  const taken = new Map<string, Taken>();
  let readAhead: ReadAhead | undefined;
  const cut = await takeCut(
    {
      databases: changed.map(({ source, copy, locking }) => ({ source, target: copy, locking })),
      lockWrites: databases.length > 1 || hasFiles,
      statAtCut,
      quiesceTimeoutMillis: backup.quiesceTimeoutMillis,
      pinSecondsMax: backup.pinSecondsMax,
      walGrowthBytesMax: backup.walGrowthBytesMax,
    },
    {
      onInstant: (instant, copyOrder) => {
        const sizes = new Map(changed.map(({ source, sizeBytes }) => [source, sizeBytes]));
        readAhead = new ReadAhead(copyOrder.map((path) => ({ path, sizeBytes: sizes.get(path) ?? 0 })));
        readAhead.reached(0);
        onInstant(instant);
      },
      // While the next is copied: it is still in memory
      onCopied: async ({ target }) => {
        taken.set(target, await sink.takeDatabase(target, signal));
      },
      onProgress: ({ bytesDone }) => {
        readAhead?.reached(bytesDone);
        context.report({ bytesDone });
      },
      signal,
    },
  );
  return { ...cut, taken };
}

function capturedOf({ root, path, copy, metadata, known, stamp }: DatabaseToTake, cut: TakenCut): CapturedDatabase {
  const taken = known ?? cut.taken.get(copy);
  if (taken === undefined) throw new Error(`defect: ${dirname(path)} has a database that was not cut`);
  const { sizeBytes, sha256, runs } = taken;
  return {
    root,
    path,
    sizeBytes,
    sha256,
    ...metadata,
    ...(runs !== undefined && { runs, stamp }),
    ...(known !== null && { facts: known.facts }),
  };
}
