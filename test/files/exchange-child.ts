// A process that performs or undoes an exchange and kills itself where it is told to: what a crash leaves is real.
// Arguments: the plan as JSON, `perform` or `undo`, the number of the step, and the place in it.
import { performExchange, undoExchange, EXCHANGE_OPERATIONS } from '../../files/exchange.js';
import type { ExchangeOperations } from '../../files/exchange.js';
import type { ExchangePlan } from '../../domain/exchange.js';

const [planText, direction, stepText, place] = process.argv.slice(2);
const plan = JSON.parse(planText ?? '') as ExchangePlan;
const dieAt = Number(stepText);
let current = -1;

function dieIf(here: string): void {
  if (current === dieAt && here === place) process.kill(process.pid, 'SIGKILL');
}

const operations: ExchangeOperations = {
  exchange: async (left, right) => {
    await EXCHANGE_OPERATIONS.exchange(left, right);
    dieIf('renamed');
  },
  move: async (source, target) => {
    await EXCHANGE_OPERATIONS.move(source, target);
    dieIf('renamed');
  },
  fsyncDirectory: async (path) => {
    await EXCHANGE_OPERATIONS.fsyncDirectory(path);
    dieIf('synced');
  },
};
const hooks = {
  beforeStep: (index: number): void => {
    current = index;
    dieIf('before');
  },
  afterStep: (): void => dieIf('after'),
};
await (direction === 'undo' ? undoExchange : performExchange)(plan, hooks, operations);
