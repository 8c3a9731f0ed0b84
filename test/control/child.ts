// Another process of the tests of control/: does what the first argument orders, prints a line for each thing done,
// and then either ends or stays alive until it is killed.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlDatabase } from '../../control/control-database.js';
import { startGuard } from '../../control/guard.js';
import { keepHistory } from '../../control/histories.js';
import { runHook } from '../../control/hooks.js';
import { acquireLock, critical, journal, releaseLock } from '../../control/lock.js';
import type { Claimant } from '../../control/lock.js';
import { settleOperation } from '../../control/recovery.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { HookName } from '../../domain/definition.js';
import type { JournalEvent } from '../../domain/journal.js';
import type { LockGrant } from '../../domain/protocol.js';

export type ChildOrder = { readonly room: StoreRoom } & (
  | { readonly does: 'count'; readonly grant: LockGrant; readonly times: number; readonly file: string }
  | { readonly does: 'hold'; readonly millis: number }
  | {
      readonly does: 'own';
      readonly claimant: Claimant;
      readonly events: readonly JournalEvent[];
      readonly stays: boolean;
    }
  | { readonly does: 'settle'; readonly claimant: Claimant }
  | { readonly does: 'operate'; readonly claimant: Claimant; readonly times: number }
  | { readonly does: 'examine'; readonly check: string; readonly stateDirectory: string }
  | { readonly does: 'guard'; readonly claimant: Claimant; readonly hook: HookName | null }
);

/** A user whom nothing belongs to. */
const ORDINARY = 12345;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const forever = (): Promise<void> => sleep(60_000);

const order = JSON.parse(process.argv[2] ?? '') as ChildOrder;
const { room } = order;

if (order.does === 'count') {
  const { readFileSync, writeFileSync } = await import('node:fs');
  for (let time = 0; time < order.times; time += 1) {
    await critical(room, order.grant, async () => {
      const value = Number(readFileSync(order.file, 'utf8'));
      await sleep(1);
      writeFileSync(order.file, String(value + 1));
    });
  }
  say('counted');
} else if (order.does === 'hold') {
  const database = ControlDatabase.open(room.controlDirectory);
  await database.section(async () => {
    say('held');
    await sleep(order.millis);
  });
  say('left');
} else if (order.does === 'operate') {
  say('operates');
  for (let time = 0; time < order.times; time += 1) {
    const claimant = { ...order.claimant, operation: randomUUID(), runId: randomUUID() };
    await releaseLock(room, await acquireLock(room, claimant, async () => 'unknown'), 'done');
    await keepHistory(room.controlDirectory, { ...claimant, closedAt: new Date() }, '{"events":[]}');
  }
} else if (order.does === 'settle') {
  say('settles');
  await settleOperation(room, order.claimant.operation, order.claimant.runId, 'stopped');
  say('settled');
} else if (order.does === 'examine') {
  const { examineStore } = await import('../../control/doctor.js');
  process.setgroups?.([]);
  process.setgid?.(ORDINARY);
  process.setuid?.(ORDINARY);
  const found = await examineStore(room.definition, order.stateDirectory, order.stateDirectory);
  say(JSON.stringify(found.find(({ check }) => check === order.check)));
} else {
  const grant = await acquireLock(room, order.claimant, async () => 'unknown');
  if (order.does === 'own') {
    for (const event of order.events) await journal(room, grant, event);
    say(JSON.stringify(grant));
    if (order.stays) await forever();
  } else {
    await journal(room, grant, { event: order.hook === 'detach' ? 'detaching' : 'quiescing' });
    if (order.hook !== 'detach') await startGuard(room, grant);
    say(JSON.stringify(grant));
    const hook = order.hook === null ? undefined : room.definition.hooks[order.hook];
    if (order.hook !== null && hook !== undefined)
      await runHook(order.hook, hook, { store: room.definition.store, operation: grant.operation });
    say('hook done');
    await forever();
  }
}
process.exit(0);
