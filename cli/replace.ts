// Restore and rollback are asked for in one way: a plan is shown, and only an approved one is carried out (F-29).
import type { Command } from 'commander';
import type { RestoreReport, RestoreSource } from '../domain/protocol.js';
import type { Holdfast } from '../client/protocols.js';
import { approve } from './approve.js';
import { operationOptions, outputOf, withHoldfast } from './command.js';
import { confirmLine, describePlan } from './commands/plan.js';
import { follow } from './follow.js';
import { formatBytes, formatCount, formatSteps, stepLines } from './output.js';

export interface ReplaceOptions {
  readonly confirm?: string;
  readonly operation?: string;
}

/** @throws Stop approval_missing with the plan shown, when neither a digest is given nor what the definition asks for */
export async function replace(
  store: string,
  source: RestoreSource,
  { confirm, operation }: ReplaceOptions,
  command: Command,
): Promise<void> {
  const output = outputOf(command);
  await withHoldfast(command, [store], async (holdfast) => {
    const digest = confirm ?? (await approvedNow(holdfast, store, source, command));
    const started = await holdfast.restore(store, source, digest, operationOptions(command, operation));
    const report = await follow(holdfast, store, started, output);
    output.result(report, [...describeReport(report), ...(output.verbose ? stepLines(report.steps) : [])]);
  });
}

/** Plans, shows the plan, and has it approved. @returns its digest */
async function approvedNow(
  holdfast: Holdfast,
  store: string,
  source: RestoreSource,
  command: Command,
): Promise<string> {
  const output = outputOf(command);
  const planned = await follow(holdfast, store, await holdfast.plan(store, source, operationOptions(command)), output);
  output.lines(describePlan(planned));
  await approve(planned, confirmLine(command, store, source, planned), output);
  return planned.digest;
}

function describeReport(report: RestoreReport): string[] {
  return [
    `${report.protocol} of store ${report.store} done`,
    `  holds     ${formatCount(report.files, 'file')}, ${formatBytes(report.sizeBytes)}`,
    `  former    state kept as rollback point ${report.rollbackPoint}; back to it: \`holdfast rollback ${report.store}\``,
    ...keptLines(report),
    `  epoch     ${report.epoch.id} (${report.epoch.counter})`,
    `  took      ${formatSteps(report.steps)}`,
  ];
}

function keptLines({ kept, notKeptBecause }: RestoreReport): string[] {
  if (kept === undefined) return [];
  return [
    kept === null ? `  copy      none: it could not be backed up (${notKeptBecause})` : `  copy      of it at ${kept}`,
  ];
}
