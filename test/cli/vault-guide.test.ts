// docs/guides/vault.md is run: every line of its shell blocks in its order, with places of a test in it; blocks `sh lost` on
// a host that has nothing.
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { STOPS } from '../../domain/stop.js';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { column, sql } from '../support/store.js';
import { PROGRAM } from './room.js';

const GUIDE = readFileSync('docs/guides/vault.md', 'utf8');
const engine = useEngine();

interface GuideLine {
  readonly text: string;
  readonly isLost: boolean;
}

function linesOf(): readonly GuideLine[] {
  return [...GUIDE.matchAll(/^```sh( lost)?\n(.*?)^```/gms)].flatMap(([, lost, block = '']) =>
    block
      .trimEnd()
      .split('\n')
      .map((text) => ({ text, isLost: lost !== undefined })),
  );
}

/** What the page says of a line, else 0. */
const statusOf = (text: string): number => Number(/# (\d\d):/.exec(text)?.[1] ?? 0);

test.skipIf(requires('temporal', 'age', 'jq', 'zstd'))(
  'every line of the guide to vaults does what it says',
  async () => {
    const { directory, definitionsDirectory, environment } = engine();
    const programs = join(directory, 'bin');
    for (const name of ['bin', 'root', 'etc', 'mnt/backup', 'srv/shop/data/uploads', 'lost/etc', 'lost/srv'])
      mkdirSync(join(directory, name), { recursive: true });
    writeFileSync(join(programs, 'holdfast'), `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`);
    chmodSync(join(programs, 'holdfast'), 0o755);
    const orders = join(directory, 'srv/shop/data/orders.db');
    sql(orders, "CREATE TABLE orders (id INTEGER PRIMARY KEY, v); INSERT INTO orders (v) VALUES ('one')");
    writeFileSync(join(directory, 'srv/shop/data/uploads/1.txt'), 'uploaded');

    const place = (text: string, isLost: boolean): string => {
      const home = isLost ? join(directory, 'lost') : directory;
      const stores = isLost ? join(home, 'etc/stores') : definitionsDirectory;
      return text
        .replaceAll('/etc/holdfast/stores', stores)
        .replaceAll('/etc/holdfast', join(home, 'etc'))
        .replaceAll('/srv/', `${home}/srv/`)
        .replaceAll('/root/', `${directory}/root/`)
        .replaceAll('/mnt/', `${directory}/mnt/`)
        .replaceAll('/usr/bin/systemctl', '/bin/true');
    };
    const definition = /```yaml\n(.*?)```/s.exec(GUIDE)?.[1] ?? '';
    writeFileSync(join(definitionsDirectory, 'shop.yaml'), place(definition, false));
    chmodSync(join(definitionsDirectory, 'shop.yaml'), 0o644);

    let [digest, fingerprint, vault, admin] = ['', '', '', ''];
    let isGone = false;
    for (const { text, isLost } of linesOf()) {
      if (isLost && !isGone) loseStore(directory);
      isGone ||= isLost;
      const line = place(text, isLost)
        .replace('DIGEST', digest)
        .replace('FINGERPRINT', fingerprint)
        .replace(/\bVAULT\b/, vault)
        .replace(/\bADMIN\b/, admin);
      const env = {
        ...environment,
        PATH: `${programs}:${environment['PATH'] ?? ''}`,
        ...(isLost && {
          HOLDFAST_DEFINITIONS_DIRECTORY: join(directory, 'lost/etc/stores'),
          HOLDFAST_STATE_DIRECTORY: join(directory, 'lost/state'),
        }),
      };
      const { status, stdout, stderr } = await shell(line, env);
      expect({ text, status, output: status === statusOf(text) ? '' : stdout + stderr }).toEqual({
        text,
        status: statusOf(text),
        output: '',
      });
      digest = /digest\W+([0-9a-f]{64})/.exec(stdout + stderr)?.[1] ?? digest;
      vault = /^vault (\S+) in /m.exec(stdout)?.[1] ?? vault;
      admin = /^ {2}admin +(SHA256:\S+)$/m.exec(stdout)?.[1] ?? admin;
      fingerprint = /(SHA256:[\w+/]{43})/.exec(stderr)?.[1] ?? fingerprint;
    }
    // Restored to where the definition says, as the vault's definition has it
    expect(column(orders, 'SELECT v FROM orders')).toEqual(['one']);
    expect(readFileSync(join(directory, 'root/recovered/data/uploads/1.txt'), 'utf8')).toBe('uploaded');
  },
);

/** The host is lost: what it had is not there any more. */
function loseStore(directory: string): void {
  renameSync(join(directory, 'srv/shop'), join(directory, 'srv/gone'));
  mkdirSync(join(directory, 'srv/shop'), { recursive: true });
}

async function shell(
  line: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  try {
    return { status: 0, ...(await promisify(execFile)('bash', ['-ec', line], { env })) };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: number; stdout?: string; stderr?: string };
    return { status: Number(code), stdout, stderr };
  }
}

test('the guide to vaults names only STOPs that there are', () => {
  const table = GUIDE.slice(GUIDE.indexOf('## What can stop you'));
  const codes = [...table.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, code = '']) => code),
  );
  expect(codes.length).toBeGreaterThan(10);
  expect(codes.filter((code) => !(code in STOPS))).toEqual([]);
});
