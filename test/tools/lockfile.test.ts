// The lockfile is whole, so that `npm ci` accepts it whatever registry it was made with (tools/lockfile.ts).
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { missingEntries, platformOf, type LockedPackages } from '../../tools/lockfile.js';

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: LockedPackages };

describe('package-lock.json', () => {
  test('has an entry for every optional dependency (npm run lockfile)', () => {
    expect(Object.keys(packages).length).toBeGreaterThan(100);
    expect(Object.keys(missingEntries(packages))).toEqual([]);
  });

  test('names no address of a registry', () => {
    expect(Object.entries(packages).filter(([, entry]) => 'resolved' in entry)).toEqual([]);
  });
});

describe('an entry is made', () => {
  test('for what is missing, with the platform of its name, and only then', () => {
    const locked: LockedPackages = {
      'node_modules/tool': {
        dev: true,
        optionalDependencies: { '@tool/binding-linux-arm64-musl': '1.2.3', '@tool/darwin-x64': '1.2.3' },
      },
      'node_modules/tool/node_modules/@tool/darwin-x64': { version: '1.2.3' },
    };
    expect(missingEntries(locked)).toEqual({
      'node_modules/@tool/binding-linux-arm64-musl': {
        version: '1.2.3',
        os: ['linux'],
        cpu: ['arm64'],
        libc: ['musl'],
        dev: true,
        optional: true,
      },
    });
  });

  test('never for a name that says no platform', () => {
    expect(() => platformOf('fsevents')).toThrow('does not say its platform');
  });
});
