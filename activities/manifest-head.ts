// What a manifest says before its databases and entries, wherever the backup goes: package.ts, vault-package.ts.
import { endianness } from 'node:os';
import { readEpoch } from '../control/epoch.js';
import type { Manifest } from '../domain/manifest.js';
import { HOLDFAST_VERSION } from '../domain/version.js';
import { SQLITE_VERSION } from '../sqlite/version.js';
import type { Capture, CaptureFacts } from './capture.js';
import type { PackageInput } from './package.js';
import type { StepContext } from './step.js';

export type ManifestHead = Omit<Manifest, 'format' | 'databases' | 'entries' | 'documents'>;

/** But for its number, which a backup may get as it is published. */
export async function manifestHead(
  { operation, requestedBy, quiescedMillis }: PackageInput,
  { room, dependencies }: StepContext,
  { backupId, createdAt, cut }: Omit<Capture, 'vault'>,
  { application }: CaptureFacts,
): Promise<(number: number) => ManifestHead> {
  const epoch = await readEpoch(room.controlDirectory);
  return (number) => ({
    layout: room.definition.layout.name,
    backupId,
    number,
    operation,
    store: room.definition.store,
    createdAt,
    createdBy: requestedBy,
    host: dependencies.host,
    holdfastVersion: HOLDFAST_VERSION,
    platform: { os: process.platform, arch: process.arch, endianness: endianness(), sqliteVersion: SQLITE_VERSION },
    application,
    epoch,
    cut: { ...cut, quiescedMillis },
  });
}
