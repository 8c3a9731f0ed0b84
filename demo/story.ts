// The scenes of the demo, in order. Each ends in a proof, and a proof that fails ends the demo.
import { join } from 'node:path';
import type { BackupReport, RestoreReport, RestoreSource } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { ROLES, ownApplication, runningWriters, startWriters } from './application.js';
import { digestOf, proveChecksums } from './checksums.js';
import { seed } from './contents.js';
import { destroy, tamper } from './disaster.js';
import type { TamperedCopy } from './disaster.js';
import { ROOT, STORE } from './house.js';
import { InvariantBroken, proveInvariantAtRest, proveInvariantLive } from './invariant.js';
import type { InvariantFacts } from './invariant.js';
import { expectRestored, proofOf } from './restored-proof.js';
import type { Stage } from './stage.js';
import { figures } from './table.js';

const SEEDED_ENTRIES = 20_000;
const SEEDED_FILES = 500;
/** How long the writers have the store to themselves before the backup. */
const WARM_UP_MILLIS = 1_000;

/**
 * Plays the whole demo.
 * @returns the figures and the address of each run, for people
 * @throws Error that says which proof failed; Stop; Interrupted
 */
export async function playDemo(stage: Stage): Promise<string> {
  const { house, say } = stage;
  const { uiAddress } = await stage.open();
  say(`temporal and a worker run; UI at ${uiAddress ?? 'no address'}`);
  await startApplication(stage);

  const backup = await backUpUnderLoad(stage);
  const copies = tamper(house, backup.artefact);
  await refuse(stage, copies, 'verify', (path) =>
    stage.carryOut((holdfast, options) => holdfast.verify(STORE, path, options)),
  );
  proved(stage, `the writers did not notice: ${countedLive(stage)}`);

  await stopApplication(stage);
  const before = digestOf(house.root);
  await refuse(stage, copies, 'restore', (path) =>
    restoreFrom(stage, { kind: 'backup', backup: path }, () => undefined),
  );
  if (digestOf(house.root) !== before) throw new Error('refusals changed the live store');
  proved(stage, `the live store at rest has digest ${short(before)} before and after the refusals`);

  const destroyed = strikeDisaster(stage);
  const restore = await restoreBackup(stage, backup);
  const rollback = await rollBack(stage, restore, destroyed);

  const runs = (await stage.runs()).map(({ type, status, url }) => `${type.padEnd(9)} ${status.padEnd(10)} ${url}`);
  return [figures(backup, restore, rollback), '', 'each run in the Temporal UI', ...runs].join('\n');
}

async function startApplication(stage: Stage): Promise<void> {
  seed(stage.house, SEEDED_ENTRIES, SEEDED_FILES);
  stage.say(`seeded: ${counted(proveInvariantAtRest(stage.house.root))}`);
  ownApplication(stage.house);
  await startWriters(stage.house);
  await stage.pause(WARM_UP_MILLIS);
  stage.say(`${writersOf(stage)} write all the time; ${countedLive(stage)}`);
}

async function backUpUnderLoad(stage: Stage): Promise<BackupReport> {
  const { house, say } = stage;
  const before = proveInvariantLive(house.root);
  const backup = await stage.carryOut((holdfast, options) => holdfast.backup(STORE, options));
  const { pauseMillis, lockTries, cutTries } = backup.cut;
  say(
    `backup ${short(backup.backupId)} under load: writers paused for ${pauseMillis.toFixed(2)} ms, all locks at try ${lockTries}, cut ${cutTries}`,
  );
  const data = join(backup.artefact, 'data', ROOT);
  const { files, manifestSha256 } = proveChecksums(join(backup.artefact, 'manifest.json'), ROOT, data);
  if (manifestSha256 !== backup.manifestSha256) throw new Error('the manifest is not the one that the backup reported');
  const inside = proveInvariantAtRest(data);
  const now = proveInvariantLive(house.root);
  if (inside.rowsOfA < before.rowsOfA || now.rowsOfA <= inside.rowsOfA)
    throw new Error('the backup is not of an instant between its begin and its end');
  proved(stage, `${files} checksums and the invariant of the backup: ${counted(inside)}`);
  proved(stage, `the writers went on: ${countedLive(stage)}`);
  return backup;
}

/** What is asked of each copy must end in the copy's STOP, and leave the application alone. */
async function refuse(
  stage: Stage,
  copies: readonly TamperedCopy[],
  protocol: 'verify' | 'restore',
  ask: (path: string) => Promise<unknown>,
): Promise<void> {
  for (const { path, what, refusedWith } of copies) {
    const writers = writersOf(stage);
    const stop = await stopOf(ask(path));
    if (stop.code !== refusedWith)
      throw new Error(`${protocol} of a copy with ${what} ended in ${stop.code}, not ${refusedWith}`);
    if (writersOf(stage) !== writers) throw new Error('a refusal stopped or started writers');
    stage.say(`refused to ${protocol}, ${what}: STOP ${stop.code}, ${stop.message}`);
  }
}

async function stopOf(work: Promise<unknown>): Promise<Stop> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
  throw new Error('a tampered backup was accepted');
}

async function stopApplication(stage: Stage): Promise<void> {
  stage.say(`detach hook: ${await stage.runHook('detach')}`);
  if (runningWriters(stage.house).length > 0) throw new Error('writers run after the detach hook');
  stage.say(`the store at rest: ${counted(proveInvariantAtRest(stage.house.root))}`);
}

/** @returns the digest of the destroyed store */
function strikeDisaster(stage: Stage): string {
  const { database, filesDeleted } = destroy(stage.house);
  const destroyed = digestOf(stage.house.root);
  stage.say(
    `disaster: ${database} overwritten with garbage, ${filesDeleted} files deleted; digest ${short(destroyed)}`,
  );
  proved(stage, `the store is broken: ${faultsOf(stage)}`);
  return destroyed;
}

async function restoreBackup(stage: Stage, backup: BackupReport): Promise<RestoreReport> {
  const { house, say } = stage;
  expectRestored(house, backup.artefact);
  const report = await restoreFrom(stage, { kind: 'backup', backup: backup.backupId }, say);
  const { checksums, invariant } = proofOf(house, report.operation);
  if (checksums.manifestSha256 !== backup.manifestSha256)
    throw new Error('the store was proved against another manifest');
  proved(
    stage,
    `${checksums.files} checksums and the invariant of the restored store, before anybody wrote: ${counted(invariant)}`,
  );
  await stage.pause(500);
  const now = proveInvariantLive(house.root);
  if (now.rowsOfA <= invariant.rowsOfA) throw new Error('the writers do not go on where the backup ended');
  proved(stage, `the attach hook started the writers, which go on: ${countedLive(stage)}`);
  return report;
}

async function rollBack(stage: Stage, restore: RestoreReport, destroyed: string): Promise<RestoreReport> {
  const { house, say } = stage;
  // A plan bounds what may be lost; writers that run until the rollback could exceed it
  await stopApplication(stage);
  const report = await restoreFrom(stage, { kind: 'rollback', point: restore.rollbackPoint }, say);
  const found = digestOf(house.root);
  if (found !== destroyed) throw new Error(`the store has digest ${found} after the rollback, not ${destroyed}`);
  if (runningWriters(house).length > 0) throw new Error('writers were started on a destroyed store');
  proved(stage, `rolled back to the destroyed store, digest ${short(found)} as then: ${faultsOf(stage)}`);
  return report;
}

async function restoreFrom(stage: Stage, source: RestoreSource, say: (line: string) => void): Promise<RestoreReport> {
  const { plan, digest } = await stage.carryOut((holdfast, options) => holdfast.plan(STORE, source, options));
  say(`plan: ${plan.sentence}`);
  const report = await stage.carryOut((holdfast, options) => holdfast.restore(STORE, source, digest, options));
  say(
    `${report.protocol} done, as confirmed by the plan's digest ${short(digest)}; rollback point ${short(report.rollbackPoint)}`,
  );
  return report;
}

function proved(stage: Stage, what: string): void {
  stage.say(`proved: ${what}`);
}

/** The writers by their pids. @throws Error when only some of them run */
function writersOf(stage: Stage): string {
  const writers = runningWriters(stage.house);
  if (writers.length !== 0 && writers.length !== ROLES.length)
    throw new Error(`${writers.length} writers run instead of ${ROLES.length}`);
  return writers.length === 0
    ? 'no writers'
    : `${writers.length} writers (${writers
        .map(({ pid }) => pid)
        .sort((left, right) => left - right)
        .join(', ')})`;
}

/** @throws InvariantBroken; Error when a writer has ended */
function countedLive(stage: Stage): string {
  if (runningWriters(stage.house).length !== ROLES.length) throw new Error('a writer has ended');
  return counted(proveInvariantLive(stage.house.root));
}

function counted({ rowsOfA, rowsOfB, files }: InvariantFacts): string {
  return `${rowsOfB} rows of b.db are the first of ${rowsOfA} of a.db, ${files} files of c.db are there`;
}

/** @throws Error when nothing is wrong: a proof that passes everything proves nothing */
function faultsOf(stage: Stage): string {
  try {
    proveInvariantAtRest(stage.house.root);
  } catch (error) {
    if (error instanceof InvariantBroken) return `${error.faults.length} faults, the first: ${error.faults[0] ?? ''}`;
    throw error;
  }
  throw new Error('the invariant holds on a destroyed store');
}

function short(id: string): string {
  return id.slice(0, 12);
}
