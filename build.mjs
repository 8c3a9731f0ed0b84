// Builds dist/: compiles TypeScript, copies what is not code, and builds the workflow bundle ahead of time.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const run = (argv) => execFileSync(process.execPath, argv, { stdio: 'inherit' });
run(['node_modules/typescript/bin/tsc', '-p', '.']);
if (existsSync('dist/workers/build-bundle.js')) run(['dist/workers/build-bundle.js']);
