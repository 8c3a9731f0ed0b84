// Clause SM-12 on vaults: who signed a backup, which store it is of and whose vault it lies in are taken from nobody but a
// person who says so. Real engine, real keys.
import { cpSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readAudit } from '../../../control/audit.js';
import { executionId } from '../../../domain/names.js';
import type { RestoreSource } from '../../../domain/protocol.js';
import { OBJECTS } from '../../../domain/vault.js';
import { fingerprintOf } from '../../../vault/signatures.js';
import { publishTrust } from '../../../vault/trust.js';
import type { OpenVault, TrustChange } from '../../../vault/trust.js';
import { TEST_HOST, historyOf, stopOf, useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { LATEST, makeStore } from '../../support/store.js';
import type { TestStore } from '../../support/store.js';
import { allow, makeSshKey } from '../../vault/trust-room.js';
import type { SshKey } from '../../vault/trust-room.js';
import { makeVaultFor } from '../../vault/vault-of-engine.js';
import type { TestVault } from '../../vault/vault-of-engine.js';

describe.skipIf(requires('temporal', 'age'))('a backup whose signer nobody vouches for', () => {
  const engine = useEngine();
  const publish = (vault: TestVault, change: TrustChange, open = vault.open): Promise<OpenVault> =>
    publishTrust(open, change, { adminKeyFile: vault.admin.file, now: new Date().toISOString() });
  const by = (key: SshKey, backup = '1'): Extract<RestoreSource, { kind: 'backup' }> => ({
    kind: 'backup',
    backup,
    adopt: fingerprintOf(key.publicKey),
  });

  /** A vault of the test's own, with a store that has been backed up into it once and has moved on. */
  async function backedUp(purpose: string): Promise<{ readonly vault: TestVault; readonly store: TestStore }> {
    const vault = await makeVaultFor(engine(), purpose);
    const store = makeStore(engine(), purpose, { backup: { vault: vault.name } });
    await store.backup();
    store.addItem('newer');
    return { vault, store };
  }

  test('SM-12: by an unknown key is refused until that key is adopted; plan, history, report and audit log say so', async () => {
    const { vault, store } = await backedUp('unknown');
    const next = makeSshKey(store.directory, 'next');
    await publish(vault, { allowedSigners: allow(TEST_HOST, 'holdfast', next) });
    for (const source of [LATEST, { kind: 'backup', backup: '1' }] as const)
      expect((await stopOf(store.plan(source))).code).toBe('signer_unknown');
    expect(store.items()).toHaveLength(4);

    const adopted = { signer: fingerprintOf(vault.host.publicKey), reason: 'signer_unknown' };
    for (const name of ['latest', `at:${new Date().toISOString()}`])
      expect((await store.plan(by(vault.host, name))).plan.source).toMatchObject({ adopted });
    const { plan, digest } = await store.plan(by(vault.host));
    expect(plan.source).toMatchObject({ path: `vault:unknown/${store.name}/1`, adopted });
    expect(plan.sentence).toContain(
      `, signed by ${adopted.signer}, whom this vault does not trust (signer_unknown), and adopted: `,
    );
    const run = await engine().holdfast.restore(store.name, by(vault.host), digest, { requestedBy: 'somebody' });
    expect(await run.result()).toMatchObject({ protocol: 'restore', planDigest: digest, adopted });
    expect(store.items()).toHaveLength(3);
    const entries = (await readAudit(store.controlDirectory)).filter(({ event }) => event === 'signer adopted');
    expect(entries.map(({ details }) => details)).toEqual([
      {
        ...adopted,
        backup: `vault:unknown/${store.name}/1`,
        sha256: plan.source.sha256,
        plan: digest,
        requestedBy: 'somebody',
      },
    ]);
    const [started] = await historyOf(engine(), executionId(store.name));
    const input = started?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    expect(JSON.parse(Buffer.from(input ?? []).toString())).toMatchObject({
      source: { adopt: adopted.signer },
      approved: { plan: { source: { adopted } } },
    });
    // It was for that one: the next is asked about again
    expect((await stopOf(store.plan({ kind: 'backup', backup: '1' }))).code).toBe('signer_unknown');
  });

  test('SM-12: by a revoked key is restored for whoever adopts that key, and for no other', async () => {
    const { vault, store } = await backedUp('revoked');
    const next = makeSshKey(store.directory, 'next');
    const allowedSigners = vault.open.trust.allowedSigners + allow(TEST_HOST, 'holdfast', next);
    await publish(vault, { allowedSigners, revokedKeys: `${vault.host.publicKey}\n` });
    const stop = await stopOf(store.plan(by(next)));
    expect([stop.code, stop.details['key'], stop.details['adopt']]).toEqual([
      'signer_unknown',
      fingerprintOf(vault.host.publicKey),
      fingerprintOf(next.publicKey),
    ]);
    for (const suffix of ['', '.pub']) cpSync(next.file + suffix, vault.host.file + suffix);
    await store.backup();
    // The one after it is believed, and needs nobody's word
    expect((await stopOf(store.plan(by(vault.host, '2')))).code).toBe('adoption_not_needed');
    expect((await stopOf(store.plan(by(next, 'latest')))).code).toBe('adoption_not_needed');
    expect(await store.restore(by(vault.host))).toMatchObject({ adopted: { reason: 'signer_revoked' } });
    expect(store.items()).toHaveLength(3);
    expect(await store.restore(LATEST)).not.toHaveProperty('adopted');
    expect(store.items()).toHaveLength(4);
  });

  test('SM-12: the approval of a plan without an adoption is none of one with it, nor the other way round', async () => {
    const { vault, store } = await backedUp('approved');
    const first: RestoreSource = { kind: 'backup', backup: '1' };
    const believed = await store.plan(first);
    const open = await publish(vault, { revokedKeys: `${vault.host.publicKey}\n` });
    const adopted = await store.plan(by(vault.host));
    expect(adopted.digest).not.toBe(believed.digest);
    const codeOf = async (source: RestoreSource, digest: string): Promise<string> => {
      const run = await engine().holdfast.restore(store.name, source, digest, { requestedBy: 'test' });
      return (await stopOf(run.result())).code;
    };
    expect(await codeOf(by(vault.host), believed.digest)).toBe('plan_stale');
    expect(await codeOf(first, adopted.digest)).toBe('signer_revoked');
    await publish(vault, { revokedKeys: '' }, open);
    expect(await codeOf(first, adopted.digest)).toBe('plan_stale');
    expect(await codeOf(by(vault.host), adopted.digest)).toBe('adoption_not_needed');
    expect(store.items()).toHaveLength(4);
    expect(store.leftovers()).toEqual([]);
  });

  test('SM-12: in a directory nothing is signed, and there is nobody to adopt', async () => {
    const store = makeStore(engine(), 'plain');
    const { artefact } = await store.backup();
    const key = makeSshKey(store.directory, 'key');
    for (const backup of ['latest', artefact])
      expect((await stopOf(store.plan(by(key, backup)))).code).toBe('adoption_not_needed');
    const malformed = { kind: 'backup', backup: 'latest', adopt: 'SHA256:short' } as const;
    expect((await stopOf(store.plan(malformed))).code).toBe('usage');
  });

  test('SM-12: whoever is adopted, what was signed is held to its signature, and every pack to its digest', async () => {
    const { vault, store } = await backedUp('changed');
    await publish(vault, { revokedKeys: `${vault.host.publicKey}\n` });
    const before = await store.digest();
    for (const name of packsOf(vault)) {
      const path = join(vault.directory, 'packs', name);
      const bytes = readFileSync(path);
      bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    }
    expect((await stopOf(store.restore(by(vault.host)))).code).toBe('vault_invalid');
    const envelope = join(vault.directory, OBJECTS.envelope(store.name, 1));
    writeFileSync(envelope, readFileSync(envelope, 'utf8').replace('"files":3', '"files":4'));
    expect((await stopOf(store.plan(by(vault.host)))).code).toBe('signature_invalid');
    expect(await store.digest()).toBe(before);
  });

  test('SM-12: of another store, in a vault whose signers nobody here knows, takes both to be said', async () => {
    const { vault, store } = await backedUp('theirs');
    await publish(vault, { allowedSigners: '' });
    const fresh = makeStore(engine(), 'ours');
    rmSync(fresh.root, { recursive: true });
    const backup = `vault:theirs/${store.name}/1`;
    const adopted = by(vault.host, backup);
    expect((await stopOf(fresh.plan({ kind: 'backup', backup }))).code).toBe('signer_unknown');
    expect((await stopOf(fresh.plan({ kind: 'backup', backup, from: store.name }))).code).toBe('signer_unknown');
    expect((await stopOf(fresh.plan(adopted))).code).toBe('store_differs');
    const { plan } = await fresh.plan({ ...adopted, from: store.name });
    expect(plan.sentence).toMatch(
      /anew from backup .* of store theirs-\d+, signed by SHA256:\S+, whom .*, and adopted: a store/,
    );
    await fresh.restore({ ...adopted, from: store.name });
    expect(fresh.items()).toHaveLength(3);
  });
});

const packsOf = ({ directory }: TestVault): readonly string[] =>
  readdirSync(join(directory, 'packs'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(directory, 'packs', name)).isFile(),
  );
