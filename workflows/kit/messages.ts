// The messages of workflows: literal names, one object each.
import { defineUpdate } from '@temporalio/workflow';

/** Approves the plan of a request; refused in the handler when the digest is another plan's. */
export const confirmUpdate = defineUpdate<void, [{ readonly planDigest: string; readonly by: string }]>('confirm');
