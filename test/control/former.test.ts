// What a restore replaces, and by what looks the former state is known again (SM-9).
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { formerDigest, replacedMembers } from '../../control/former.js';
import type { RootDefinition } from '../../domain/definition.js';
import { storeDefinitionSchema, toStoreDefinition } from '../../domain/schema/definition.js';
import { temporaryDirectory } from './room.js';

function rootWith(files: Readonly<Record<string, string>>, databases: readonly string[] = []): RootDefinition {
  const directory = temporaryDirectory();
  const path = join(directory, 'live');
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  const { roots } = toStoreDefinition(
    storeDefinitionSchema.parse({
      holdfast: 1,
      store: 'tested',
      roots: { data: { path, databases: databases.map((name) => ({ path: name })), trees: [{ path: 'files' }] } },
      backup: { destination: join(directory, 'backups') },
    }),
  );
  const [root] = roots;
  if (root === undefined) throw new Error('no root');
  return root;
}

describe('what a restore replaces', () => {
  test.each(['app!.db', 'a{1}.db', 'a(b.db'])(
    'a listed database that was deleted is no obstacle, also where its name is %s, which is no glob',
    async (name) => {
      const root = rootWith({ 'files/one': '1' }, [name]);
      const { members } = await replacedMembers(root, new Set());
      expect(members.map(({ path }) => path)).toEqual(['files/one', '.', 'files']);
    },
  );
});

/** Whether the looks of the root tell that `change` has happened. */
async function tells(root: RootDefinition, change: () => void): Promise<boolean> {
  const before = await formerDigest(root.path, root);
  change();
  return (await formerDigest(root.path, root)) !== before;
}

describe('the digest of the former state', () => {
  test.each(['files/report-shm', 'files/new-shm', 'files/empty-wal'])(
    'tells a change of %s, which is beside no database',
    async (name) => {
      const root = rootWith({ 'files/report-shm': 'a report', 'files/report': 'no database' });
      expect(await tells(root, () => writeFileSync(join(root.path, name), name.endsWith('-wal') ? '' : 'new'))).toBe(
        true,
      );
    },
  );

  test.each([
    ['files/found.db', 'which is not listed', 'a.db'],
    ['a.db', 'which is listed', 'a.db'],
  ])('passes over what merely reading %s, %s, makes and touches', async (name, _what, listed) => {
    const root = rootWith({ 'files/one': '1' }, [listed]);
    const path = join(root.path, name);
    new Database(path).exec('CREATE TABLE t (x)').close();
    for (const suffix of ['-shm', '-wal'])
      expect(await tells(root, () => writeFileSync(path + suffix, suffix === '-wal' ? '' : 'index'))).toBe(false);
    expect(await tells(root, () => writeFileSync(`${path}-shm`, 'another index'))).toBe(false);
    expect(await tells(root, () => rmSync(`${path}-shm`))).toBe(false);
    expect(await tells(root, () => writeFileSync(`${path}-wal`, 'frames'))).toBe(true);
  });

  test('passes over the index of a listed database whose first bytes are destroyed', async () => {
    const root = rootWith({ 'files/one': '1', 'a.db': 'destroyed' }, ['a.db']);
    expect(await tells(root, () => writeFileSync(join(root.path, 'a.db-shm'), 'index'))).toBe(false);
  });
});
