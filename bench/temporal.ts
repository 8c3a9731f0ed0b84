// What the engine costs: a store of one tiny database, from the command to its exit, with `holdfast up` running and
// without; how much history a protocol leaves; how much memory each process takes.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import Database from 'better-sqlite3';
import type { BackupReport, PlanReport, RestoreReport, StepTime } from '../domain/protocol.js';
import { executionId } from '../domain/names.js';
import { Installation } from './installation.js';
import type { Answer } from './installation.js';
import { markdownTable, range, round } from './statistics.js';

export interface TemporalSettings {
  readonly directory: string;
  readonly repeats: number;
}

interface History {
  readonly workflow: string;
  readonly events: number;
  readonly sizeBytes: number;
}

export interface TemporalResult {
  readonly upSeconds: number;
  /** Command to exit. */
  readonly seconds: Readonly<Record<string, readonly number[]>>;
  /** Sum of the steps of the same runs: the rest is Node's start, the connection, and the way through the engine. */
  readonly stepSeconds: Readonly<Record<string, readonly number[]>>;
  readonly histories: readonly History[];
  readonly peakMib: Readonly<Record<string, number>>;
}

const STORE = 'tiny';

export async function measureTemporal(
  settings: TemporalSettings,
  say: (line: string) => void,
): Promise<TemporalResult> {
  const home = join(settings.directory, 'temporal');
  const installation = new Installation(home);
  define(installation, home);
  const seconds: Record<string, number[]> = {};
  const stepSeconds: Record<string, number[]> = {};
  const note = (what: string, answer: Answer<{ readonly steps?: readonly StepTime[] }>): void => {
    (seconds[what] ??= []).push(round(answer.seconds));
    const steps = answer.report.steps ?? [];
    if (steps.length > 0)
      (stepSeconds[what] ??= []).push(round(steps.reduce((sum, { millis }) => sum + millis, 0) / 1000));
    say(`${what}: ${round(answer.seconds)} s`);
  };
  try {
    for (let repeat = 0; repeat < settings.repeats; repeat += 1) {
      note('backup, engine started for it', await installation.command<BackupReport>('backup', STORE));
      await untilNoSupervisor(installation);
    }
    const upSeconds = await installation.up();
    const histories: History[] = [];
    await installation.watched(async () => {
      for (let repeat = 0; repeat < settings.repeats; repeat += 1) {
        const backup = await installation.command<BackupReport>('backup', STORE);
        note('backup, holdfast is up', backup);
        const plan = await installation.command<PlanReport>('plan', STORE, 'latest');
        note('plan, holdfast is up', { ...plan, report: {} });
        const restore = await installation.command<RestoreReport>(
          'restore',
          STORE,
          'latest',
          '--confirm',
          plan.report.digest,
        );
        note('restore, holdfast is up', restore);
        if (repeat === settings.repeats - 1)
          histories.push(...(await historiesOf(installation, backup, plan, restore)));
      }
    });
    const peakMib = Object.fromEntries([...installation.peaks].map(([name, mib]) => [name, round(mib)]));
    return { upSeconds: round(upSeconds), seconds, stepSeconds, histories, peakMib };
  } finally {
    await installation.down();
    rmSync(home, { recursive: true, force: true });
  }
}

function define(installation: Installation, home: string): void {
  const root = join(home, STORE, 'data');
  mkdirSync(root, { recursive: true });
  const database = new Database(join(root, 'tiny.db'));
  database.exec("CREATE TABLE entries(id INTEGER PRIMARY KEY, body TEXT); INSERT INTO entries VALUES (1, 'one')");
  database.close();
  const hook = { argv: ['/bin/true'] };
  installation.define({
    holdfast: 1,
    store: STORE,
    roots: { data: { path: root, databases: [{ path: 'tiny.db' }] } },
    hooks: { detach: hook, attach: hook },
    backup: { destination: join(home, STORE, 'backups') },
  });
}

/** The supervisor that a command started lingers; the next command shall start its own. */
async function untilNoSupervisor(installation: Installation): Promise<void> {
  while (installation.hasSupervisor()) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function historiesOf(
  installation: Installation,
  backup: Answer<unknown>,
  plan: Answer<unknown>,
  restore: Answer<unknown>,
): Promise<History[]> {
  const { address, namespace } = installation.ready;
  const connection = await Connection.connect({ address });
  try {
    const client = new Client({ connection, namespace });
    const look = async (workflow: string, workflowId: string, runId?: string): Promise<History> => {
      const description = await client.workflow.getHandle(workflowId, runId).describe();
      return {
        workflow,
        events: description.historyLength,
        sizeBytes: Number(description.raw.workflowExecutionInfo?.historySizeBytes ?? 0),
      };
    };
    return [
      await look('backup', backup.workflowId, backup.runId),
      await look('plan', plan.workflowId, plan.runId),
      await look('request of a restore', restore.workflowId, restore.runId),
      // The newest run under the store's own id is the execution that the request started
      await look('restore', executionId(STORE)),
    ];
  } finally {
    await connection.close();
  }
}

export function temporalTables({ upSeconds, seconds, stepSeconds, histories, peakMib }: TemporalResult): string {
  return [
    markdownTable(
      ['command', 'seconds to its exit: min / **median** / max', 'of which steps'],
      [
        ['up, until engine and worker are ready', upSeconds, ''],
        ...Object.entries(seconds).map(([what, values]) => [
          what,
          range(values),
          stepSeconds[what] === undefined ? '' : range(stepSeconds[what]),
        ]),
      ],
    ),
    markdownTable(
      ['workflow', 'events', 'bytes of history'],
      histories.map(({ workflow, events, sizeBytes }) => [workflow, events, sizeBytes]),
    ),
    markdownTable(['process', 'peak resident MiB'], Object.entries(peakMib)),
  ].join('\n\n');
}
