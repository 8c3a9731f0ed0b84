// holdfast keys allow|revoke|renew|publish|abandon: what the admin key says of a vault, each in a new trust.
import { resolve } from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import { Stop } from '../../domain/stop.js';
import { NAMESPACES } from '../../domain/vault.js';
import type { Role } from '../../domain/vault.js';
import type { OpenVault, TrustChange } from '../../vault/trust.js';
import { describeCommand, localDefinitions, outputOf } from '../command.js';
import { openNamedVault } from '../open-vault.js';
import type { NamedVault } from '../open-vault.js';
import { formatCount, shellWord } from '../output.js';
import { collect, definitionTexts } from './keys-init.js';

export const ALLOW = 'holdfast keys allow main web2 --key web2.pub --admin-key admin';
export const REVOKE = 'holdfast keys revoke main --key web2.pub --admin-key admin';
const PUBLISH = 'holdfast keys publish main --admin-key admin';
export const RENEW = 'holdfast keys renew main --recipient age1… --admin-key admin';
const ABANDON = 'holdfast keys abandon main --admin-key admin';
const EXITS = [65, 74, 75, 77, 78] as const;
const ADMIN_KEY = ['--admin-key <file>', 'SSH key of the admin, or the public key of one that an agent has'] as const;

interface AdminOptions {
  readonly adminKey: string;
}

/** Publishes, and remembers: from now on this host accepts nothing older. */
async function publish(
  { open, seen }: NamedVault,
  change: TrustChange,
  { adminKey }: AdminOptions,
): Promise<OpenVault> {
  const { now } = await import('../../control/clock.js');
  const { publishTrust } = await import('../../vault/trust.js');
  const published = await publishTrust(open, change, { adminKeyFile: resolve(adminKey), now: now() });
  await seen.sawTrust(published.trust);
  return published;
}

interface AllowOptions extends AdminOptions {
  readonly key: string;
  readonly role: Exclude<Role, 'admin'>;
  readonly until?: string;
}

export function allowCommand(): Command {
  return describeCommand({
    name: 'allow',
    summary: 'let a host write, or a recovery worker vouch for what it has verified',
    examples: [ALLOW, 'holdfast keys allow main vera --key vera.pub --role verify --admin-key admin'],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .argument('<name>', 'name of the host, as in its manifests, or of a person')
    .requiredOption('--key <file>', 'its SSH public key')
    .requiredOption(...ADMIN_KEY)
    .addOption(
      new Option('--role <role>', 'what it may sign').choices(['backup', 'verify', 'retain']).default('backup'),
    )
    .option('--until <day>', 'YYYY-MM-DD, in UTC: the last day on which it is believed')
    .action(async (name: string, principal: string, options: AllowOptions, command: Command) => {
      const { fingerprintOf, publicKeyOf } = await import('../../vault/signatures.js');
      const { signerLine } = await import('../../vault/signers.js');
      const named = await openNamedVault(command, name);
      const { allowedSigners, signers } = named.open.trust;
      const publicKey = await publicKeyOf(resolve(options.key));
      const key = fingerprintOf(publicKey);
      if (signers.revoked.has(key))
        throw new Stop('usage', `key ${key} was revoked, and is never believed again: make another`, { key });
      const line = signerLine(principal, NAMESPACES[options.role], publicKey, options.until ?? null);
      const before = allowedSigners === '' || allowedSigners.endsWith('\n') ? allowedSigners : `${allowedSigners}\n`;
      const { trust } = await publish(named, { allowedSigners: before + line }, options);
      outputOf(command).result(
        { vault: named.settings.vault, principal, role: options.role, key, trust: trust.number },
        [`${principal} may sign ${options.role} with key ${key}, by trust ${trust.number}`],
      );
    });
}

interface RevokeOptions extends AdminOptions {
  readonly key: string;
  readonly confirm?: string;
}

export function revokeCommand(): Command {
  return describeCommand({
    name: 'revoke',
    summary: 'never again believe a key, but for what a recovery worker has verified',
    examples: [REVOKE, `${REVOKE} --confirm SHA2…`],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .requiredOption('--key <key>', 'its SSH public key, or its fingerprint as `keys list` prints it')
    .requiredOption(...ADMIN_KEY)
    .option('--confirm <fingerprint>', 'of the key, once you have read what follows from it')
    .action(async (name: string, options: RevokeOptions, command: Command) => {
      const named = await openNamedVault(command, name);
      const { key, publicKey } = await keyOf(named.open, options.key);
      const revokedKeys = `${named.open.trust.revokedKeys}${publicKey}\n`;
      const lost = await backupsLost(named.open, revokedKeys);
      if (options.confirm !== key)
        throw new Stop(
          'approval_missing',
          `revoking key ${key} would take ${formatCount(lost.length, 'backup')} with it`,
          {
            confirm: [
              'holdfast keys revoke',
              name,
              '--key',
              options.key,
              '--admin-key',
              options.adminKey,
              '--confirm',
              key,
            ]
              .map((word, index) => (index === 0 ? word : shellWord(word)))
              .join(' '),
            notBelievedAnyMore: lost.slice(0, 20),
            toKeepThem: 'verify them on the recovery host first, which vouches for them',
          },
        );
      const { trust } = await publish(named, { revokedKeys }, options);
      outputOf(command).result({ vault: named.settings.vault, key, trust: trust.number, notBelievedAnyMore: lost }, [
        `key ${key} is revoked, by trust ${trust.number}`,
        ...lost.map((backup) => `  not believed any more: ${backup}`),
      ]);
    });
}

/** Of a file, or of a signer that the vault knows: the file of a key that is lost may be lost too. */
async function keyOf(
  { trust }: OpenVault,
  given: string,
): Promise<{ readonly key: string; readonly publicKey: string }> {
  const { fingerprintOf, publicKeyOf } = await import('../../vault/signatures.js');
  const { publicKeyText } = await import('../../vault/ssh-signature.js');
  if (!given.startsWith('SHA256:')) {
    const publicKey = await publicKeyOf(resolve(given));
    return { key: fingerprintOf(publicKey), publicKey };
  }
  const signer = trust.signers.signers.find(({ fingerprint }) => fingerprint === given);
  if (signer === undefined) throw new Stop('usage', `nobody signs with key ${given}`, { key: given });
  return { key: given, publicKey: publicKeyText(signer.key) };
}

/** Backups that are believed now, and would not be with these keys revoked. */
async function backupsLost(open: OpenVault, revokedKeys: string): Promise<readonly string[]> {
  const { now } = await import('../../control/clock.js');
  const { listStores, readChain } = await import('../../vault/envelopes.js');
  const { parseSigners } = await import('../../vault/signers.js');
  const signers = parseSigners(open.trust.allowedSigners, revokedKeys);
  const after: OpenVault = { ...open, trust: { ...open.trust, revokedKeys, signers } };
  const { stores, stop } = await listStores(open);
  if (stop !== null) throw stop;
  const lost: string[] = [];
  for (const store of stores) {
    const [is, will] = [await readChain(open, store, { now: now() }), await readChain(after, store, { now: now() })];
    for (const [index, { number, stop: why }] of will.entries.entries())
      if (why?.code === 'signer_revoked' && is.entries[index]?.stop?.code !== 'signer_revoked')
        lost.push(`${store}/${number}`);
  }
  return lost;
}

interface RenewOptions extends AdminOptions {
  readonly recipient: readonly string[];
}

export function renewCommand(): Command {
  return describeCommand({
    name: 'renew',
    summary: 'make a new vault key, to which everything is sealed from now on',
    examples: [RENEW],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .requiredOption(
      '--recipient <age1…>',
      'one of the people who may read what is written now; again for each',
      collect,
    )
    .requiredOption(...ADMIN_KEY)
    .action(async (name: string, { recipient, adminKey }: RenewOptions, command: Command) => {
      const { now } = await import('../../control/clock.js');
      const { renewVaultKey } = await import('../../vault/trust.js');
      const { open, seen, settings } = await openNamedVault(command, name);
      const act = { adminKeyFile: resolve(adminKey), now: now() };
      const { open: renewed, key } = await renewVaultKey(open, recipient, act);
      await seen.sawTrust(renewed.trust);
      outputOf(command).result({ vault: settings.vault, trust: renewed.trust.number, key, recipients: recipient }, [
        `key ${key.number} of ${name} serves from now on, by trust ${renewed.trust.number}`,
        `  what was written so far stays sealed to the keys before, and new backups go on using it: to write all`,
        `  of a store anew,  holdfast backup STORE --rehash`,
      ]);
    });
}

export function publishCommand(): Command {
  return describeCommand({
    name: 'publish',
    summary: 'put the store definitions of this host into the vault, for an empty host',
    examples: [PUBLISH],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .requiredOption(...ADMIN_KEY)
    .action(async (name: string, options: AdminOptions, command: Command) => {
      const named = await openNamedVault(command, name);
      const own = await definitionTexts(localDefinitions(command));
      const definitions = new Map([...named.open.trust.definitions, ...own]);
      const { trust } = await publish(named, { definitions }, options);
      const stores = [...own.keys()];
      outputOf(command).result({ vault: named.settings.vault, trust: trust.number, stores }, [
        `the vault has ${formatCount(stores.length, 'definition')} of this host, by trust ${trust.number}`,
      ]);
    });
}

export function abandonCommand(): Command {
  return describeCommand({
    name: 'abandon',
    summary: 'give up a trust that was begun and never ended, so that another can be published',
    examples: [ABANDON],
    exits: EXITS,
  })
    .argument('<vault>', 'name of the vault')
    .requiredOption(...ADMIN_KEY)
    .action(async (name: string, { adminKey }: AdminOptions, command: Command) => {
      const { now } = await import('../../control/clock.js');
      const { abandonTrust } = await import('../../vault/trust.js');
      const { open, settings } = await openNamedVault(command, name);
      const number = await abandonTrust(open, { adminKeyFile: resolve(adminKey), now: now() });
      outputOf(command).result({ vault: settings.vault, abandoned: number }, [`trust ${number} is given up`]);
    });
}
