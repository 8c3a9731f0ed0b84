// Builds the workflow bundle ahead of time, so that no worker runs webpack. Run by build.mjs after the compiler; the
// bundle appears whole or not at all.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { BUNDLE_PATH, WORKFLOWS_PATH } from './bundle.js';

async function buildBundle(): Promise<void> {
  const { code } = await bundleWorkflowCode({ workflowsPath: WORKFLOWS_PATH, logger: new DefaultLogger('WARN') });
  const made = `${BUNDLE_PATH}.new`;
  const descriptor = openSync(made, 'w');
  writeSync(descriptor, code);
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(made, BUNDLE_PATH);
}

// A checkout without the room has nothing to bundle; one with it has to succeed
if (existsSync(fileURLToPath(new URL('../../workflows', import.meta.url)))) await buildBundle();
