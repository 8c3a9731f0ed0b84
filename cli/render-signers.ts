// Whom a vault believes, as `keys list` and `keys adopt` show it.
import { NAMESPACES } from '../domain/vault.js';
import type { Role } from '../domain/vault.js';
import type { Signer, Signers } from '../vault/signers.js';
import { table } from './output.js';

export interface SignerFact extends Pick<Signer, 'principal' | 'validAfter' | 'validBefore'> {
  readonly roles: readonly string[];
  /** Fingerprint. */
  readonly key: string;
  readonly isRevoked: boolean;
}

export function signerFacts({ signers, revoked }: Signers): readonly SignerFact[] {
  return signers.map((signer) => ({
    principal: signer.principal,
    roles: rolesOf(signer),
    key: signer.fingerprint,
    validAfter: signer.validAfter,
    validBefore: signer.validBefore,
    isRevoked: revoked.has(signer.fingerprint),
  }));
}

export function signerTable(facts: readonly SignerFact[]): readonly string[] {
  const rows = facts.map(({ principal, roles, key, validBefore, isRevoked }) => {
    const until = validBefore === null ? '' : `until ${validBefore}`;
    return [principal, roles.join(', '), key, isRevoked ? 'revoked' : until];
  });
  return table([['who', 'may', 'with the key', ''], ...rows]).map((line) => line.trimEnd());
}

function rolesOf({ namespaces }: Signer): readonly string[] {
  const roles = Object.keys(NAMESPACES) as readonly Role[];
  return namespaces.map((namespace) => roles.find((role) => NAMESPACES[role] === namespace) ?? namespace);
}
