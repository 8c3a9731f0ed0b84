// holdfast config: every mistake of every definition, with its place and what was meant; a definition shown as it is used.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { parseDefinition } from '../../definitions/load.js';
import { jsonLines, run } from './room.js';

let directory = '';
let definitions = '';
let environment: Environment = {};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
  definitions = join(directory, 'stores');
  mkdirSync(definitions, { mode: 0o755 });
  environment = { PATH: process.env['PATH'], HOME: directory, HOLDFAST_DEFINITIONS_DIRECTORY: definitions };
});
afterEach(() => rmSync(directory, { recursive: true }));

const good = (store: string, root = `/srv/${store}`): string => `holdfast: 1
store: ${store}
roots:
  data:
    path: ${root}
    databases:
      - path: '*.db'
backup:
  destination: /var/backups/${store}
`;

function define(name: string, text: string, below = definitions): string {
  const path = join(below, name);
  writeFileSync(path, text);
  chmodSync(path, 0o644);
  return path;
}

describe('config validate', () => {
  test('names every mistake of every file with line, column, key and what was probably meant', async () => {
    define('fine.yaml', good('fine'));
    const path = define(
      'shop.yaml',
      `holdfast: 1
store: shop
roots:
  data:
    path: srv
    tres: []
    trees:
      - policy: verfy
    databases:
      - path: a.db
        migrations: { tabel: x, orderBy: 7 }
hooks:
  quesce: { argv: [/bin/true] }
backups:
  destination: /var/backups/shop
`,
    );
    const { status, stdout, stderr } = await run(environment, 'config', 'validate');
    expect(status).toBe(78);
    expect(stderr).toContain("STOP definition_invalid: 1 of 2 definitions can't be used");
    expect(stdout.trimEnd().split('\n')).toEqual([
      `${path}:1:1: backup: is missing`,
      `${path}:5:11: roots.data.path: must be an absolute path`,
      `${path}:6:5: roots.data.tres: unknown key (did you mean trees?)`,
      `${path}:8:17: roots.data.trees.0.policy: must be one of verify, immutable, append, quiesced (did you mean verify?)`,
      `${path}:11:21: roots.data.databases.0.migrations.table: is missing`,
      `${path}:11:23: roots.data.databases.0.migrations.tabel: unknown key (did you mean table?)`,
      `${path}:11:42: roots.data.databases.0.migrations.orderBy: Invalid input: expected string, received number`,
      `${path}:13:3: hooks.quesce: unknown key (did you mean quiesce?)`,
      `${path}:14:1: backups: unknown key (did you mean backup?)`,
    ]);
  });

  test.each([
    ['an empty file', '', /:1:1: nothing is defined: a definition is /m],
    ['a list', '- a\n', /:1:1: no keys: a definition is /m],
    ['no YAML', 'store: [\n', /:2:1: Flow sequence/m],
    ['a key twice', 'store: a\nstore: b\n', /:2:1: Map keys must be unique$/m],
    ['an alias', 'holdfast: &one 1\nstore: *one\n', /:2:8: an alias: write out what it stands for$/m],
    ['the name of another store', good('other'), /defines store other; its file is called other\.yaml$/m],
  ])('tells %s', async (_what, text, message) => {
    const path = define('shop.yaml', text, directory);
    const { status, stdout } = await run(environment, 'config', 'validate', path);
    expect(stdout).toMatch(message);
    expect(status).toBe(78);
  });

  test('of files asks nothing of their owner or place, and tells one that is absent', async () => {
    const path = define('shop.yaml', good('shop'), directory);
    chmodSync(path, 0o666);
    expect(await run(environment, 'config', 'validate', path)).toMatchObject({
      status: 0,
      stdout: '1 definition, nothing wrong\n',
    });
    const { status, stdout } = await run(environment, 'config', 'validate', path, join(directory, 'absent.yaml'));
    expect([status, stdout]).toEqual([78, expect.stringContaining('absent.yaml does not exist')]);
  });

  test('of what this host uses refuses one that others can write, and two that overlap', async () => {
    chmodSync(define('open.yaml', good('open')), 0o666);
    expect((await run(environment, 'config', 'validate')).stdout).toContain('can be written by others');
    rmSync(join(definitions, 'open.yaml'));
    define('one.yaml', good('one', '/srv/both'));
    define('two.yaml', good('two', '/srv/both/below'));
    const both = await run(environment, 'config', 'validate');
    expect([both.status, both.stdout]).toEqual([78, expect.stringContaining('overlap')]);
  });

  test('gives each problem as a line of JSON', async () => {
    const path = define('shop.yaml', good('shop').replace('databases', 'database'));
    const ended = await run(environment, 'config', 'validate', '--json');
    const { lines, last } = jsonLines(ended);
    expect(lines.slice(0, -1)).toEqual([
      {
        type: 'problem',
        file: path,
        code: 'definition_invalid',
        line: 6,
        column: 5,
        key: 'roots.data.database',
        problem: 'unknown key (did you mean databases?)',
      },
    ]);
    expect(ended.status).toBe(78);
    expect(last).toMatchObject({ type: 'error', code: 'definition_invalid', details: { checked: 1, invalid: 1 } });
  });
});

describe('config show', () => {
  test('prints what was written, and with --effective what it means, which reads back as the same', async () => {
    define('shop.yaml', `# ours\n${good('shop')}`);
    define('broken.yaml', 'store: [');
    expect((await run(environment, 'config', 'show', 'shop')).stdout).toBe(`# ours\n${good('shop')}`);
    const { status, stdout } = await run(environment, 'config', 'show', 'shop', '--effective');
    expect(status).toBe(0);
    expect(stdout).toContain('locking: sqlite');
    expect(parseDefinition(stdout, 'shop.yaml')).toEqual(parseDefinition(good('shop'), 'shop.yaml'));
    expect(jsonLines(await run(environment, 'config', 'show', 'shop', '--effective', '--json')).last).toMatchObject({
      store: 'shop',
      definition: { store: 'shop', confirmation: 'plan', layout: { name: 'plain' }, schedules: {} },
    });
  });

  test('with --effective says what the layout, the confirmation and the schedules of the shipped profile are, too', async () => {
    const text = readFileSync('profiles/helionyx/helionyx-live.yaml', 'utf8');
    define('helionyx-live.yaml', text);
    const { stdout } = await run(environment, 'config', 'show', 'helionyx-live', '--effective');
    expect(stdout).toMatch(/^layout:\n {2}name: helionyx$/m);
    expect(stdout).toMatch(/^confirmation: typed$/m);
    expect(stdout).not.toMatch(/[&*]a\d|neverCaptured/);
    const path = 'helionyx-live.yaml';
    expect(parseDefinition(stdout, path)).toEqual(parseDefinition(text, path));
  });

  test('of a store that is not defined is definition_missing', async () => {
    const { status, stderr } = await run(environment, 'config', 'show', 'shop');
    expect([status, stderr]).toEqual([78, expect.stringContaining('STOP definition_missing')]);
  });
});

test('config schema prints the schema that is in the reference', async () => {
  const { status, stdout } = await run(environment, 'config', 'schema');
  expect(status).toBe(0);
  const reference = new URL('../../../docs/reference/store-definition.schema.json', import.meta.url);
  expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(reference, 'utf8')));
});
