// holdfast lock show STORE | holdfast lock break STORE --confirm OPERATION
import type { Command } from 'commander';
import { Stop } from '../../domain/stop.js';
import { describeCommand, outputOf, requestedBy } from '../command.js';

export function lockCommand(): Command {
  const lock = describeCommand({ name: 'lock', summary: 'show who holds the lock of a store, or take it from an owner that nobody can judge', examples: ['holdfast lock show shop', 'holdfast lock break shop --confirm 1b4e28ba-…'], exits: [65, 74, 75, 77, 78] });
  lock.command('show').summary('show the owner of the lock').argument('<store>', 'store id').action(async (store: string, _options: object, command: Command) => {
    const output = outputOf(command);
    const { storeStatus } = await statusOf(store);
    const { owner, token } = storeStatus.lock;
    output.result({ store, lock: storeStatus.lock }, owner === null
      ? [`${store} is not locked (token ${token})`]
      : [`${store} is locked by operation ${owner.operation} (${owner.protocol}) since ${owner.acquiredAt}`, `  run ${owner.runId} of ${owner.workflowId}`, `  process ${owner.pid} on ${owner.host}: ${storeStatus.lock.liveness ?? 'unknown'}`]);
  });
  lock.command('break').summary('take the lock over and settle, because its owner is known to be gone').argument('<store>', 'store id')
    .option('--confirm <operation>', 'operation of the owner, as `lock show` tells it')
    .action(async (store: string, options: { readonly confirm?: string }, command: Command) => {
      const output = outputOf(command);
      const { room, storeStatus } = await statusOf(store);
      if (storeStatus.lock.owner === null) {
        output.result({ store, settled: [] }, [`${store} is not locked`]);
        return;
      }
      if (options.confirm === undefined) {
        throw new Stop('approval_missing', 'make sure that the owner is gone, then confirm its operation', { confirm: `holdfast lock break ${store} --confirm ${storeStatus.lock.owner.operation}`, owner: { ...storeStatus.lock.owner }, liveness: storeStatus.lock.liveness });
      }
      const { breakLock } = await import('../../control/recovery.js');
      const recovered = await breakLock(room, requestedBy(), options.confirm);
      output.result({ ...recovered }, [`the lock of ${store} was broken, ${recovered.settled.length} operation(s) settled`]);
    });
  return lock;
}

async function statusOf(store: string) {
  const { definitionsDirectory } = await import('../../client/host-settings.js');
  const { openStoreRoom } = await import('../../control/store-room.js');
  const { readStatus } = await import('../../control/status.js');
  const room = await openStoreRoom(definitionsDirectory(), store);
  return { room, storeStatus: await readStatus(room) };
}
