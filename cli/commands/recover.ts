// holdfast recover [STORE | --all]
import type { Command } from 'commander';
import { Stop } from '../../domain/stop.js';
import { describeCommand, outputOf, requestedBy } from '../command.js';

export function recoverCommand(): Command {
  return describeCommand({
    name: 'recover',
    summary: 'finish or undo what a crash left behind; needs no engine',
    examples: ['holdfast recover shop', 'holdfast recover --all    # at boot, before the application starts'],
    exits: [65, 74, 75, 77, 78],
  })
    .argument('[store]', 'store id')
    .option('--all', 'every store that is defined here')
    .action(async (store: string | undefined, options: { readonly all?: boolean }, command: Command) => {
      const output = outputOf(command);
      if ((store === undefined) === (options.all !== true)) throw new Stop('usage', 'name one store, or give --all');
      const { definitionsDirectory } = await import('../../client/host-settings.js');
      const { loadDefinitions } = await import('../../control/definitions.js');
      const { recoverStore } = await import('../../control/recovery.js');
      const { openStoreRoom, roomOf } = await import('../../control/store-room.js');
      const directory = definitionsDirectory();
      const rooms = store === undefined ? await Promise.all((await loadDefinitions(directory)).map(roomOf)) : [await openStoreRoom(directory, store)];
      const recovered = [];
      for (const room of rooms) recovered.push(await recoverStore(room, requestedBy()));
      output.result({ recovered }, recovered.map(({ store: name, settled }) => {
        if (settled.length === 0) return `${name}: nothing to recover`;
        const deeds = settled.map((entry) => (entry.finished ? 'finished' : entry.undone ? 'undone: the former state is back' : 'ended; the store was not touched'));
        return `${name}: ${deeds.join('; ')}`;
      }));
    });
}
