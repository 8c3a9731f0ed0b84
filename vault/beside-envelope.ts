// What lies beside an envelope, and what is wrong with the vault's own bytes, as against what hinders us from reading them.
import { Stop } from '../domain/stop.js';

const ID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
/** What lies in the directory of an envelope: its name, the id in it, and what it is. */
export const BESIDE_ENVELOPE = new RegExp(
  `^(?:envelope\\.json|(${ID})\\.(manifest\\.age|envelope\\.sig|verified\\.json|verified\\.sig))$`,
);

export function foreignObject(name: string, found: object = {}): Stop {
  return new Stop('vault_object_foreign', `${name} does not belong there`, { object: name, ...found });
}

/** What is wrong with the vault's bytes, as against what hinders us from reading them. */
const OWN: ReadonlySet<string> = new Set([
  'vault_invalid',
  'vault_newer',
  'vault_object_foreign',
  'vault_object_missing',
  'signature_invalid',
  'signer_unknown',
  'signer_revoked',
  'signer_expired',
]);

/** What is wrong is in the vault, and is told of the object alone. */
export function isOwnFault(error: unknown): error is Stop {
  return error instanceof Stop && OWN.has(error.code);
}
