// Vault keys and who opens them: the identity of a vault key is sealed to people; people's identities come from a file or a
// command, on the recovery host alone. Secrets are in no argument, message, detail or log. docs/vault-format.md "Terms".
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { VaultKey, VaultSettings } from '../domain/vault.js';
import { translating } from '../files/errors.js';
import type { OpenVault } from './trust.js';

const SEALED_BYTES_MAX = 64 * 1024;
const IDENTITIES_BYTES_MAX = 64 * 1024;
const COMMAND_MILLIS_MAX = 60_000;
const RECIPIENT = /^age1[02-9ac-hj-np-z]{58}$/;
const IDENTITY = /^AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}$/;

/** @returns the key, and what keys/<n>.age holds. @throws Stop usage where a recipient is none */
export async function makeVaultKey(
  number: number,
  recipients: readonly string[],
): Promise<{ readonly key: VaultKey; readonly sealed: Uint8Array }> {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  return { key: { number, recipient }, sealed: await sealIdentity(identity, recipients) };
}

/** As `age` does it: `age -d -i person.txt keys/1.age` prints an identity file. */
async function sealIdentity(identity: string, recipients: readonly string[]): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  if (recipients.length === 0) throw new Stop('usage', 'a vault key is sealed to at least one recipient', {});
  for (const recipient of recipients) {
    try {
      if (!RECIPIENT.test(recipient)) throw new Error('another form');
      encrypter.addRecipient(recipient);
    } catch (error) {
      throw new Stop('usage', `${recipient.slice(0, 80)} is no age recipient: age1…`, {}, { cause: error });
    }
  }
  return encrypter.encrypt(`${identity}\n`);
}

/**
 * Seals the identity of a vault key to these people, and to no others, in the place of those so far.
 * @param identities of a person to whom it is sealed now, and who stays among them: nobody is cut off by a slip, and a
 * recipient that was mistyped doesn't seal the vault for ever
 * @throws Stop usage, vault_sealed, vault_invalid, vault_object_missing
 */
export async function rewrap(
  opened: OpenVault,
  {
    number,
    identities,
    recipients,
  }: {
    readonly number: number;
    readonly identities: readonly string[];
    readonly recipients: readonly string[];
  },
): Promise<void> {
  const key = opened.trust.keys.find((each) => each.number === number);
  if (key === undefined) throw new Stop('usage', `the vault has no key ${number}`, { number });
  const identity = await openVaultKey(opened, key, identities);
  if (identity === null) throw sealed([key]);
  const own = await recipientsOf(identities);
  if (!own.some((recipient) => recipients.includes(recipient)))
    throw new Stop('usage', 'none of the recipients is your own: who takes your place does this, without yours', {
      own,
    });
  await opened.place.replace(OBJECTS.key(number), await sealIdentity(identity, recipients));
}

/** What is to be sealed to, for these to open it. */
export function recipientsOf(identities: readonly string[]): Promise<readonly string[]> {
  return Promise.all(identities.map((identity) => identityToRecipient(identity)));
}

/**
 * The identities of the vault keys that a person's identities open: what packs and manifests are opened with. A key that is
 * damaged harms what is sealed to it, and no backup that another one opens.
 * @throws Stop vault_sealed where none opens; vault_invalid, vault_object_missing where that is because one is damaged
 */
export async function vaultIdentities(opened: OpenVault, identities: readonly string[]): Promise<readonly string[]> {
  const { found, damaged } = await openVaultKeys(opened, identities);
  if (found.length === 0) throw damaged[0] ?? sealed(opened.trust.keys);
  return found;
}

/** As vaultIdentities, for whoever wants to know of every key that is damaged: vault_invalid, vault_object_missing. */
export async function openVaultKeys(
  opened: OpenVault,
  identities: readonly string[],
): Promise<{ readonly found: readonly string[]; readonly damaged: readonly Stop[] }> {
  const found: string[] = [];
  const damaged: Stop[] = [];
  for (const key of opened.trust.keys) {
    try {
      const identity = await openVaultKey(opened, key, identities);
      if (identity !== null) found.push(identity);
    } catch (error) {
      if (!(error instanceof Stop) || (error.code !== 'vault_invalid' && error.code !== 'vault_object_missing'))
        throw error;
      damaged.push(error);
    }
  }
  return { found, damaged };
}

function sealed(keys: readonly VaultKey[]): Stop {
  return new Stop('vault_sealed', 'none of the identities opens a key of the vault', {
    keys: keys.map(({ number }) => OBJECTS.key(number)),
  });
}

/** null: it is not sealed to any of these. */
async function openVaultKey(
  { place }: OpenVault,
  { number, recipient }: VaultKey,
  identities: readonly string[],
): Promise<string | null> {
  const name = OBJECTS.key(number);
  const file = await place.read(name, SEALED_BYTES_MAX);
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  let text: string;
  try {
    text = await decrypter.decrypt(file, 'text');
  } catch (error) {
    if (isOfOthers(error)) return null;
    // Not the cause: what a library says of secrets is not ours to repeat
    throw new Stop('vault_invalid', `${name} is not intact`, { object: name });
  }
  const [identity] = identityLines(text);
  // Whoever can write to the vault can seal another key to a person
  if (identity === undefined || (await identityToRecipient(identity)) !== recipient)
    throw new Stop('vault_invalid', `${name} holds another key than the vault's`, { object: name });
  return identity;
}

const isOfOthers = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith("no identity matched any of the file's recipients");

function identityLines(text: string): readonly string[] {
  return linesOf(text).flatMap(({ line }) => (IDENTITY.test(line) ? [line] : []));
}

function linesOf(text: string): readonly { readonly line: string; readonly number: number }[] {
  return text
    .split('\n')
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
}

export type IdentitySettings = Pick<VaultSettings, 'identityFile' | 'identityCommand'>;

/** Variables that come before the settings: a file's path; a command's path, or a JSON list of it and its arguments. */
const FILE_VARIABLE = 'HOLDFAST_IDENTITY_FILE';
const COMMAND_VARIABLE = 'HOLDFAST_IDENTITY_COMMAND';

/**
 * The age identities of a person, `AGE-SECRET-KEY-1…`.
 * @throws Stop identity_missing where none is set, or where there is none; secret_exposed; usage for a variable
 */
export async function readIdentities(
  settings: IdentitySettings,
  environment: Readonly<Record<string, string | undefined>> = {},
): Promise<readonly string[]> {
  const file = environment[FILE_VARIABLE] ?? '';
  const command = environment[COMMAND_VARIABLE] ?? '';
  if (file !== '') return identitiesOfFile(file);
  if (command !== '') return identitiesOfCommand(commandOf(command));
  if (settings.identityFile !== null) return identitiesOfFile(settings.identityFile);
  if (settings.identityCommand !== null) return identitiesOfCommand(settings.identityCommand);
  throw new Stop('identity_missing', 'no identity is set', { variables: [FILE_VARIABLE, COMMAND_VARIABLE] });
}

function commandOf(text: string): readonly string[] {
  if (!text.startsWith('[') && isAbsolute(text)) return [text];
  let argv: unknown;
  try {
    argv = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (Array.isArray(argv) && argv.every((part) => typeof part === 'string') && isAbsolute(argv[0] ?? '')) return argv;
  throw new Stop('usage', `${COMMAND_VARIABLE} is neither an absolute path nor a JSON list that begins with one`, {});
}

async function identitiesOfFile(path: string): Promise<readonly string[]> {
  const text = await translating({ path }, async () => {
    // Not blocking: a FIFO of that name would hold a thread for ever
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new Stop('identity_missing', `${path} does not exist`, { path });
      throw error;
    });
    try {
      const facts = await file.stat();
      const isOurs = facts.uid === 0 || facts.uid === process.getuid?.();
      if (!isOurs || (facts.mode & 0o077) !== 0)
        throw new Stop('secret_exposed', `${path} is not its owner's alone`, {
          path,
          uid: facts.uid,
          mode: (facts.mode & 0o7777).toString(8),
        });
      if (!facts.isFile() || facts.size > IDENTITIES_BYTES_MAX)
        throw new Stop('identity_missing', `${path} is no file of identities`, { path, sizeBytes: facts.size });
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  });
  return identitiesIn(text, path);
}

/** @param source where the text comes from: it says so, and not what was in it */
function identitiesIn(text: string, source: string): readonly string[] {
  const lines = linesOf(text);
  const other = lines.find(({ line }) => !isIdentity(line));
  if (other !== undefined)
    throw new Stop('identity_missing', `line ${other.number} of ${source} is no age identity: AGE-SECRET-KEY-1…`, {
      source,
      line: other.number,
    });
  if (lines.length === 0) throw new Stop('identity_missing', `${source} has no identity`, { source });
  return lines.map(({ line }) => line);
}

function isIdentity(line: string): boolean {
  if (!IDENTITY.test(line)) return false;
  try {
    // Its checksum too: a mistyped one is told here, not where it opens nothing
    new Decrypter().addIdentity(line);
    return true;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

function identitiesOfCommand(argv: readonly string[]): Promise<readonly string[]> {
  const [command = '', ...parameters] = argv;
  const failed = (why: string, cause?: unknown): Stop =>
    new Stop('identity_missing', `the command for the identity gave none: ${why}`, { command }, { cause });
  return new Promise((resolve, reject) => {
    // What it says on standard error is not read: it may be a secret
    const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'ignore'], cwd: '/', detached: true });
    let text = '';
    let ended: string | undefined;
    const end = (why: string): void => {
      ended ??= why;
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const timer = setTimeout(() => end(`it did not end within ${COMMAND_MILLIS_MAX / 1000} s`), COMMAND_MILLIS_MAX);
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.length > IDENTITIES_BYTES_MAX) end('it printed too much');
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(failed('it could not be started', error));
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      if (ended !== undefined) reject(failed(ended));
      else if (status !== 0) reject(failed(signal === null ? `exit status ${status}` : `killed by ${signal}`));
      else resolve(Promise.resolve().then(() => identitiesIn(text, 'its output')));
    });
  });
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    // It ended by itself in the meantime
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
