// How backups of a vault are named: what names two of them is refused, and so is what names none.
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Envelope } from '../../domain/vault.js';
import { findInVault } from '../../vault/catalogue.js';
import { commitEnvelope } from '../../vault/envelopes.js';
import { NOW, envelopeOf, makeTrustRoom, refusal } from './trust-room.js';

describe('the name of a backup', () => {
  test('is its number, its id, a prefix that no other has, or latest', async () => {
    const { vault, host } = await makeTrustRoom();
    let previous: string | null = null;
    const ids: string[] = [];
    for (const [index, prefix] of ['aaaa1111', 'aaaa2222', '12345678'].entries()) {
      const backupId = `${prefix}${randomUUID().slice(8)}`;
      ids.push(backupId);
      const envelope: Envelope = { ...envelopeOf(vault, index + 1, previous), backupId };
      previous = (await commitEnvelope(vault, envelope, host.file)).sha256;
    }
    const [first = ''] = ids;
    const find = (reference: string): Promise<number> =>
      findInVault(vault, 'shop', reference, { now: NOW, known: null });
    expect(await Promise.all([first, 'aaaa1', '12345678', '2', 'latest'].map(find))).toEqual([1, 1, 3, 2, 3]);
    expect(await refusal(find('aaaa'))).toMatchObject({
      code: 'ambiguous_intent',
      details: { candidates: [`1 ${first}`, `2 ${ids[1] ?? ''}`] },
    });
    // So few digits are a number, whatever ids begin with
    for (const reference of ['1234567', 'bbbb', '0'])
      expect((await refusal(find(reference).then((number) => vaultHas(number)))).code).toBe('artefact_missing');

    async function vaultHas(number: number): Promise<void> {
      const { readEnvelope } = await import('../../vault/envelopes.js');
      await readEnvelope(vault, 'shop', number, { now: NOW });
    }
  });
});
