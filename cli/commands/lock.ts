// holdfast lock show STORE | holdfast lock break STORE --confirm OPERATION
import type { Command } from 'commander';
import type { StoreStatus } from '../../control/status.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf, requestedBy } from '../command.js';
import type { ExitStatus } from '../command.js';

const EXITS: readonly ExitStatus[] = [65, 74, 75, 77, 78];
const SHOW = 'holdfast lock show shop';
const BREAK = 'holdfast lock break shop --confirm 1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b';

export function lockCommand(): Command {
  return describeCommand({
    name: 'lock',
    summary: 'show who holds the lock of a store, or take it from an owner that nobody can judge',
    examples: [SHOW, BREAK],
    exits: EXITS,
  })
    .addCommand(showCommand())
    .addCommand(breakCommand());
}

function showCommand(): Command {
  return describeCommand({
    name: 'show',
    summary: 'show the owner of the lock, and whether its process lives',
    examples: [SHOW],
    exits: [74, 77, 78],
  })
    .argument('<store>', 'store id')
    .action(async (store: string, _options: object, command: Command) => {
      const { storeStatus } = await statusOf(store, command);
      const { owner, token, liveness } = storeStatus.lock;
      outputOf(command).result(
        { store, lock: storeStatus.lock },
        owner === null
          ? [`${store} is not locked (token ${token})`]
          : [
              `${store} is locked by operation ${owner.operation} (${owner.protocol}) since ${owner.acquiredAt}`,
              `  run      ${owner.runId} of ${owner.workflowId}`,
              `  process  ${owner.pid} on ${owner.host}: ${liveness ?? 'unknown'}`,
              `  what to do: ${remedyOf(store, liveness)}`,
            ],
      );
    });
}

/** A run that was terminated, in the Temporal UI, has compensated nothing, and the process of its worker lives on. */
function remedyOf(store: string, liveness: StoreStatus['lock']['liveness']): string {
  const terminated = `if its run was terminated, \`holdfast backup ${store}\` settles it first; or end the worker, then run \`holdfast recover ${store}\``;
  if (liveness === 'dead') return `run \`holdfast recover ${store}\``;
  if (liveness === 'alive') return `wait, or run \`holdfast cancel ${store}\`; ${terminated}`;
  return `${terminated}; if nobody can tell any more, see \`holdfast lock break --help\``;
}

function breakCommand(): Command {
  return describeCommand({
    name: 'break',
    summary: 'take the lock over and settle, because its owner is known to be gone',
    examples: [BREAK],
    exits: EXITS,
  })
    .argument('<store>', 'store id')
    .option('--confirm <operation>', 'operation of the owner, as `lock show` tells it')
    .action(async (store: string, options: { readonly confirm?: string }, command: Command) => {
      const output = outputOf(command);
      const { room, storeStatus } = await statusOf(store, command);
      const { owner, liveness } = storeStatus.lock;
      if (options.confirm === undefined) {
        if (owner === null) {
          output.result({ store, settled: [] }, [`${store} is not locked`]);
          return;
        }
        throw new Stop(
          'approval_missing',
          'an owner is not taken from without its operation being confirmed: make sure first that it is gone',
          { confirm: `holdfast lock break ${store} --confirm ${owner.operation}`, owner, liveness },
        );
      }
      const { breakLock } = await import('../../control/recovery.js');
      const recovered = await breakLock(room, requestedBy(), options.confirm);
      output.result(recovered, [
        `the lock of ${store} was broken, and ${recovered.settled.length === 1 ? '1 operation was' : `${recovered.settled.length} operations were`} settled`,
      ]);
    });
}

async function statusOf(store: string, command: Command) {
  const { openStoreRoomAlone } = await import('../../control/store-room.js');
  const { readStatus } = await import('../../control/status.js');
  // Whoever looks after this store doesn't care whether the definition of another one can be read
  const room = await openStoreRoomAlone(localDefinitions(command), store);
  return { room, storeStatus: await readStatus(room) };
}
