// The recovery kit as a page for people, who may have nothing else when they need it.
import { writeVaultSettings } from '../definitions/vaults.js';
import { OBJECTS } from '../domain/vault.js';
import type { VaultSettings } from '../domain/vault.js';
import type { Kit } from '../vault/kit.js';

/** The settings as an empty host needs them: it writes nothing, and has its identity elsewhere. */
export function settingsOfKit(settings: VaultSettings): string {
  return writeVaultSettings({ ...settings, signingKeyFile: null, identityFile: null, identityCommand: null });
}

export interface KitPage {
  readonly settings: VaultSettings;
  readonly kit: Kit;
  readonly printedAt: string;
}

export function kitLines({ settings, kit, printedAt }: KitPage): readonly string[] {
  const { name, directory } = settings;
  return [
    `RECOVERY KIT of vault ${name}, printed ${printedAt}`,
    '',
    'Keep it where the vault and its hosts are not. There is no secret in it: the identity is apart.',
    '',
    '1. The vault',
    `   It lay in ${directory}. Any whole copy of it will do.`,
    `   id     ${kit.vault}`,
    `   admin  ${kit.admin}`,
    '',
    '2. The identity',
    ...identityLines(settings),
    '   It opens the key of the vault, which is in it, and here again, sealed:',
    ...kit.keys.flatMap(({ number, recipient, sealed }) => [
      `   key ${number}, ${OBJECTS.key(number)}, of ${recipient}`,
      ...sealed
        .trimEnd()
        .split('\n')
        .map((line) => `   ${line}`),
    ]),
    '',
    '3. With holdfast, on an empty host',
    `   Write this into vaults/${name}.yaml in the directory of definitions, and add identityFile:`,
    ...settingsOfKit(settings)
      .trimEnd()
      .split('\n')
      .map((line) => `     ${line}`),
    `   The definitions of ${kit.definitions.length === 0 ? 'no store' : kit.definitions.join(', ')} are in ${OBJECTS.trust(kit.trust)}/definitions of the vault.`,
    '',
    '4. Without holdfast',
    '   recover.sh in the vault restores a backup with a POSIX shell, coreutils, age, zstd and jq. Take it from a',
    '   release of holdfast, or compare it with one: nobody signs it in the vault.',
    '',
    '5. What must be there',
    `   Trust ${kit.trust}, and of each store at least this backup; less is an old copy of the vault, or somebody removed it.`,
    ...kit.stores.map(
      ({ store, head, createdAt, stop }) =>
        `   ${store}  ${head === null ? 'none' : `${head.number}, of ${createdAt ?? 'an unknown time'}, envelope ${head.sha256}`}${stop === null ? '' : `; STOP ${stop}`}`,
    ),
    ...(kit.stores.length === 0 ? ['   There is no backup yet.'] : []),
  ];
}

function identityLines({ identityFile, identityCommand }: VaultSettings): readonly string[] {
  if (identityFile !== null) return [`   It lies in ${identityFile} of this host: keep a copy of it elsewhere.`];
  if (identityCommand !== null) return [`   \`${identityCommand.join(' ')}\` prints it on this host.`];
  return ['   This host has none: write down here where the people who may read keep theirs.'];
}
