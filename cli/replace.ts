// Restore and rollback are asked for in one way: a plan is shown, and only its digest carries it out (F-29).
import type { Command } from 'commander';
import type { RestoreReport, RestoreSource } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { carryOut } from './carry-out.js';
import { operationOptions, outputOf, withHoldfast } from './command.js';
import { confirmLine, describePlan } from './commands/plan.js';
import { follow } from './follow.js';
import { formatBytes, formatCount, formatSteps } from './output.js';

export interface ReplaceOptions {
  readonly confirm?: string;
  readonly operation?: string;
}

/** @throws Stop approval_missing with the plan shown, when no digest is given */
export async function replace(
  store: string,
  source: RestoreSource,
  options: ReplaceOptions,
  command: Command,
): Promise<void> {
  const { confirm, operation } = options;
  if (confirm === undefined) return showPlan(store, source, command);
  await carryOut(
    command,
    store,
    (holdfast) => holdfast.restore(store, source, confirm, operationOptions(command, operation)),
    describeReport,
  );
}

async function showPlan(store: string, source: RestoreSource, command: Command): Promise<never> {
  const output = outputOf(command);
  return withHoldfast(command, [store], async (holdfast) => {
    const planned = await follow(
      holdfast,
      store,
      await holdfast.plan(store, source, operationOptions(command)),
      output,
    );
    if (!output.json) process.stdout.write(`${describePlan(planned).join('\n')}\n`);
    throw new Stop('approval_missing', 'nothing was done: the plan is to be confirmed by its digest', {
      digest: planned.digest,
      confirm: confirmLine(command, store, source, planned),
      ...(output.json ? { plan: planned.plan } : {}),
    });
  });
}

function describeReport(report: RestoreReport): string[] {
  return [
    `${report.protocol} of store ${report.store} done`,
    `  holds     ${formatCount(report.files, 'file')}, ${formatBytes(report.sizeBytes)}`,
    `  former    state kept as rollback point ${report.rollbackPoint}; back to it: \`holdfast rollback ${report.store}\``,
    `  epoch     ${report.epoch.id} (${report.epoch.counter})`,
    `  took      ${formatSteps(report.steps)}`,
  ];
}
