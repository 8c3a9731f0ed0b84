// The house of one run of the demo: a temporary directory with everything in it, and the definition of its store.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesystemKind } from '../files/mounts.js';

export const STORE = 'demo';
/** Name of the store's one root. */
export const ROOT = 'data';
export const TREE = 'files';
export const DATABASES = ['a.db', 'b.db', 'c.db'] as const;

export interface House {
  readonly directory: string;
  /** Of holdfast: engine, sockets, logs. */
  readonly state: string;
  readonly definitions: string;
  /** Of the application: who owns it, its log, files that are being written. On the root's filesystem. */
  readonly application: string;
  /** What is protected. */
  readonly root: string;
  readonly backups: string;
  /** Copies of a backup, to be tampered with. */
  readonly tampered: string;
}

export function houseAt(directory: string): House {
  const at = (name: string): string => join(directory, name);
  return {
    directory,
    state: at('state'),
    definitions: at('definitions'),
    application: at('application'),
    root: at('live'),
    backups: at('backups'),
    tampered: at('tampered'),
  };
}

/** Builds a fresh house where a store may live: not in memory, which many systems have at /tmp. */
export async function buildHouse(): Promise<House> {
  const candidates = [tmpdir(), '/var/tmp', homedir()];
  const kinds = await Promise.all(candidates.map((path) => filesystemKind(path)));
  const base = candidates[kinds.findIndex((kind) => kind !== 'tmpfs' && kind !== 'ramfs')] ?? tmpdir();
  const house = houseAt(mkdtempSync(join(base, 'holdfast-demo-')));
  for (const path of [house.definitions, house.application, join(house.root, TREE), house.tampered]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
  }
  mkdirSync(join(house.application, 'incoming'));
  writeFileSync(join(house.definitions, `${STORE}.yaml`), definitionOf(house), { mode: 0o644 });
  return house;
}

/** The worker and its engine read this environment only; a cluster that TEMPORAL_* names has no part in the demo. */
export function environmentOf(house: House): Readonly<Record<string, string | undefined>> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return {
    ...Object.fromEntries(inherited),
    HOLDFAST_STATE_DIRECTORY: house.state,
    HOLDFAST_DEFINITIONS_DIRECTORY: house.definitions,
  };
}

export const HOOK_PROGRAM = fileURLToPath(new URL('./hook.js', import.meta.url));

/** JSON strings are YAML strings, whatever the temporary directory is called. */
function definitionOf(house: House): string {
  const hook = (name: string): string =>
    `  ${name}: { argv: ${JSON.stringify([process.execPath, HOOK_PROGRAM, name, house.directory])} }`;
  return `holdfast: 1
store: ${STORE}
roots:
  ${ROOT}:
    path: ${JSON.stringify(house.root)}
    databases:
      # A sequence never goes back. That of a.db can be restored because the live a.db will be beyond reading.
      - path: a.db
        requiredTables: [entry]
        sequences: [{ table: entry, column: id }]
      - path: b.db
        requiredTables: [entry]
      - path: c.db
        requiredTables: [file]
    trees:
      - path: ${TREE}
        policy: immutable
hooks:
${['detach', 'attach', 'verify'].map(hook).join('\n')}
backup:
  destination: ${JSON.stringify(house.backups)}
`;
}
