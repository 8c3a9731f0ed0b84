// Restore and rollback are asked for in one way: a plan is shown, and only an approved one is carried out (F-29).
import type { Command } from 'commander';
import type { ConfirmedBy, RestoreReport, RestoreSource } from '../domain/protocol.js';
import type { Holdfast } from '../client/protocols.js';
import type { Confirmation } from '../domain/definition.js';
import { Stop } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import { confirm } from './approve.js';
import { isElsewhere, localDefinitions, operationOptions, outputOf, withHoldfast } from './command.js';
import { confirmLine, describePlan, signerLines } from './commands/plan.js';
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
  { confirm: given, operation }: ReplaceOptions,
  command: Command,
): Promise<void> {
  const output = outputOf(command);
  await withHoldfast(command, [store], async (holdfast) => {
    const { digest, confirmedBy } =
      given === undefined
        ? await approvedNow(holdfast, store, source, command)
        : {
            digest: given,
            confirmedBy: await confirm(await confirmationOf(command, store), { digest: given }, output),
          };
    const started = await holdfast.restore(store, source, digest, {
      ...operationOptions(command, operation),
      ...(confirmedBy !== null && { confirmedBy }),
    });
    const report = await follow(holdfast, store, started, output);
    output.result(report, [...describeReport(report), ...(output.verbose ? stepLines(report.steps) : [])]);
  });
}

/** Plans, shows the plan, and has it approved. */
async function approvedNow(
  holdfast: Holdfast,
  store: string,
  source: RestoreSource,
  command: Command,
): Promise<{ readonly digest: string; readonly confirmedBy: ConfirmedBy | null }> {
  const output = outputOf(command);
  const planned = await follow(holdfast, store, await holdfast.plan(store, source, operationOptions(command)), output);
  const { confirmation, plan, digest } = planned;
  output.lines(describePlan(planned));
  const details: StopDetails = {
    digest,
    confirm: confirmLine(command, store, source, planned),
    ...(output.json ? { plan } : {}),
  };
  if (confirmation === 'plan')
    throw new Stop('approval_missing', 'nothing was done: the plan is to be confirmed by its digest', details);
  return { digest, confirmedBy: await confirm(confirmation, details, output) };
}

/** null where only the host of the store knows its definition. */
async function confirmationOf(command: Command, store: string): Promise<Confirmation | null> {
  if (isElsewhere(command)) return null;
  const { loadDefinition } = await import('../definitions/load.js');
  return (await loadDefinition(localDefinitions(command), store)).confirmation;
}

function describeReport(report: RestoreReport): string[] {
  return [
    `${report.protocol} of store ${report.store} done`,
    `  holds     ${formatCount(report.files, 'file')}, ${formatBytes(report.sizeBytes)}`,
    `  former    state kept as rollback point ${report.rollbackPoint}; back to it: \`holdfast rollback ${report.store}\``,
    ...signerLines(report.adopted, '  signer    '),
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
