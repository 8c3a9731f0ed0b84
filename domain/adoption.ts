// Adoption: one backup of a vault is used although the vault does not believe the key that signed it, because a person has
// said which key that is (SM-12). What the plan, the report and the audit log say of it. Pure.
import type { StopCode } from './stop.js';

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

/** The STOPs that an adoption overrules: each is about who signed, and none about what. */
export const ADOPTABLE = ['signer_unknown', 'signer_revoked', 'signer_expired'] as const satisfies readonly StopCode[];
export type Adoptable = (typeof ADOPTABLE)[number];

export interface Adopted {
  /** Fingerprint of the key. */
  readonly signer: string;
  /** The STOP that is overruled. */
  readonly reason: Adoptable;
}

export function isAdoptable(code: StopCode): code is Adoptable {
  return ADOPTABLE.some((each) => each === code);
}

/** For the sentence that is approved. */
export function adoptedInWords({ signer, reason }: Adopted): string {
  return `signed by ${signer}, whom this vault does not trust (${reason}), and adopted`;
}
