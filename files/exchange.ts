// The swap (DESIGN "Exchange", SM-9): puts a staged tree into the place of the live one by renames that are atomic
// each and journaled together, so that a kill at any instruction leaves a state that is finished or undone exactly.
// The caller writes the plan into its journal before performExchange; the fence is up while it runs.
import { lstatSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SIDECAR_SUFFIXES, decideStep, exchangeKind, mainOfSidecar, orderSteps } from '../domain/exchange.js';
import type { ExchangePlan, ExchangeRoot, ExchangeStep, StepState } from '../domain/exchange.js';
import { assert, Stop } from '../domain/stop.js';
import { fsyncDirectory } from './durable.js';
import { hasErrno, translateErrno, translating } from './errors.js';
import { compareBytes } from './safe-path.js';
import { renameExchange, renameNoReplace } from './system-calls.js';

export { exchangeMode } from './exchange-mode.js';
export type { ExchangeMode } from './exchange-mode.js';

/** The three effects that an exchange is made of; tests pass others to fail or to die between them. */
export interface ExchangeOperations {
  /** Swaps two names atomically. */
  readonly exchange: (left: string, right: string) => void | Promise<void>;
  /** Renames without ever replacing. */
  readonly move: (source: string, target: string) => void | Promise<void>;
  readonly fsyncDirectory: (path: string) => Promise<void>;
}

export const EXCHANGE_OPERATIONS: ExchangeOperations = {
  exchange: renameExchange,
  move: renameNoReplace,
  fsyncDirectory,
};

/** Called with the number of the step in the order of the plan, over all roots. */
export interface ExchangeHooks {
  readonly beforeStep?: (index: number, step: ExchangeStep) => void | Promise<void>;
  readonly afterStep?: (index: number, step: ExchangeStep) => void | Promise<void>;
}

export interface ExchangeRequest {
  /** Name of the root in the definition. */
  readonly root: string;
  readonly mode: 'root' | 'entries';
  readonly livePath: string;
  readonly stagedPath: string;
  /** Mode `entries`: names at the top that stay as they are, being wholly outside the members. */
  readonly untouched: readonly string[];
}

/**
 * Builds the plan from what is on the disk. Planned again with the same paths after an exchange, it is the way back.
 * @throws Stop not_exchangeable when the two places are on different filesystems
 * @throws Stop io_error, permission_denied
 */
export async function planExchange(requests: readonly ExchangeRequest[]): Promise<ExchangePlan> {
  return await translating({}, () => ({ roots: requests.map((request) => planRoot(request)) }));
}

function planRoot(request: ExchangeRequest): ExchangeRoot {
  const { root, mode, livePath, stagedPath } = request;
  assertOneFilesystem(request);
  const steps = mode === 'root' ? [planStep(livePath, stagedPath, '.')] : planEntries(request);
  const planned = steps.filter((step) => step !== null);
  assert(mode === 'entries' || planned.length === 1, `neither ${livePath} nor ${stagedPath} exists`);
  return { root, mode, livePath, stagedPath, steps: planned };
}

function planEntries(request: ExchangeRequest): ExchangeStep[] {
  const names = new Set([...readdirSync(request.livePath), ...readdirSync(request.stagedPath)]);
  names.delete('.holdfast');
  const untouched = new Set(request.untouched);
  const touched = [...names].filter((name) => {
    // The sidecar of a database that is exchanged is never left beside the new one, whatever the caller says.
    const main = mainOfSidecar(name);
    return !untouched.has(name) || (main !== null && names.has(main) && !untouched.has(main));
  });
  const steps = touched.sort(compareBytes).map((name) => planStep(request.livePath, request.stagedPath, name));
  return orderSteps(
    steps.filter((step) => step !== null),
    names,
  );
}

function planStep(livePath: string, stagedPath: string, name: string): ExchangeStep | null {
  const facts = { live: inodeOf(join(livePath, name)), staged: inodeOf(join(stagedPath, name)) };
  const kind = exchangeKind(facts);
  return kind === null ? null : { name, kind, liveInode: facts.live, stagedInode: facts.staged };
}

/** Inodes identify only within one filesystem, and rename works only there. */
function assertOneFilesystem(request: ExchangeRequest): void {
  const { mode, livePath, stagedPath } = request;
  const [live, staged] = mode === 'root' ? [dirname(livePath), dirname(stagedPath)] : [livePath, stagedPath];
  const same = lstatSync(live, { bigint: true }).dev === lstatSync(staged, { bigint: true }).dev;
  if (!same)
    throw new Stop('not_exchangeable', 'the live and the staged tree are on different filesystems', {
      live: livePath,
      staged: stagedPath,
    });
}

/** How far a step of a root is, by what lies at both places. */
export function stepState(root: ExchangeRoot, step: ExchangeStep): StepState {
  return decideStep(step, {
    live: inodeOf(join(root.livePath, step.name)),
    staged: inodeOf(join(root.stagedPath, step.name)),
  });
}

/**
 * Makes the steps that are not done yet, in order, each durable before the next. May be called again after a crash.
 * Afterwards `stagedPath` of each root holds the former state: the rollback point.
 * @throws Stop io_error with both paths, nothing touched, where a place holds what the plan does not know
 * @throws Stop not_exchangeable where the filesystem can't exchange; no_space, permission_denied, io_error
 */
export async function performExchange(
  plan: ExchangePlan,
  hooks: ExchangeHooks = {},
  operations: ExchangeOperations = EXCHANGE_OPERATIONS,
): Promise<void> {
  const steps = flatten(plan);
  for (const { root, step } of steps) assertKnown('io_error', root, step);
  for (const { root, step, index } of steps) {
    if (assertKnown('io_error', root, step) === 'done') continue;
    await hooks.beforeStep?.(index, step);
    try {
      await makeStep(root, step, 'forward', operations);
    } catch (error) {
      throw exchangeFailure(error, root, step);
    }
    await hooks.afterStep?.(index, step);
  }
}

/**
 * Takes back the steps that are done, last first. May be called again after a crash.
 * @throws Stop undo_failed with both paths where a place holds what the plan does not know (then nothing is touched),
 * or where the system refuses
 */
export async function undoExchange(
  plan: ExchangePlan,
  hooks: ExchangeHooks = {},
  operations: ExchangeOperations = EXCHANGE_OPERATIONS,
): Promise<void> {
  const steps = flatten(plan);
  await setNewSidecarsAside(plan, operations);
  for (const { root, step } of steps) assertKnown('undo_failed', root, step);
  for (const { root, step, index } of steps.toReversed()) {
    if (assertKnown('undo_failed', root, step) === 'not-done') continue;
    await hooks.beforeStep?.(index, step);
    try {
      await makeStep(root, step, 'back', operations);
    } catch (error) {
      if (error instanceof Stop && error.code === 'undo_failed') throw error;
      throw new Stop(
        'undo_failed',
        `${step.name} could not be put back`,
        { ...placesOf(root, step), reason: error instanceof Error ? error.message : String(error) },
        { cause: error },
      );
    }
    await hooks.afterStep?.(index, step);
  }
}

/**
 * Whoever read the new database after its exchange (a hook that was killed, say) may have left a log beside it, in a
 * place that the plan knows as empty. The old database must not meet that log, and it must not be in the way of the old
 * one: it is moved out of the root, next to the staged tree, and goes with the state that it belongs to.
 */
async function setNewSidecarsAside(plan: ExchangePlan, operations: ExchangeOperations): Promise<void> {
  for (const root of plan.roots) {
    const planned = new Map(root.steps.map((step) => [step.name, step]));
    const exchanged = root.steps.filter(
      (step) => step.kind !== 'move-out' && mainOfSidecar(step.name) === null && stepState(root, step) === 'done',
    );
    for (const { name } of root.mode === 'entries' ? exchanged : []) {
      for (const sidecar of SIDECAR_SUFFIXES.map((suffix) => name + suffix)) {
        const inode = inodeOf(join(root.livePath, sidecar));
        const step = planned.get(sidecar);
        if (inode === null || inode === step?.liveInode || inode === step?.stagedInode) continue;
        const aside = `${root.stagedPath}.${inode}.${sidecar}`;
        await operations.move(join(root.livePath, sidecar), aside);
        await operations.fsyncDirectory(root.livePath);
        await operations.fsyncDirectory(dirname(aside));
      }
    }
  }
}

interface IndexedStep {
  readonly root: ExchangeRoot;
  readonly step: ExchangeStep;
  readonly index: number;
}

function flatten(plan: ExchangePlan): IndexedStep[] {
  return plan.roots
    .flatMap((root) => root.steps.map((step) => ({ root, step })))
    .map((entry, index) => ({ ...entry, index }));
}

async function makeStep(
  root: ExchangeRoot,
  step: ExchangeStep,
  direction: 'forward' | 'back',
  operations: ExchangeOperations,
): Promise<void> {
  const live = join(root.livePath, step.name);
  const staged = join(root.stagedPath, step.name);
  const movesIn = (step.kind === 'move-in') === (direction === 'forward');
  if (step.kind === 'exchange') await operations.exchange(live, staged);
  else if (movesIn) await operations.move(staged, live);
  else await operations.move(live, staged);
  await operations.fsyncDirectory(dirname(live));
  await operations.fsyncDirectory(dirname(staged));
  const wanted = direction === 'forward' ? 'done' : 'not-done';
  if (stepState(root, step) !== wanted) {
    throw new Stop(
      direction === 'forward' ? 'io_error' : 'undo_failed',
      `after the rename of ${step.name} the places are not as planned`,
      placesOf(root, step),
    );
  }
}

function assertKnown(code: 'io_error' | 'undo_failed', root: ExchangeRoot, step: ExchangeStep): StepState {
  const state = stepState(root, step);
  if (state === 'neither')
    throw new Stop(
      code,
      `${join(root.livePath, step.name)} is neither what was there nor what was staged`,
      placesOf(root, step),
    );
  return state;
}

/**
 * Exchanges two empty directories of its own making in `directory`: what a filesystem can't do is known before anything
 * is staged on it and the application is asked to detach. What a kill leaves goes with the staging.
 * @throws Stop not_exchangeable
 */
export function assertCanExchange(directory: string): void {
  const [left, right] = [join(directory, '.left'), join(directory, '.right')];
  try {
    for (const path of [left, right]) mkdirSync(path, 0o700);
    renameExchange(left, right);
    for (const path of [left, right]) rmdirSync(path);
  } catch (error) {
    if (!hasErrno(error, ...NOT_SUPPORTED)) throw translateErrno(error, { path: directory });
    throw new Stop(
      'not_exchangeable',
      'the filesystem does not exchange two names',
      { path: directory, reason: String(error) },
      { cause: error },
    );
  }
}

const NOT_SUPPORTED = ['EINVAL', 'ENOSYS', 'EXDEV', 'EBUSY', 'ENOTSUP'] as const;

function exchangeFailure(error: unknown, root: ExchangeRoot, step: ExchangeStep): Error {
  if (hasErrno(error, ...NOT_SUPPORTED)) {
    return new Stop(
      'not_exchangeable',
      `the filesystem does not exchange ${join(root.livePath, step.name)}`,
      { ...placesOf(root, step), reason: String(error) },
      { cause: error },
    );
  }
  return translateErrno(error, placesOf(root, step));
}

function placesOf(root: ExchangeRoot, step: ExchangeStep): { live: string; staged: string; step: string } {
  return { live: join(root.livePath, step.name), staged: join(root.stagedPath, step.name), step: step.kind };
}

function inodeOf(path: string): string | null {
  try {
    return lstatSync(path, { bigint: true }).ino.toString();
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw translateErrno(error, { path });
  }
}
