// holdfast status [STORE] [--gate]
import type { Command } from 'commander';
import { stateDirectory } from '../../client/state-directory.js';
import { Stop } from '../../domain/stop.js';
import type { CatalogueEntry } from '../../artefacts/catalogue.js';
import type { StoreStatus } from '../../control/status.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';

export function statusCommand(): Command {
  return describeCommand({
    name: 'status',
    summary: 'show lock, fence, epoch, rollback points and the newest backup; needs no engine',
    examples: [
      'holdfast status',
      'holdfast status shop',
      'ExecStartPre=+/usr/bin/holdfast status shop --gate   # in its unit',
    ],
    exits: [74, 77, 78],
  })
    .argument('[store]', 'store id; every store that is defined here without it')
    .option(
      '--gate',
      'exit 0 when the application may start, 78 while the store is fenced or not there; prints nothing else',
    )
    .action(async (store: string | undefined, options: { readonly gate?: boolean }, command: Command) => {
      const output = outputOf(command);
      const directory = localDefinitions(command);
      const { loadDefinitions } = await import('../../definitions/load.js');
      const { openStoreRoomAlone, roomOf } = await import('../../control/store-room.js');
      const { assertGate, readStatus } = await import('../../control/status.js');
      // Whoever asks about this store doesn't care whether the definition of another one can be read
      if (options.gate === true) {
        if (store === undefined) throw new Stop('usage', 'a gate is for one store');
        await assertGate(await openStoreRoomAlone(directory, store), stateDirectory());
        output.result({ store, gate: 'open' }, []);
        return;
      }
      const rooms =
        store === undefined
          ? await Promise.all((await loadDefinitions(directory)).map(roomOf))
          : [await openStoreRoomAlone(directory, store)];
      const { newestBackup } = await import('../../control/backups.js');
      const directories = { definitionsDirectory: directory, stateDirectory: stateDirectory() };
      const all = await Promise.all(
        rooms.map(async (room) => ({
          ...(await readStatus(room)),
          newestBackup: await newestBackup(directories, room.definition),
        })),
      );
      for (const status of all) output.event('store', status);
      const lines = all.flatMap((status, index) => [...(index === 0 ? [] : ['']), ...describeStatus(status)]);
      output.result(
        { stores: all.map((status) => status.store) },
        all.length === 0 ? [`no stores are defined in ${directory}`] : lines,
      );
    });
}

function describeStatus(status: StoreStatus & { readonly newestBackup: CatalogueEntry | null }): string[] {
  const { lock, fence, epoch, newestBackup } = status;
  // What runs owes its end to nobody yet
  const left = status.debts.filter((debt) => lock.liveness !== 'alive' || debt.operation !== lock.owner?.operation);
  return [
    `${status.store}`,
    ...status.roots.map((root) => `  root      ${root.path} (exchange by ${root.mode}: ${root.why})`),
    `  lock      ${lock.owner === null ? 'free' : `${lock.owner.protocol} since ${lock.owner.acquiredAt}, operation ${lock.owner.operation}, process ${lock.owner.pid} ${lock.liveness ?? ''}`}`,
    `  fence     ${fence === null ? 'down' : `UP since ${fence.since}, by operation ${fence.operation}`}`,
    `  epoch     ${epoch === null ? 'never restored' : `${epoch.id} (${epoch.counter})`}`,
    `  backup    ${newestBackup === null ? 'none' : `${newestBackup.name}, ${newestBackup.stop === undefined ? 'readable' : `STOP ${newestBackup.stop.code}: ${newestBackup.stop.message}`}`}`,
    ...status.rollbackPoints.map(
      ({ id, createdAt, protocol, isThere }) =>
        `  rollback  ${id}, replaced ${createdAt} by a ${protocol}${isThere ? '' : '; its tree is GONE'}`,
    ),
    ...left.map((debt) => `  OWED      operation ${debt.operation}: run \`holdfast recover ${status.store}\``),
  ];
}
