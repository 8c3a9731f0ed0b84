// What a restore replaces (SM-9).
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { replacedMembers } from '../../control/former.js';
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
