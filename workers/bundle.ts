// The workflow bundle: built ahead of time by build-bundle.ts, used by the worker and by replay tests. TEMPORAL.md 11.
import { fileURLToPath } from 'node:url';

/** dist/workflows/index.js, which only exports. */
export const WORKFLOWS_PATH = fileURLToPath(new URL('../workflows/index.js', import.meta.url));
export const BUNDLE_PATH = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));
