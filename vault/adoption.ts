// An envelope whose signature is sound, and whose signer the trust doesn't believe: refused, unless a person names the very
// key that signed it (SM-12). docs/vault-format.md "Signatures and roles".
import { isAdoptable } from '../domain/adoption.js';
import type { Adopted } from '../domain/adoption.js';
import { Stop } from '../domain/stop.js';
import type { ChainEntry } from './envelopes.js';

/**
 * @param signer fingerprint of the key that is to be believed for this one; undefined: only those that the trust believes
 * @returns null: it is believed, whoever is adopted
 * @throws Stop that of the entry where an adoption does not overrule it; signer_unknown where another key signed it
 */
export function adoptionOf(
  { number, signedBy, stop }: Pick<ChainEntry, 'number' | 'signedBy' | 'stop'>,
  store: string,
  signer: string | undefined,
): Adopted | null {
  if (stop === null) return null;
  if (signer === undefined || !isAdoptable(stop.code)) throw stop;
  if (signedBy === signer) return { signer, reason: stop.code };
  throw new Stop(
    'signer_unknown',
    `backup ${number} of ${store} is signed by key ${signedBy}, and not by ${signer}, which is to be adopted`,
    { store, number, key: signedBy, adopt: signer, reason: stop.code },
  );
}
