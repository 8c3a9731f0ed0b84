// Clauses SM-4 and SM-7 on an empty host: what the backups in a vault have witnessed holds where nothing else remembers.
// Real engine, real keys.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StopCode } from '../../../domain/stop.js';
import { publishTrust } from '../../../vault/trust.js';
import { TEST_HOST, stopOf, useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { LATEST, makeStore, sql } from '../../support/store.js';
import type { TestStore } from '../../support/store.js';
import { allow, makeSshKey } from '../../vault/trust-room.js';
import { makeVaultFor } from '../../vault/vault-of-engine.js';
import type { TestVault } from '../../vault/vault-of-engine.js';

const ITEM = { table: 'item', column: 'id' } as const;
const first = { kind: 'backup', backup: '1' } as const;

describe.skipIf(requires('temporal', 'age'))('an empty host', () => {
  const engine = useEngine();

  async function storeIn(purpose: string): Promise<{ readonly vault: TestVault; readonly store: TestStore }> {
    const vault = await makeVaultFor(engine(), purpose);
    const databases = [{ path: 'a.db', sequences: [ITEM], appendOnly: [ITEM] }];
    return { vault, store: makeStore(engine(), purpose, { databases, backup: { vault: vault.name } }) };
  }

  /** Neither the store nor what this host knew of it is left. */
  function loseAll(store: TestStore): void {
    for (const directory of [store.root, store.controlDirectory]) rmSync(directory, { recursive: true, force: true });
    rmSync(join(engine().directory, 'state', 'stores', `${store.name}.json`));
    mkdirSync(store.root);
  }

  async function refusal(store: TestStore, code: StopCode): Promise<object> {
    const stop = await stopOf(store.restore(first));
    expect(stop.code).toBe(code);
    return stop.details;
  }

  test('SM-4: does not go below the newest backup in the vault, and comes back from it', async () => {
    const { store } = await storeIn('floor');
    await store.backup();
    store.addItem('four');
    await store.backup();
    loseAll(store);
    expect(await refusal(store, 'sequence_rewind')).toMatchObject({
      floor: '4',
      wouldBe: '3',
      seenIn: `vault:floor/${store.name}/2`,
    });
    await store.restore(LATEST);
    expect(store.items()).toHaveLength(4);
  });

  test('SM-4: takes no floor from a backup whose signer nobody vouches for', async () => {
    const { vault, store } = await storeIn('forged');
    await store.backup();
    const stranger = makeSshKey(store.directory, 'stranger');
    const act = { adminKeyFile: vault.admin.file, now: new Date().toISOString() };
    const allowedSigners = vault.open.trust.allowedSigners;
    const open = await publishTrust(
      vault.open,
      { allowedSigners: allowedSigners + allow(TEST_HOST, 'holdfast', stranger) },
      act,
    );
    vault.settle({ signs: stranger });
    store.addItem('four');
    await store.backup();
    await publishTrust(open, { allowedSigners }, act);
    loseAll(store);
    expect((await stopOf(store.restore(LATEST))).code).toBe('signer_unknown');
    await store.restore(first);
    expect(store.items()).toHaveLength(3);
  });

  test('SM-7: does not take accepted rows that differ from those of the newest backup', async () => {
    const { store } = await storeIn('rows');
    await store.backup();
    sql(store.path('a.db'), "UPDATE item SET v = 'rewritten' WHERE id = 2");
    await store.backup();
    loseAll(store);
    expect(await refusal(store, 'history_rewritten')).toMatchObject({ table: 'item', upTo: '3' });
    await store.restore(LATEST);
    expect(store.items()).toEqual(['one', 'rewritten', 'three']);
  });
});
