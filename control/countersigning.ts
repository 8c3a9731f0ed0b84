// A recovery worker vouches for what it has verified: the trusted time of a backup whose host's key is revoked or expires
// later (docs/vault-format.md "Signatures and roles").
import { randomUUID } from 'node:crypto';
import { NAMESPACES } from '../domain/vault.js';
import { countersign, readCountersignatures } from '../vault/countersignatures.js';
import type { Head } from '../vault/envelopes.js';
import { fingerprintOf, publicKeyOf } from '../vault/signatures.js';
import { judge } from '../vault/signers.js';
import { now } from './clock.js';
import type { VaultRoom } from './vault-room.js';

/**
 * Countersigns backups, but for those that the same key vouches for already, no less deeply: it would say nothing more.
 * @param heads of the bytes that were verified
 * @returns false: the settings have no key that may
 * @throws Stop ssh_keygen_failed, secret_exposed, no_space, permission_denied, io_error
 */
export async function countersignAll(
  { settings: { signingKeyFile }, vault }: VaultRoom,
  store: string,
  heads: readonly Head[],
  depth: 'sample' | 'full',
): Promise<boolean> {
  if (signingKeyFile === null) return false;
  const fingerprint = fingerprintOf(await publicKeyOf(signingKeyFile));
  const claim = { principal: null, namespace: NAMESPACES.verify, fingerprint, at: now() };
  if (judge(vault.trust.signers, claim) !== 'believed') return false;
  for (const { number, sha256 } of heads) {
    const known = await readCountersignatures(vault, { store, number }, sha256, now());
    const isKnown = known.some(
      ({ verified, signedBy, stop }) =>
        stop === null && signedBy === fingerprint && (verified?.depth === 'full' || verified?.depth === depth),
    );
    if (isKnown) continue;
    const verified = { store, number, envelopeSha256: sha256, verifiedAt: now(), depth };
    await countersign(vault, verified, { id: randomUUID(), signingKeyFile });
  }
  return true;
}
