// How failures end a run (workflows/kit/stop.ts): built from the SDK's own failure types, as the server sends them.
import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from '@temporalio/common';
import type { TimeoutType } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { Stop, stopModel } from '../../domain/stop.js';
import { asStop, isRefusal, withSettlement } from '../../workflows/kit/stop.js';

const activityFailure = (cause: Error): ActivityFailure =>
  new ActivityFailure('activity failed', 'stage', 'stage-1', 'NON_RETRYABLE_FAILURE', 'worker', cause);
const timedOut = (type: TimeoutType): ActivityFailure =>
  activityFailure(new TimeoutFailure('timed out', undefined, type));
const refused = (): ActivityFailure =>
  activityFailure(
    ApplicationFailure.nonRetryable('no', 'checksum_mismatch', stopModel('checksum_mismatch', 'no', { path: 'a' })),
  );

describe('a failure of a step', () => {
  test.each([
    ['HEARTBEAT', 'worker_lost'],
    ['SCHEDULE_TO_START', 'host_absent'],
    ['START_TO_CLOSE', 'step_timeout'],
    ['SCHEDULE_TO_CLOSE', 'step_timeout'],
  ] as const)('by its %s timeout is STOP %s, and names the step', (type, code) => {
    const stop = asStop(timedOut(type), 'here');
    expect(stop).toBeInstanceOf(ApplicationFailure);
    const { type: found, details, nonRetryable } = stop as ApplicationFailure;
    expect([found, nonRetryable]).toEqual([code, true]);
    expect(details?.[0]).toMatchObject({ code, details: { step: 'stage', timeout: type } });
  });

  test('that no worker of the host took names the host, also when the run was settled', () => {
    const settlement = { undone: false, finished: false, hooks: [], stagingDropped: 0 };
    for (const stop of [
      asStop(timedOut('SCHEDULE_TO_START'), 'here'),
      withSettlement(timedOut('SCHEDULE_TO_START'), settlement, 'here'),
    ])
      expect((stop as ApplicationFailure).message).toContain('no worker of host here took step stage');
  });

  test('that is a refusal is taken out of its wrapping, code and details as they were', () => {
    const { type, message, details } = asStop(refused(), 'here') as ApplicationFailure;
    expect([type, message, details]).toEqual([
      'checksum_mismatch',
      'no',
      [stopModel('checksum_mismatch', 'no', { path: 'a' })],
    ]);
  });

  test('that is a cancellation stays one', () => {
    const cancelled = activityFailure(new CancelledFailure('cancelled'));
    expect(asStop(cancelled, 'here')).toBe(cancelled);
    expect(withSettlement(cancelled, { undone: true, finished: false, hooks: [], stagingDropped: 0 }, 'here')).toBe(
      cancelled,
    );
  });

  test('that is a defect stays itself', () => {
    const defect = new TypeError('x is not a function');
    expect(asStop(defect, 'here')).toBe(defect);
  });

  test('has left nothing behind when it was a refusal or never began, and may have when its worker was lost', () => {
    expect(
      [refused(), timedOut('SCHEDULE_TO_START'), new Stop('usage', 'no'), timedOut('HEARTBEAT'), new Error('?')].map(
        isRefusal,
      ),
    ).toEqual([true, true, true, false, false]);
  });

  test('that nobody was there to settle says so, not that nothing was left', () => {
    const failure = withSettlement(timedOut('HEARTBEAT'), null, 'here') as ApplicationFailure;
    expect(failure.details?.[0]).toMatchObject({ code: 'worker_lost', details: { settled: 'unknown' } });
    expect(failure.message).toContain('if it has taken the lock, the next backup or restore settles it');
  });

  test.each([
    [{ undone: false, finished: true }, 'finished'],
    [{ undone: true, finished: false }, 'undone'],
    [{ undone: false, finished: false }, 'ended'],
  ] as const)('settled with %j says so', (settlement, settled) => {
    const failure = withSettlement(
      timedOut('HEARTBEAT'),
      {
        ...settlement,
        hooks: ['attach'],
        stagingDropped: 1,
      },
      'here',
    ) as ApplicationFailure;
    expect(failure.details?.[0]).toMatchObject({
      code: 'worker_lost',
      details: { settled, hooksRun: ['attach'], stagingDropped: 1 },
    });
    expect(failure.message.includes('it had been committed, and was finished')).toBe(settlement.finished);
  });
});
