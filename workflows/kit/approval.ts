// The approval of a plan: by the digest that came with the request, or by the update `confirm`, within a deadline.
import { allHandlersFinished, condition, setHandler } from '@temporalio/workflow';
import { Stop } from '../../domain/stop.js';
import { confirmUpdate } from './messages.js';
import type { Run } from './run.js';
import { failureOf } from './stop.js';

export interface Approval {
  /**
   * Returns once exactly the plan with this digest is approved.
   * @param confirm the digest that the requester has read; null: wait for the update
   * @throws Stop approval_mismatch, approval_expired
   */
  awaited(digest: string, confirm: string | null, deadlineMillis: number): Promise<void>;
}

/** Registers the update, before anything is awaited; until a plan stands it is refused. */
export function createApproval(run: Run): Approval {
  let expected: string | null = null;
  let isConfirmed = false;
  setHandler(
    confirmUpdate,
    ({ planDigest }) => {
      // Checked here and not in the validator: history records what a handler refuses
      if (planDigest !== expected) throw failureOf(mismatch(planDigest, expected));
      isConfirmed = true;
    },
    {
      validator: (_confirmation: { readonly planDigest: string; readonly by: string }) => {
        if (expected === null || isConfirmed) {
          throw failureOf(new Stop('approval_mismatch', 'no approval is awaited', { digest: expected }));
        }
      },
    },
  );
  return {
    async awaited(digest, confirm, deadlineMillis) {
      if (confirm !== null) {
        if (confirm !== digest) throw mismatch(confirm, digest);
        return;
      }
      expected = digest;
      run.waiting();
      const approved = await condition(() => isConfirmed, deadlineMillis);
      await condition(allHandlersFinished);
      if (!approved) {
        throw new Stop('approval_expired', 'nobody confirmed the plan in time', { digest, deadlineMillis });
      }
    },
  };
}

function mismatch(given: string, digest: string | null): Stop {
  return new Stop('approval_mismatch', `the digest ${given} is not that of the plan`, { given, digest });
}
