// Where the demo plays: the engine, the operations under way, and the end of everything that was started here, by its
// id, whatever happened before.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openEngine } from '../client/connection.js';
import type { EngineSession } from '../client/connection.js';
import { createHoldfast } from '../client/protocols.js';
import type { Holdfast, Operation, OperationOptions } from '../client/protocols.js';
import { endProcess, processesWith } from '../workers/processes.js';
import { stopWriters } from './application.js';
import { HOOK_PROGRAM, STORE, environmentOf } from './house.js';
import type { House } from './house.js';

const OPTIONS: OperationOptions = { requestedBy: 'demo' };
const UNDO_MILLIS = 20_000;
const ENGINE_END_MILLIS = 20_000;

/** The demo was told to end. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted');
  }
}

export interface FinishedRun {
  readonly type: string;
  readonly status: string;
  readonly url: string;
}

export class Stage {
  readonly house: House;
  readonly say: (line: string) => void;
  readonly #signal: AbortSignal;
  #session: EngineSession | undefined;

  constructor(house: House, signal: AbortSignal, say: (line: string) => void) {
    this.house = house;
    this.say = say;
    this.#signal = signal;
  }

  /** Engine and worker, with Temporal's binary made available first where it is not cached. STOPs of openEngine. */
  async open(): Promise<EngineSession> {
    const opening = openEngine({
      environment: environmentOf(this.house),
      onProgress: (line) => this.say(`temporal: ${line}`),
    });
    this.#session = await this.unlessInterrupted(opening);
    return this.#session;
  }

  /** Starts an operation and waits for its end. STOPs of the protocol; Interrupted. */
  async carryOut<Report>(
    start: (holdfast: Holdfast, options: OperationOptions) => Promise<Operation<Report>>,
  ): Promise<Report> {
    const operation = await this.unlessInterrupted(start(createHoldfast(this.#opened()), OPTIONS));
    return this.unlessInterrupted(operation.result());
  }

  /** Runs a hook as a person would, from a shell. */
  async runHook(name: 'detach' | 'attach'): Promise<string> {
    const { stdout } = await this.unlessInterrupted(
      promisify(execFile)(process.execPath, [HOOK_PROGRAM, name, this.house.directory]),
    );
    return stdout.trim();
  }

  async pause(millis: number): Promise<void> {
    await this.unlessInterrupted(delay(millis));
  }

  /** Every run of the demo that Temporal knows, in the order of their start. */
  async runs(): Promise<readonly FinishedRun[]> {
    const session = this.#opened();
    const found: (FinishedRun & { readonly startedAt: number })[] = [];
    for await (const run of session.client.workflow.list({ query: `HoldfastStore = '${STORE}'` })) {
      const url = session.workflowUrl(run.workflowId, run.runId) ?? `${run.workflowId} ${run.runId}`;
      found.push({ type: run.type, status: run.status.name.toLowerCase(), url, startedAt: run.startTime.getTime() });
    }
    return found.sort((left, right) => left.startedAt - right.startedAt);
  }

  /** Settles with `work`, or with Interrupted as soon as the demo is told to end. */
  async unlessInterrupted<T>(work: Promise<T>): Promise<T> {
    const settled = new AbortController();
    const interrupted = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => reject(new Interrupted());
      if (this.#signal.aborted) onAbort();
      this.#signal.addEventListener('abort', onAbort, { once: true, signal: settled.signal });
    });
    try {
      return await Promise.race([work, interrupted]);
    } finally {
      settled.abort();
    }
  }

  /**
   * Ends everything: what runs is undone, the engine ends as after any last command, then the writers, which undoing
   * may have started again. What does not end in time is killed.
   * @throws AggregateError of what went wrong; the rest was still ended
   */
  async close(options: { readonly keepDirectory: boolean }): Promise<void> {
    const faults: unknown[] = [];
    const ends = [
      () => this.#undoRuns(),
      () => this.#session?.close(),
      () => this.#endEngine(),
      () => stopWriters(this.house),
      () => options.keepDirectory || rmSync(this.house.directory, { recursive: true, force: true }),
    ];
    for (const end of ends) {
      try {
        await end();
      } catch (error) {
        faults.push(error);
      }
    }
    if (faults.length > 0)
      throw new AggregateError(faults, `not everything ended well: ${faults.map(String).join('; ')}`);
  }

  async #undoRuns(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    const holdfast = createHoldfast(session);
    const asked = new Set<string>();
    const deadline = performance.now() + UNDO_MILLIS;
    for (;;) {
      const running = await holdfast.running(STORE);
      if (running.length === 0) return;
      if (performance.now() > deadline)
        throw new Error(`${running.map((run) => run.workflowId).join(', ')} still runs`);
      for (const { workflowId, runId } of running.filter((run) => !asked.has(run.runId))) {
        asked.add(runId);
        await session.client.workflow.getHandle(workflowId, runId).cancel();
      }
      await delay(100);
    }
  }

  async #endEngine(): Promise<void> {
    const entry = `HOLDFAST_STATE_DIRECTORY=${this.house.state}`;
    // Without a session it may be building Temporal: nothing to wait for
    const patience = this.#session === undefined ? 0 : ENGINE_END_MILLIS;
    const deadline = performance.now() + patience;
    while (processesWith(entry).length > 0 && performance.now() < deadline) await delay(50);
    for (const name of processesWith(entry)) await endProcess(name, 5_000);
  }

  #opened(): EngineSession {
    if (this.#session === undefined) throw new Error('the engine is not open yet');
    return this.#session;
  }
}
