// Plans, orders and refusals of an exchange (SM-9); the crashes are in exchange-crash.test.ts.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { decideStep, orderSteps } from '../../domain/exchange.js';
import type { ExchangeStep } from '../../domain/exchange.js';
import {
  assertCanExchange,
  EXCHANGE_OPERATIONS,
  exchangeMode,
  performExchange,
  planExchange,
  undoExchange,
} from '../../files/exchange.js';
import { requires } from '../support/requires.js';
import { SystemCallError } from '../../files/system-calls.js';
import { treeDigest } from '../support/tree-digest.js';
import { codeOf, fill, isRoot, stopOf, temporaryDirectory } from './temporary.js';

async function entriesPlan(live: Record<string, string>, staged: Record<string, string>, untouched: string[] = []) {
  const directory = temporaryDirectory();
  const livePath = join(directory, 'live');
  const stagedPath = join(livePath, '.holdfast/trees/staged');
  mkdirSync(stagedPath, { recursive: true });
  fill(livePath, live);
  fill(stagedPath, staged);
  const plan = await planExchange([{ root: 'data', mode: 'entries', livePath, stagedPath, untouched }]);
  return { plan, livePath, stagedPath, steps: plan.roots[0]?.steps ?? [] };
}

describe('planExchange', () => {
  test('sidecars move out before their database is exchanged, and the control directory stays', async () => {
    const { steps } = await entriesPlan(
      { 'a.db': '1', 'a.db-wal': '1', 'a.db-shm': '1', 'z.db': '1', 'z.db-journal': '1', 'notes-wal': '1' },
      { 'a.db': '2', 'z.db': '2' },
    );
    expect(steps.map(({ name, kind }) => `${kind} ${name}`)).toEqual([
      'move-out a.db-shm',
      'move-out a.db-wal',
      'move-out z.db-journal',
      'exchange a.db',
      'move-out notes-wal',
      'exchange z.db',
    ]);
  });

  test('on the way back sidecars move in after their database', async () => {
    const { plan, livePath, stagedPath } = await entriesPlan({ 'a.db': '1', 'a.db-wal': '1' }, { 'a.db': '2' });
    await performExchange(plan);
    const back = await planExchange([{ root: 'data', mode: 'entries', livePath, stagedPath, untouched: [] }]);
    expect(back.roots[0]?.steps.map(({ name, kind }) => `${kind} ${name}`)).toEqual([
      'exchange a.db',
      'move-in a.db-wal',
    ]);
  });

  test('what is untouched stays, but never the sidecar of a database that is exchanged', async () => {
    const { plan, livePath, stagedPath } = await entriesPlan(
      { 'a.db': '1', 'a.db-wal': '1', tls: 'key', other: '1' },
      { 'a.db': '2' },
      ['tls', 'a.db-wal'],
    );
    await performExchange(plan);
    expect(readdirSync(livePath).sort()).toEqual(['.holdfast', 'a.db', 'tls']);
    expect(readdirSync(stagedPath).sort()).toEqual(['a.db', 'a.db-wal', 'other']);
  });

  test.skipIf(!isRoot)('two filesystems are not exchangeable (needs root)', async () => {
    const directory = temporaryDirectory();
    const mounted = join(directory, 'mounted');
    mkdirSync(mounted);
    mount(['-t', 'tmpfs', 'none', mounted], mounted);
    mkdirSync(join(mounted, 'staged'));
    mkdirSync(join(directory, 'live'));
    const code = await codeOf(
      async () =>
        await planExchange([
          {
            root: 'data',
            mode: 'root',
            livePath: join(directory, 'live'),
            stagedPath: join(mounted, 'staged'),
            untouched: [],
          },
        ]),
    );
    expect(code).toBe('not_exchangeable');
  });

  test('any set of names is ordered so that a database never stands beside a sidecar of the other side', () => {
    const names = ['a.db', 'b', ...['-wal', '-shm', '-journal'].map((suffix) => `a.db${suffix}`)];
    const kinds = fc.constantFrom('exchange', 'move-in', 'move-out', 'absent');
    fc.assert(
      fc.property(fc.array(kinds, { minLength: names.length, maxLength: names.length }), (chosen) => {
        const steps = names.flatMap((name, index): ExchangeStep[] => {
          const kind = chosen[index] ?? 'absent';
          return kind === 'absent'
            ? []
            : [
                {
                  name,
                  kind,
                  liveInode: kind === 'move-in' ? null : `${index}`,
                  stagedInode: kind === 'move-out' ? null : `1${index}`,
                },
              ];
        });
        const ordered = orderSteps(steps, new Set(steps.map(({ name }) => name)));
        expect(ordered.map(({ name }) => name).sort()).toEqual(steps.map(({ name }) => name).sort());
        const main = ordered.findIndex(({ name }) => name === 'a.db');
        for (const [index, step] of ordered.entries()) {
          if (main < 0 || !step.name.startsWith('a.db-')) continue;
          expect(step.kind === 'move-in' ? index > main : index < main).toBe(true);
        }
      }),
    );
  });
});

describe('decideStep', () => {
  const step: ExchangeStep = { name: 'a', kind: 'exchange', liveInode: '1', stagedInode: '2' };
  test.each([
    ['1', '2', 'not-done'],
    ['2', '1', 'done'],
    ['1', '1', 'neither'],
    ['3', '2', 'neither'],
    [null, '2', 'neither'],
    ['1', null, 'neither'],
  ] as const)('live %s and staged %s are %s', (live, staged, state) => {
    expect(decideStep(step, { live, staged })).toBe(state);
  });
});

describe('what nobody planned', () => {
  test('is a stop before anything is touched, in both directions', async () => {
    const { plan, livePath, stagedPath } = await entriesPlan({ a: '1', b: '1' }, { a: '2', b: '2' });
    writeFileSync(join(livePath, 'other'), 'third');
    rmSync(join(stagedPath, 'b'));
    const before = await treeDigest(livePath);
    const stop = await stopOf(async () => await performExchange(plan));
    expect(stop).toMatchObject({
      code: 'io_error',
      details: { live: join(livePath, 'b'), staged: join(stagedPath, 'b') },
    });
    expect(await treeDigest(livePath)).toEqual(before);
    expect(await codeOf(async () => await undoExchange(plan))).toBe('undo_failed');
    expect(await treeDigest(livePath)).toEqual(before);
  });

  test('a file written anew at a place is not taken for the planned one', async () => {
    const { plan, livePath } = await entriesPlan({ a: '1' }, { a: '2' });
    writeFileSync(join(livePath, 'a.new'), 'third');
    execFileSync('mv', [join(livePath, 'a.new'), join(livePath, 'a')]);
    expect(await codeOf(async () => await performExchange(plan))).toBe('io_error');
    expect(readFileSync(join(livePath, 'a'), 'utf8')).toBe('third');
  });
});

describe('a system call that fails', () => {
  test.each([
    ['ENOSPC', 28, 'no_space'],
    ['EACCES', 13, 'permission_denied'],
    ['EINVAL', 22, 'not_exchangeable'],
  ] as const)('%s at the second step is %s, and the first is undone exactly', async (_name, errno, code) => {
    const { plan, livePath } = await entriesPlan({ a: '1', b: '1' }, { a: '2', b: '2' });
    const before = await treeDigest(livePath, { times: 'below' });
    let calls = 0;
    const exchange = (left: string, right: string): void | Promise<void> => {
      calls += 1;
      if (calls === 2) throw new SystemCallError('renameat2', left, errno);
      return EXCHANGE_OPERATIONS.exchange(left, right);
    };
    expect(await codeOf(async () => await performExchange(plan, {}, { ...EXCHANGE_OPERATIONS, exchange }))).toBe(code);
    expect(readFileSync(join(livePath, 'a'), 'utf8')).toBe('2');
    await undoExchange(plan);
    expect(await treeDigest(livePath, { times: 'below' })).toEqual(before);
  });

  test('an fsync that fails stops; the undo takes the step back although it was made', async () => {
    const { plan, livePath } = await entriesPlan({ a: '1' }, { a: '2' });
    const fsyncDirectory = (path: string): Promise<void> => Promise.reject(new SystemCallError('fsync', path, 5));
    expect(await codeOf(async () => await performExchange(plan, {}, { ...EXCHANGE_OPERATIONS, fsyncDirectory }))).toBe(
      'io_error',
    );
    await undoExchange(plan);
    expect(readFileSync(join(livePath, 'a'), 'utf8')).toBe('1');
  });

  test.skipIf(requires('strace'))(
    'a filesystem that can not exchange is not_exchangeable before anything is staged; one that can is left as it was',
    async () => {
      const directory = temporaryDirectory();
      assertCanExchange(directory);
      expect(readdirSync(directory)).toEqual([]);
      const script = `
        const { assertCanExchange } = await import(${JSON.stringify(new URL('../../files/exchange.js', import.meta.url).href)});
        try { assertCanExchange('.'); } catch (error) { console.log(error.code); }`;
      const injected = ['-f', '-o', '/dev/null', '-e', 'trace=renameat2', '-e', 'inject=renameat2:error=EINVAL'];
      const argv = [...injected, process.execPath, '--input-type=module', '-e', script];
      expect(execFileSync('strace', argv, { cwd: directory, encoding: 'utf8' }).trim()).toBe('not_exchangeable');
    },
  );

  test('an undo that fails says so with both places, and may be tried again', async () => {
    const { plan, livePath, stagedPath } = await entriesPlan({ a: '1' }, { a: '2' });
    await performExchange(plan);
    const exchange = (left: string): void => {
      throw new SystemCallError('renameat2', left, 5);
    };
    const stop = await stopOf(async () => await undoExchange(plan, {}, { ...EXCHANGE_OPERATIONS, exchange }));
    expect(stop).toMatchObject({
      code: 'undo_failed',
      details: { live: join(livePath, 'a'), staged: join(stagedPath, 'a') },
    });
    await undoExchange(plan);
    expect(readFileSync(join(livePath, 'a'), 'utf8')).toBe('1');
  });
});

describe('exchangeMode', () => {
  test('a root beside which we may write is exchanged whole, also when it is gone', async () => {
    const root = join(temporaryDirectory(), 'data');
    const controlDirectory = join(dirname(root), '.holdfast', 'data');
    expect(await exchangeMode(root)).toMatchObject({ mode: 'root', controlDirectory });
    mkdirSync(root);
    expect(await exchangeMode(root)).toMatchObject({ mode: 'root', controlDirectory });
    expect(existsSync(dirname(controlDirectory))).toBe(false);
  });

  test('a root that is a link or a file, or whose parent is gone, is not exchangeable', async () => {
    const directory = temporaryDirectory();
    fill(directory, { file: '1' });
    symlinkSync('.', join(directory, 'link'));
    for (const name of ['file', 'link', 'absent/data', 'file/data']) {
      expect(await codeOf(async () => await exchangeMode(join(directory, name)))).toBe('not_exchangeable');
    }
  });

  test('a control directory that is a link is not trusted: the entries are exchanged instead', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'data'));
    symlinkSync('data', join(directory, '.holdfast'));
    expect(await exchangeMode(join(directory, 'data'))).toMatchObject({
      mode: 'entries',
      controlDirectory: join(directory, 'data', '.holdfast'),
    });
  });

  test.skipIf(!isRoot)('a control directory of another user is not trusted (needs root)', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'data'));
    mkdirSync(join(directory, '.holdfast'));
    chownSync(join(directory, '.holdfast'), 12345, 12345);
    expect(await exchangeMode(join(directory, 'data'))).toMatchObject({ mode: 'entries' });
  });

  test.skipIf(!isRoot)(
    'as another user, an unwritable parent means entries, an unwritable root none (needs root)',
    () => {
      const directory = temporaryDirectory();
      chmodSync(directory, 0o755);
      mkdirSync(join(directory, 'ours'));
      mkdirSync(join(directory, 'theirs'));
      chownSync(join(directory, 'ours'), 12345, 12345);
      const script = `
      // Imported first: the checkout may be one that the other user can't read.
      const { exchangeMode } = await import(${JSON.stringify(new URL('../../files/exchange.js', import.meta.url).href)});
      process.setgroups([]); process.setgid(12345); process.setuid(12345);
      const say = async (root) => exchangeMode(root).then((found) => found.mode, (error) => error.code);
      console.log(await say(${JSON.stringify(join(directory, 'ours'))}), await say(${JSON.stringify(join(directory, 'theirs'))}));`;
      expect(asOther(script)).toBe('entries not_exchangeable');
    },
  );

  test.skipIf(!isRoot)(
    'a mount point is exchanged by its entries, a mount below it is in the way (needs root)',
    async () => {
      const root = join(temporaryDirectory(), 'data');
      mkdirSync(root);
      mount(['-t', 'tmpfs', 'none', root], root);
      expect(await exchangeMode(root)).toMatchObject({
        mode: 'entries',
        why: 'the root is a mount point',
        controlDirectory: join(root, '.holdfast'),
      });
      mkdirSync(join(root, 'below'));
      mount(['--bind', root, join(root, 'below')], join(root, 'below'));
      expect(await stopOf(async () => await exchangeMode(root))).toMatchObject({
        code: 'not_exchangeable',
        details: { mounts: [join(root, 'below')] },
      });
    },
  );

  test.skipIf(!isRoot)(
    'a bind mount of the same filesystem is a mount point too, and its entries are exchanged (needs root)',
    async () => {
      const directory = temporaryDirectory();
      fill(directory, { 'data/a': 'old', 'volume/a': 'old', 'volume/.holdfast/staged/a': 'new' });
      const root = join(directory, 'data');
      mount(['--bind', join(directory, 'volume'), root], root);
      const { mode } = await exchangeMode(root);
      const plan = await planExchange([
        { root: 'data', mode, livePath: root, stagedPath: join(root, '.holdfast/staged'), untouched: [] },
      ]);
      await performExchange(plan);
      expect(readFileSync(join(directory, 'volume/a'), 'utf8')).toBe('new');
      await undoExchange(plan);
      expect(readFileSync(join(directory, 'volume/a'), 'utf8')).toBe('old');
    },
  );
});

function mount(argv: string[], mountPoint: string): void {
  execFileSync('mount', argv);
  onTestFinished(() => {
    execFileSync('umount', ['-l', mountPoint]);
  });
}

/** What a script says as an unprivileged user. */
function asOther(script: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', cwd: '/' }).trim();
}
