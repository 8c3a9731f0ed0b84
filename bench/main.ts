// npm run bench [-- pause|throughput|temporal|scale|peers|growth ...] [--json FILE] [--small] [--directory DIR] [--seed N] [--repeats N]
// Figures of this machine as tables on stdout and, with --json, in a file. docs/performance.md says what they mean.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { Argument, Command } from 'commander';
import { HOLDFAST_VERSION } from '../domain/version.js';
import { growthChart, growthTables, measureGrowth } from './growth.js';
import { interrupt } from './interrupt.js';
import { measurePause, pauseTables } from './pause.js';
import { measurePeers, peersTables } from './peers.js';
import { measureScale, scaleTables } from './scale.js';
import { measureTemporal, temporalTables } from './temporal.js';
import { measureThroughput, throughputTables } from './throughput.js';

const PARTS = ['pause', 'throughput', 'temporal', 'scale', 'peers', 'growth'] as const;
type Part = (typeof PARTS)[number];

interface Settings {
  readonly directory: string;
  readonly small: boolean;
  readonly seed: number;
  readonly repeats: number;
}

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function measure(
  part: Part,
  { directory, small, seed, repeats }: Settings,
): Promise<{ readonly result: object; readonly tables: string; readonly chart?: string }> {
  switch (part) {
    case 'throughput': {
      const result = await measureThroughput({ directory, scale: small ? 0.05 : 1, seed, repeats }, say);
      return { result, tables: throughputTables(result) };
    }
    case 'pause': {
      const counts = small
        ? { databases: [3, 61], cuts: 5, backups: 1, quietSeconds: 1 }
        : { databases: [3, 61, 600], cuts: 25, backups: 3, quietSeconds: 5 };
      const result = await measurePause({ directory, ...counts }, say);
      return { result, tables: pauseTables(result) };
    }
    case 'temporal': {
      const result = await measureTemporal({ directory, repeats: small ? 1 : 5 }, say);
      return { result, tables: temporalTables(result) };
    }
    case 'peers': {
      const result = await measurePeers({ directory, scale: small ? 0.05 : 1, seed, repeats }, say);
      return { result, tables: peersTables(result) };
    }
    case 'growth': {
      const rows = await measureGrowth({ directory, seed, gib: small ? [0.02, 0.08] : [1, 4, 16] }, say);
      return { result: { rows }, tables: growthTables(rows), chart: growthChart(rows) };
    }
    case 'scale': {
      const result = await measureScale({ directory, scale: small ? 0.02 : 1, seed }, say);
      return { result: { rows: result }, tables: scaleTables(result) };
    }
  }
}

function machine(): object {
  const [first] = cpus();
  return {
    cpus: cpus().length,
    model: first?.model ?? 'unknown',
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    node: process.version,
    holdfast: HOLDFAST_VERSION,
    asRoot: process.getuid?.() === 0,
  };
}

interface Options {
  readonly json?: string;
  readonly svg?: string;
  readonly small: boolean;
  readonly directory?: string;
  readonly seed: string;
  readonly repeats: string;
}

const program = new Command('npm run bench --')
  .description('Measures holdfast on this machine: tables on stdout, and all figures as JSON in a file.')
  .addArgument(new Argument('[parts...]', 'what to measure; all by default').choices(PARTS))
  .option('--json <file>', 'writes every single measurement there')
  .option('--svg <file>', 'draws growth there')
  .option('--small', 'a small tree and few repeats: whether it works, not how fast it is', false)
  .option('--directory <dir>', 'where everything is made, and the tree is left; a temporary one by default')
  .option('--seed <number>', 'of the generated tree', '42')
  .option('--repeats <number>', 'of each pair of throughput', '3')
  .action(async (parts: readonly Part[], options: Options) => {
    await main(parts.length === 0 ? PARTS : parts, options);
  });

async function main(parts: readonly Part[], values: Options): Promise<void> {
  const directory =
    values.directory === undefined ? mkdtempSync(join(tmpdir(), 'holdfast-bench-')) : resolve(values.directory);
  mkdirSync(directory, { recursive: true });
  let status = 0;
  // A terminal that hung up takes no more words, and that must not end us before what we have started
  process.stderr.on('error', () => undefined);
  for (const [signal, code] of Object.entries(SIGNALS)) {
    // A second one changes nothing: to die of it would leave what has been started
    process.on(signal, () => {
      if (status !== 0) return;
      status = code;
      interrupt();
      say('interrupted: everything ends, and nothing is left');
    });
  }
  const results: Record<string, object> = {};
  try {
    for (const part of parts) {
      const { result, tables, chart } = await measure(part, {
        directory,
        small: values.small,
        seed: Number(values.seed),
        repeats: Number(values.repeats),
      });
      results[part] = result;
      if (chart !== undefined && values.svg !== undefined) writeFileSync(values.svg, chart);
      process.stdout.write(`## ${part}\n\n${tables}\n\n`);
    }
  } catch (error) {
    // What fails after an interrupt fails because of it
    if (status === 0) throw error;
    process.exitCode = status;
    return;
  } finally {
    if (values.directory === undefined) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ machine: machine(), small: values.small, ...results }, null, 2)}\n`);
}

await program.parseAsync();
