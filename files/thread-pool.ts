// Threads for work on files: as many as there are processors, within bounds. One pool for a process and a kind of work.
import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';

export const THREADS_MAX = 8;
/** The threads that check databases come next, and want the memory. */
const IDLE_MILLIS = 500;

export type RunInThread<Task, Result> = (task: Task) => Promise<Result>;

interface ThreadModule {
  readonly filename: string;
  /** Of the function in it that does a task. */
  readonly name: string;
}

/** Idle threads end by themselves and keep no process alive. */
export class ThreadPool<Task, Result> {
  readonly #module: ThreadModule;
  #threads: Piscina<Task, Result> | null = null;

  constructor(module: ThreadModule) {
    this.#module = module;
  }

  /** Does `work` with threads. Rejects where one can't even start: it belongs to no task, which would wait for ever. */
  async during<T>(work: (run: RunInThread<Task, Result>) => Promise<T>): Promise<T> {
    this.#threads ??= new Piscina<Task, Result>({
      ...this.#module,
      minThreads: 0,
      maxThreads: Math.min(THREADS_MAX, Math.max(2, availableParallelism())),
      idleTimeout: IDLE_MILLIS,
    });
    const threads = this.#threads;
    let fail: (error: unknown) => void = () => undefined;
    const failed = new Promise<never>((_resolve, reject) => {
      fail = (error) => {
        this.#threads = null;
        reject(error instanceof Error ? error : new Error('a thread failed', { cause: error }));
      };
    });
    threads.on('error', fail);
    try {
      // Once and not for each task: a promise keeps what it was ever raced against
      return await Promise.race([work((task) => threads.run(task)), failed]);
    } finally {
      threads.off('error', fail);
    }
  }
}
