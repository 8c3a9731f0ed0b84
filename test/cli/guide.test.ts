// docs/guides/operate.md is run: its definition, with places of a test in it, every `holdfast` line in its order, and what
// it gives to Temporal's own command line.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TEST_HOST, useEngine } from '../support/engine.js';
import { sql } from '../support/store.js';
import { run } from './room.js';

const GUIDE = readFileSync('docs/guides/operate.md', 'utf8');
/** What the page says of these beside 0. */
const STATUSES: Readonly<Record<string, number>> = {
  'holdfast rollback shop': 77,
  'holdfast cancel shop': 65,
  'holdfast lock break shop --confirm OPERATION': 77,
};

const engine = useEngine();

test('every command line of the guide to operating does what the guide says', async () => {
  const { directory, definitionsDirectory, environment } = engine();
  const definition = /```yaml\n(.*?)```/s.exec(GUIDE)?.[1] ?? '';
  const here = definition
    .replace('/srv/shop', join(directory, 'shop'))
    .replace('/var/backups/holdfast', join(directory, 'backups'))
    .replaceAll('/usr/bin/systemctl', '/bin/true');
  writeFileSync(join(definitionsDirectory, 'shop.yaml'), here);
  chmodSync(join(definitionsDirectory, 'shop.yaml'), 0o644);
  mkdirSync(join(directory, 'shop', 'data', 'uploads'), { recursive: true });
  sql(join(directory, 'shop', 'data', 'orders.db'), 'CREATE TABLE orders (id INTEGER PRIMARY KEY)');

  const lines = [...GUIDE.matchAll(/^holdfast .*$/gm)].map(([line]) => line.replace(/ +#.*$/, ''));
  expect(lines.length).toBeGreaterThan(15);
  let digest = '';
  for (const line of lines) {
    const argv = line
      .replace('DIGEST', digest)
      .replace('OPERATION', '6fa459ea-ee8a-4ca4-894e-db77e160355e')
      .split(' ')
      .slice(1);
    const { status, stdout, stderr } = await run(environment, ...argv);
    expect({ line, status, stderr: status === (STATUSES[line] ?? 0) ? '' : stderr }).toEqual({
      line,
      status: STATUSES[line] ?? 0,
      stderr: '',
    });
    digest = /digest\W+([0-9a-f]{64})/.exec(stdout)?.[1] ?? digest;
  }
});

test('what the guide gives to `temporal workflow start` makes a backup', async () => {
  const { session } = engine();
  const started = /^temporal (workflow start) --address \S+ (.*) \\\n +--input '(.*)'$/m.exec(GUIDE);
  const input = (started?.[3] ?? '').replace('"db1"', JSON.stringify(TEST_HOST));
  await engine().temporal('workflow', 'start', ...(started?.[2] ?? '').split(' '), '--input', input);
  expect(await session.client.workflow.getHandle('holdfast/shop').result()).toMatchObject({
    protocol: 'backup',
    operation: (JSON.parse(input) as { readonly operation: string }).operation,
  });
});
