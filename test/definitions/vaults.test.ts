// vaults/<name>.yaml: believed as definitions are, and refused with the place of each mistake.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { addVaultSettings, assertNewVault, loadVaultSettings, vaultNames } from '../../definitions/vaults.js';
import { loadDefinitions } from '../../definitions/load.js';
import { Stop } from '../../domain/stop.js';

const SETTINGS = {
  name: 'main',
  directory: '/srv/vault',
  vault: '3f0c9a1e-6a0b-4a39-9d0a-0d1f6b9f4a11',
  admin: 'SHA256:DXsby+Idi0jtQcMlD4zJBnomdbmESB02dAgg93fk+NY',
  signingKeyFile: '/etc/holdfast/host-key',
  identityFile: null,
  identityCommand: ['/usr/bin/pass', 'show', 'holdfast'],
} as const;

function definitions(text?: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-vaults-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  if (text === undefined) return directory;
  mkdirSync(join(directory, 'vaults'), { mode: 0o755 });
  writeFileSync(join(directory, 'vaults', 'main.yaml'), text);
  return directory;
}

async function refusal(work: Promise<unknown>): Promise<Stop> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Stop) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('the settings of a vault', () => {
  test('that were added are read back, and disturb no store', async () => {
    const directory = definitions();
    const path = await addVaultSettings(directory, SETTINGS);
    expect(await loadVaultSettings(directory, 'main')).toEqual(SETTINGS);
    expect(readFileSync(path, 'utf8')).not.toContain('identityFile');
    expect(await vaultNames(directory)).toEqual(['main']);
    expect(await loadDefinitions(directory)).toEqual([]);
    expect(await refusal(addVaultSettings(directory, SETTINGS))).toMatchObject({ code: 'target_exists' });
    expect(await refusal(assertNewVault(directory, 'main'))).toMatchObject({ code: 'target_exists' });
  });

  test('that are not there are missing, with the names that are', async () => {
    const directory = definitions();
    await addVaultSettings(directory, SETTINGS);
    expect(await refusal(loadVaultSettings(directory, 'mian'))).toMatchObject({
      code: 'definition_missing',
      details: { vault: 'mian', vaults: ['main'] },
    });
    expect(await refusal(loadVaultSettings(definitions(), 'main'))).toMatchObject({ code: 'definition_missing' });
    expect(await refusal(loadVaultSettings(directory, '../main'))).toMatchObject({ code: 'usage' });
  });

  test('that others can write are not believed', async () => {
    const directory = definitions();
    const path = await addVaultSettings(directory, SETTINGS);
    for (const each of [path, join(directory, 'vaults'), directory]) {
      chmodSync(each, 0o777);
      expect(await refusal(loadVaultSettings(directory, 'main')), each).toMatchObject({ code: 'definition_untrusted' });
      chmodSync(each, 0o755);
    }
    expect(await loadVaultSettings(directory, 'main')).toEqual(SETTINGS);
  });

  test('name every mistake with its line, key and what was probably meant', async () => {
    const directory = definitions(
      [
        'holdfast: 1',
        'directory: vault',
        'vualt: 3f0c9a1e-6a0b-4a39-9d0a-0d1f6b9f4a11',
        'admin: SHA256:short',
        'identityCommand: [pass]',
        '',
      ].join('\n'),
    );
    const refused = await refusal(loadVaultSettings(directory, 'main'));
    expect(refused).toMatchObject({
      code: 'definition_invalid',
      message: expect.stringMatching(/main\.yaml:1: vault: is missing$/),
      details: {
        problems: [
          { line: 1, key: 'vault', problem: 'is missing' },
          { line: 2, key: 'directory', problem: 'must be an absolute path' },
          { line: 3, key: 'vualt', problem: 'unknown key (did you mean vault?)' },
          { line: 4, key: 'admin', problem: expect.stringContaining('SHA256:…') },
          { line: 5, key: 'identityCommand', problem: expect.stringContaining('without a shell') },
        ],
      },
    });
  });
});
