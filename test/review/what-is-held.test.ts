// What a step holds itself to: files that were listed in the middle of a cut, and the space that several roots share.
// Clauses F-3, SM-1, SM-9.
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { membersOf } from '../../activities/members.js';
import { artefactSink } from '../../activities/sink.js';
import { assertSpace } from '../../activities/stage.js';
import { assertNothingChanged, copyTrees } from '../../activities/trees.js';
import { beginArtefact, capturePath } from '../../artefacts/artefact.js';
import { roomOf } from '../../control/store-room.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { FileEntry } from '../../domain/manifest.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import { stopOf } from '../support/engine.js';

async function roomWith(policy: 'immutable' | 'verify', ...names: readonly string[]): Promise<StoreRoom> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-held-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const roots = Object.fromEntries(
    names.map((name) => [name, { path: join(directory, name), trees: [{ path: '.', policy }] }]),
  );
  for (const { path } of Object.values(roots)) mkdirSync(path);
  return roomOf(
    toStoreDefinition(
      storeDefinitionSchema.parse({
        holdfast: 1,
        store: 'held',
        roots,
        backup: { destination: join(directory, 'backups') },
      }),
    ),
  );
}

describe('backup.snapshot: a file that appears in an immutable tree during the cut', () => {
  const instant = { instant: '', pauseMillis: 0, lockTries: 0, waitedMillis: 0, statAtCut: [] };

  /** Copies a tree in which `added` appears after the first walk. */
  async function copied(): Promise<{ readonly live: string; readonly check: () => Promise<void> }> {
    const room = await roomWith('immutable', 'data');
    const live = room.roots[0]?.definition.path ?? '';
    const partial = join(live, '..', 'partial');
    await beginArtefact(partial);
    writeFileSync(join(live, 'first'), 'first');
    const before = await membersOf(room);
    writeFileSync(join(live, 'added'), 'half');
    const { listed } = await copyTrees(
      { room, report: () => undefined },
      artefactSink(partial),
      before,
      instant,
      '2026-01-01T00:00:00Z',
      new AbortController().signal,
    );
    expect(readFileSync(capturePath(partial, { root: 'data', path: 'added' }), 'utf8')).toBe('half');
    return { live, check: () => assertNothingChanged(room, before, listed) };
  }

  test('and is still written to after it was copied is source_changed', async () => {
    const { live, check } = await copied();
    appendFileSync(join(live, 'added'), ' and half');
    const stop = await stopOf(check());
    expect([stop.code, stop.details['path']]).toEqual(['source_changed', 'added']);
  });

  test('and stays as it is is captured; what appears later still is left to the next backup', async () => {
    const { live, check } = await copied();
    writeFileSync(join(live, 'later'), 'later');
    await check();
  });
});

describe('restore.stage: roots on one filesystem', () => {
  test('need the sum of their bytes to be free', async () => {
    const room = await roomWith('verify', 'data', 'logs');
    const { bavail, bsize } = statfsSync(tmpdir());
    const file = (root: string, share: number): FileEntry => ({
      type: 'file',
      root,
      path: 'large',
      sizeBytes: Math.floor(bavail * bsize * share),
      sha256: '0'.repeat(64),
      mode: 0o600,
      uid: 0,
      gid: 0,
      mtimeNanos: '0',
    });
    await assertSpace(room.roots, [file('data', 0.2), file('logs', 0.2)]);
    const stop = await stopOf(assertSpace(room.roots, [file('data', 0.7), file('logs', 0.7)]));
    expect(stop.code).toBe('no_space');
  });
});
