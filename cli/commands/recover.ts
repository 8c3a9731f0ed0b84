// holdfast recover STORE | --all
import type { Command } from 'commander';
import { stateDirectory } from '../../client/state-directory.js';
import type { LoadedAlone } from '../../definitions/load.js';
import type { Recovered } from '../../control/recovery.js';
import { Stop } from '../../domain/stop.js';
import { describeCommand, localDefinitions, outputOf, requestedBy } from '../command.js';

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
      const directory = localDefinitions(command);
      const { loadDefinitionAlone, loadDefinitionsAlone } = await import('../../definitions/load.js');
      const { assertAsNoted } = await import('../../control/noted-stores.js');
      const { recoverStore } = await import('../../control/recovery.js');
      const { roomOf } = await import('../../control/store-room.js');
      const loaded: readonly LoadedAlone[] =
        store === undefined
          ? await loadDefinitionsAlone(directory)
          : [{ store, definition: await loadDefinitionAlone(directory, store) }];
      const recovered: Recovered[] = [];
      const refused: Refused[] = [];
      const defects: unknown[] = [];
      // A store that can't be recovered now is no reason to leave the others as they are
      for (const { store: name, definition } of loaded) {
        try {
          if (definition instanceof Stop) throw definition;
          const room = await roomOf(definition);
          const one = await recoverStore(room, requestedBy());
          if (one.settled.length > 0) recovered.push(one);
          await assertAsNoted(stateDirectory(), room);
          if (one.settled.length === 0) recovered.push(one);
        } catch (error) {
          if (error instanceof Stop) refused.push({ store: name, stop: error });
          else defects.push(error);
        }
      }
      if (defects.length > 0) throw defects[0];
      if (refused.length > 0) {
        for (const one of recovered) output.event('recovered', one);
        if (!output.json) process.stdout.write(recovered.map((one) => `${describeRecovered(one)}\n`).join(''));
        throw asOneStop(refused);
      }
      output.result(
        { recovered },
        loaded.length === 0 ? [`no stores are defined in ${directory}`] : recovered.map(describeRecovered),
      );
    });
}

interface Refused {
  readonly store: string;
  readonly stop: Stop;
}

function describeRecovered({ store, settled }: Recovered): string {
  if (settled.length === 0) return `${store}: nothing to recover`;
  const deeds = settled.map((entry) =>
    entry.finished
      ? 'finished'
      : entry.undone
        ? 'undone: the former state is back'
        : 'ended; the store was not touched',
  );
  return `${store}: ${deeds.join('; ')}`;
}

/** The first refusal, with what the other stores refused. */
function asOneStop(refused: readonly Refused[]): Stop {
  const [first, ...others] = refused;
  if (first === undefined) throw new Error('nothing was refused');
  const also = others.map(({ store, stop }) => ({ store, code: stop.code, message: stop.message }));
  return new Stop(
    first.stop.code,
    `${first.store}: ${first.stop.message}`,
    { store: first.store, ...first.stop.details, ...(also.length === 0 ? {} : { also }) },
    { cause: first.stop },
  );
}
