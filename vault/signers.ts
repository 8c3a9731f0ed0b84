// Who may sign what: allowed_signers and revoked_keys of a vault's trust, read strictly. Both are OpenSSH's files, and
// ssh-keygen judges by them as this does; but lines that OpenSSH would take in a wider sense than people see don't count here:
// those without namespaces, certificate authorities, patterns, and times of whatever zone the machine is in.
import { Stop } from '../domain/stop.js';
import { fingerprintOfKey, parsePublicKey } from './ssh-signature.js';

export interface Signer {
  /** Host or person. */
  readonly principal: string;
  readonly namespaces: readonly string[];
  /** `SHA256:…` */
  readonly fingerprint: string;
  readonly key: Buffer;
  /** RFC 3339; null: from ever, for ever. */
  readonly validAfter: string | null;
  readonly validBefore: string | null;
}

export interface Signers {
  readonly signers: readonly Signer[];
  /** Fingerprints. */
  readonly revoked: ReadonlySet<string>;
  /** Lines of allowed_signers that say nothing here, and why. */
  readonly ignored: readonly { readonly line: number; readonly why: string }[];
}

/**
 * @param allowedSigners text of that file
 * @param revokedKeys text: a public key a line
 * @throws Stop vault_invalid where a line of revokedKeys is no public key: passed over, it would be believed
 */
export function parseSigners(allowedSigners: string, revokedKeys: string): Signers {
  const signers: Signer[] = [];
  const ignored: { line: number; why: string }[] = [];
  for (const { line, text } of linesOf(allowedSigners)) {
    const found = parseSigner(text);
    if (typeof found === 'string') ignored.push({ line, why: found });
    else signers.push(...found);
  }
  const revoked = linesOf(revokedKeys).map(({ line, text }) => {
    const key = parsePublicKey(text);
    if (key === null)
      throw new Stop('vault_invalid', `line ${line} of revoked_keys is no public key`, {
        object: 'revoked_keys',
        line,
      });
    return fingerprintOfKey(key);
  });
  return { signers, revoked: new Set(revoked), ignored };
}

export interface Claim {
  /** null: whoever has the namespace. */
  readonly principal: string | null;
  readonly namespace: string;
  /** Of the key that signed. */
  readonly fingerprint: string;
  /** RFC 3339: the time at which it must be believed. */
  readonly at: string;
}

export type Verdict = 'believed' | 'signer_unknown' | 'signer_revoked' | 'signer_expired';

/** Whether a key is believed for a principal and namespace at a time; whether it signed anything is another question. */
export function judge({ signers, revoked }: Signers, { principal, namespace, fingerprint, at }: Claim): Verdict {
  const lines = signers.filter(
    (signer) =>
      (principal === null || signer.principal === principal) &&
      signer.fingerprint === fingerprint &&
      signer.namespaces.includes(namespace),
  );
  if (lines.length === 0) return 'signer_unknown';
  if (revoked.has(fingerprint)) return 'signer_revoked';
  const when = Date.parse(at);
  const begun = lines.filter(({ validAfter }) => validAfter === null || Date.parse(validAfter) <= when);
  if (begun.length === 0) return 'signer_unknown';
  return begun.some(({ validBefore }) => validBefore === null || when <= Date.parse(validBefore))
    ? 'believed'
    : 'signer_expired';
}

/**
 * A line of allowed_signers.
 * @param publicKey `<type> <base64>`
 * @param until `YYYY-MM-DD`, the last day on which it is not yet expired; null: for ever
 * @throws Stop usage where the principal is none, or the day
 */
export function signerLine(principal: string, namespace: string, publicKey: string, until: string | null): string {
  if (!isPrincipal(principal))
    throw new Stop('usage', `${JSON.stringify(principal)} is no name of a host or person`, { principal });
  const validBefore = until === null ? '' : `,valid-before="${until.replaceAll('-', '')}235959Z"`;
  const line = `${principal} namespaces="${namespace}"${validBefore} ${publicKey}\n`;
  if ((until !== null && !/^\d{4}-\d\d-\d\d$/.test(until)) || parseSigners(line, '').signers.length !== 1)
    throw new Stop('usage', `${until} is no day: YYYY-MM-DD`, { until });
  return line;
}

function linesOf(text: string): readonly { readonly line: number; readonly text: string }[] {
  return text
    .split('\n')
    .map((line, index) => ({ line: index + 1, text: line.trim() }))
    .filter((line) => line.text !== '' && !line.text.startsWith('#'));
}

const PRINCIPAL = /^[A-Za-z0-9_][A-Za-z0-9_.@-]*$/;
const NAMESPACE = /^[A-Za-z0-9_.@-]+$/;

/** Whether a name can be a principal: no patterns, no lists, no quotes. */
export function isPrincipal(name: string): boolean {
  return PRINCIPAL.test(name);
}

/** One a principal; a text says why the line doesn't count. */
function parseSigner(line: string): readonly Signer[] | string {
  const parts = /^(\S+)[ \t]+((?:[^ \t"]|"[^"]*")+)[ \t]+(.*)$/.exec(line);
  const [, names = '', options = '', rest = ''] = parts ?? [];
  if (parts === null || parsePublicKey(`${options} ${rest}`) !== null) return 'it has no namespaces';
  const principals = names.split(',');
  if (!principals.every(isPrincipal)) return 'principals are written out: no patterns, no quotes';
  const found = parseOptions(options);
  if (typeof found === 'string') return found;
  const key = parsePublicKey(rest);
  if (key === null) return 'it has no public key';
  return principals.map((principal) => ({ principal, ...found, key, fingerprint: fingerprintOfKey(key) }));
}

type Options = Pick<Signer, 'namespaces' | 'validAfter' | 'validBefore'>;

function parseOptions(text: string): Options | string {
  const options = new Map<string, string>();
  for (const part of text.match(/(?:[^,"]|"[^"]*")+/g) ?? []) {
    const [, name = '', value = ''] = /^([a-z-]+)="([^"]*)"$/i.exec(part) ?? [];
    const option = name.toLowerCase();
    if (!['namespaces', 'valid-after', 'valid-before'].includes(option) || options.has(option))
      return `an option that says nothing here: ${part.slice(0, 40)}`;
    options.set(option, value);
  }
  const namespaces = options.get('namespaces')?.split(',') ?? [];
  if (namespaces.length === 0 || !namespaces.every((name) => NAMESPACE.test(name)))
    return 'it has no namespaces, or patterns';
  const validAfter = instantOf(options.get('valid-after'));
  const validBefore = instantOf(options.get('valid-before'));
  if (validAfter === undefined || validBefore === undefined)
    return 'times are written in UTC, with a Z: YYYYMMDDZ, YYYYMMDDHHMM[SS]Z';
  return { namespaces, validAfter, validBefore };
}

/** null: none is given; undefined: it is none. */
function instantOf(text: string | undefined): string | null | undefined {
  if (text === undefined) return null;
  const parts = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?Z$/.exec(text);
  if (parts === null) return undefined;
  const [, year, month, day, hours = '00', minutes = '00', seconds = '00'] = parts;
  const instant = `${year}-${month}-${day}T${hours}:${minutes}:${seconds}.000Z`;
  const millis = Date.parse(instant);
  // A 31st of February is another day to Date, and none to people
  return !Number.isNaN(millis) && new Date(millis).toISOString() === instant ? instant : undefined;
}
