// `npm run demo [-- --keep]`: the main job on real input, proved, in a temporary directory. Exit status 0 only if every
// proof held; whatever happens, nothing that was started here is left, but with --keep the directory and, until Ctrl-C,
// engine and UI.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { EXIT_DEFECT, STOPS, Stop } from '../domain/stop.js';
import { buildHouse } from './house.js';
import { Interrupted, Stage } from './stage.js';
import { playDemo } from './story.js';

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const begin = performance.now();
function say(line: string): void {
  process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(1).padStart(6)}  ${line}\n`);
}

async function main(keep: boolean): Promise<number> {
  const ending = new AbortController();
  let status = 0;
  for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      // The terminal tells us and npm, which tells us again
      if (!ending.signal.aborted) status = code;
      ending.abort();
    });
  }
  const house = await buildHouse();
  say(`set up in ${house.directory}`);
  const stage = new Stage(house, ending.signal, say);
  try {
    const report = await playDemo(stage);
    process.stdout.write(`\n${report}\n\n`);
    say('every proof held');
    if (keep) {
      say(
        `engine and UI stay up until Ctrl-C; to look around: export HOLDFAST_STATE_DIRECTORY=${house.state} HOLDFAST_DEFINITIONS_DIRECTORY=${house.definitions}`,
      );
      while (!ending.signal.aborted) await delay(200);
      // Asked for, not interrupted
      status = 0;
    } else {
      say('the UI ends with the demo; `npm run demo -- --keep` leaves it up');
    }
  } catch (error) {
    status = failed(error, status);
  }
  try {
    await stage.close({ keepDirectory: keep });
  } catch (error) {
    status = failed(error, status);
  }
  say(keep ? `ended; ${house.directory} is kept` : 'ended; nothing is left');
  return status;
}

/** Says what failed; the exit status: that of the STOP, 1 for a proof that failed, the signal's own when interrupted. */
function failed(error: unknown, status: number): number {
  if (error instanceof Interrupted) {
    say('interrupted: what runs is undone, and everything ends');
    return status;
  }
  if (error instanceof Stop) {
    say(`failed: STOP ${error.code}, ${error.message}; ${STOPS[error.code].remedy}`);
    return status || STOPS[error.code].exit;
  }
  say(`failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return status || 1;
}

let keep: boolean;
try {
  ({ keep = false } = parseArgs({ options: { keep: { type: 'boolean' } } }).values);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\nusage: npm run demo [-- --keep]\n`);
  process.exit(STOPS.usage.exit);
}
try {
  process.exit(await main(keep));
} catch (error) {
  process.stderr.write(`${String(error)}\n`);
  process.exit(EXIT_DEFECT);
}
