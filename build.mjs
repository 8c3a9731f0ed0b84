// Builds dist/: compiles TypeScript, copies what is not code, and builds the workflow bundle ahead of time.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync } from 'node:fs';

const run = (argv) => execFileSync(process.execPath, argv, { stdio: 'inherit' });
run(['node_modules/typescript/bin/tsc', '-p', '.']);
cpSync('cli/shells', 'dist/cli/shells', { recursive: true });
if (existsSync('vault/recover.sh')) cpSync('vault/recover.sh', 'dist/vault/recover.sh');
// A link to it is all that an installation needs
chmodSync('dist/cli/main.js', 0o755);
if (existsSync('dist/workers/build-bundle.js')) run(['dist/workers/build-bundle.js']);
