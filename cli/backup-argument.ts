// How every command takes the backup that it is about: by name, or by the time whose state is wanted.
import { FINGERPRINT } from '../domain/adoption.js';
import { referenceAt } from '../domain/backup-reference.js';
import type { RestoreSource } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';

export const BACKUP_TEXT = '`latest`, a backup id, name or number, a unique prefix of one, or a path';

export const AT_FLAGS = '--at <time>';
export const AT_TEXT = 'the newest backup that shows no later state, by an RFC 3339 time, instead of a backup';

export interface AtOption {
  readonly at?: string;
}

/**
 * What the protocols call the backup.
 * @param otherwise where neither is given; undefined: one of them must be
 * @throws Stop usage for both, for neither, and for a time that is none
 */
export function backupOf(backup: string | undefined, { at }: AtOption, otherwise?: string): string {
  if (backup !== undefined && at !== undefined)
    throw new Stop('usage', 'a backup and a time: one of them names the backup', { backup, at });
  const reference = at === undefined ? (backup ?? otherwise) : referenceAt(at);
  if (reference === undefined) throw new Stop('usage', 'name a backup, or give --at', {});
  return reference;
}

/** Where a path follows the backup: with --at the first word is the path. @throws Stop usage as backupOf */
export function backupAndPath(
  words: readonly [string | undefined, string | undefined],
  { at }: AtOption,
): { readonly backup: string; readonly path: string | undefined } {
  const [first, second] = words;
  if (at === undefined) return { backup: backupOf(first, {}), path: second };
  return { backup: backupOf(second === undefined ? undefined : first, { at }), path: first };
}

export const FROM = ['--from <store>', 'the backup is of that store, and this one is new'] as const;
export const ADOPT = [
  '--adopt <fingerprint>',
  'of the key that signed the backup: believe it for this one, although its vault does not',
] as const;

export interface SourceOptions extends AtOption {
  readonly from?: string;
  readonly adopt?: string;
}

/** A backup that a store is to be replaced by. @throws Stop usage as backupOf, and for what is no fingerprint */
export function backupSource(
  backup: string | undefined,
  { at, from, adopt }: SourceOptions,
  otherwise?: string,
): RestoreSource {
  return {
    kind: 'backup',
    backup: backupOf(backup, at === undefined ? {} : { at }, otherwise),
    ...(from !== undefined && { from }),
    ...(adopt !== undefined && { adopt: fingerprintOption('--adopt', adopt) }),
  };
}

/** @throws Stop usage */
export function fingerprintOption(option: string, value: string): string {
  if (FINGERPRINT.test(value)) return value;
  throw new Stop('usage', `${option} takes a fingerprint as \`ssh-keygen -l\` prints it, SHA256:…`, {
    [option]: value,
  });
}
