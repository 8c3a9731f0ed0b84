// What looks like a secret among settings that are about to be written down (clause H-6): values of a shape that keys are
// known to have, and values that look random. A refusal that was not needed costs a rename; a secret in a backup does not.

/** Shapes of keys by who gives them out. */
const SHAPES: readonly (readonly [why: string, shape: RegExp])[] = [
  ['a private key', /-----BEGIN [A-Z ]*PRIVATE KEY/],
  ['an age identity', /AGE-SECRET-KEY-/i],
  ['an API key (sk-…)', /\bsk-[A-Za-z0-9_-]{16,}/],
  ['a Telegram bot token', /\b\d{6,12}:[A-Za-z0-9_-]{30,}/],
  ['an AWS access key', /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/],
  ['a Google API key', /\bAIza[A-Za-z0-9_-]{30,}/],
  ['a GitHub token', /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})/],
  ['a Slack token', /\bxox[abeprs]-[A-Za-z0-9-]{10,}/],
  ['a JSON Web Token', /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\./],
  ['a password in an address', /\/\/[^/\s:@]*:[^/\s@]+@/],
];

/** Names and words are shorter, or have fewer different characters for their length. */
const RANDOM_CHARACTERS_MIN = 20;
const RANDOM_BITS_MIN = 3.6;
/** Between these a value is made of words; what keys have of them leaves parts that are long enough. */
const SEPARATORS = /[^A-Za-z0-9+=]+/;

/** @returns the first setting whose value looks like a secret, and why; null: none does */
export function findSecret(
  settings: Readonly<Record<string, string | null>>,
): { readonly name: string; readonly why: string } | null {
  for (const [name, value] of Object.entries(settings)) {
    if (value === null) continue;
    const why = SHAPES.find(([, shape]) => shape.test(value))?.[0] ?? (looksRandom(value) ? 'it looks random' : null);
    if (why !== null) return { name, why };
  }
  return null;
}

/** Letters and digits in no order that words have: many different ones, of more than one kind. */
function looksRandom(value: string): boolean {
  return value
    .split(SEPARATORS)
    .some(
      (part) =>
        part.length >= RANDOM_CHARACTERS_MIN &&
        /\d/.test(part) &&
        /[A-Za-z]/.test(part) &&
        entropyBits(part) >= (/^[0-9a-f-]+$/i.test(part) ? RANDOM_HEX_BITS_MIN : RANDOM_BITS_MIN),
    );
}

/** Sixteen digits carry at most four bits each. */
const RANDOM_HEX_BITS_MIN = 3;

/** Shannon's, of one character. */
function entropyBits(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  return [...counts.values()].reduce((bits, count) => bits - (count / text.length) * Math.log2(count / text.length), 0);
}
