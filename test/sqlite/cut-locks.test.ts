// The lock rules of the cut: what others may do beside it, and how it waits for them.
import { fork, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeCut } from '../../sqlite/cut.js';
import { QUIET, Stage, chainLength, childrenRunning, commandOf, cutRequest, stopOf } from './support/actors.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.end());

async function cutPid(): Promise<number> {
  for (let turn = 0; turn < 400; turn += 1) {
    const [pid] = childrenRunning('cut-process.js');
    if (pid !== undefined) return pid;
    await sleep(5);
  }
  throw new Error('no process of a cut appeared');
}

describe('beside a held cut', () => {
  test('reading and closing every file in another process loses no lock, and writers stay out', async () => {
    const locked = stage.database('locked.db', { journalMode: 'delete', rows: 30_000 });
    const wal = stage.database('wal.db', { rows: 10 });
    const [walker, writer] = [stage.actor(), stage.actor()];
    expect(await writer.call({ do: 'tryLock', path: locked })).toBe('locked');
    const seen: string[] = [];
    await takeCut(cutRequest([wal, locked]), {
      ...QUIET,
      onInstant: async () => {
        const pid = await cutPid();
        process.kill(pid, 'SIGSTOP');
        expect(Object.keys(await walker.call({ do: 'hash', directory: stage.directory }))).toContain('locked.db');
        seen.push(
          await writer.call({ do: 'tryLock', path: locked }),
          await walker.call({ do: 'tryLock', path: locked }),
        );
        seen.push(await writer.call({ do: 'tryLock', path: wal }));
        process.kill(pid, 'SIGCONT');
      },
    });
    expect(seen).toEqual(['busy', 'busy', 'locked']);
    expect(await writer.call({ do: 'tryLock', path: locked })).toBe('locked');
    expect(chainLength(`${locked}.copy`)).toBe(30_000);
  });

  test('a pin that lasts too long is refused, and its target is not left', async () => {
    const [first, second] = [stage.database('a.db', { rows: 30_000 }), stage.database('b.db')];
    const stop = await stopOf(
      takeCut(cutRequest([first, second], { pinSecondsMax: 1 }), { ...QUIET, onInstant: () => freeze(1200) }),
    );
    expect(stop).toMatchObject({ code: 'pin_too_long', details: { paths: [first, second] } });
    expect(await stage.actor().call({ do: 'tryLock', path: second })).toBe('locked');
  });

  test('a log that grows too much under a pin is refused, by name', async () => {
    const [first, second] = [stage.database('a.db', { rows: 30_000 }), stage.database('b.db')];
    const writer = stage.actor();
    const stop = await stopOf(
      takeCut(cutRequest([first, second], { walGrowthBytesMax: 1_000_000 }), {
        ...QUIET,
        onInstant: () => freeze(60, () => writer.call({ do: 'insert', path: second, rows: 2000 })),
      }),
    );
    expect(stop).toMatchObject({ code: 'wal_growth', details: { path: second, walGrowthBytesMax: 1_000_000 } });
  });

  async function freeze(millis: number, during: () => Promise<unknown> = async () => undefined): Promise<void> {
    const pid = await cutPid();
    process.kill(pid, 'SIGSTOP');
    await during();
    await sleep(millis);
    process.kill(pid, 'SIGCONT');
  }
});

describe('while another holds a write lock', () => {
  test('a transaction of two seconds on one database delays the cut and stalls no writer of the others', async () => {
    const paths = Array.from({ length: 8 }, (_, index) => stage.database(`${index}.db`));
    const slow = paths[5] ?? '';
    const others = paths.filter((path) => path !== slow);
    const [holder, writer] = [stage.actor(), stage.actor()];
    await holder.call({ do: 'begin', path: slow, rows: 3 });
    await writer.startChain(others);
    const cut = takeCut(cutRequest(paths), QUIET);
    await sleep(2000);
    await holder.call({ do: 'commit', path: slow });
    const result = await cut;
    const { commitMillisMax } = await writer.stopChain();
    expect(result.lockTries).toBeGreaterThan(20);
    expect(commitMillisMax).toBeLessThan(600);
    expect(result.pauseMillis).toBeLessThan(600);
    expect(chainLength(`${slow}.copy`)).toBe(3);
  });

  test.each(['wal', 'delete'])('a %s database that stays locked is refused as busy, by name', async (journalMode) => {
    const [free, held] = [stage.database('free.db'), stage.database('held.db', { journalMode, rows: 1 })];
    await stage.actor().call({ do: 'begin', path: held, rows: 1 });
    const stop = await stopOf(takeCut(cutRequest([free, held], { quiesceTimeoutMillis: 300 }), QUIET));
    expect(stop).toMatchObject({ code: 'database_busy', details: { path: held } });
    expect(await stage.actor().call({ do: 'tryLock', path: free })).toBe('locked');
  });

  test.each(['wal', 'delete'])(
    'a connection in exclusive locking mode on a %s database is refused as such',
    async (journalMode) => {
      const [free, held] = [stage.database('free.db'), stage.database('held.db', { journalMode, rows: 1 })];
      const holder = stage.actor();
      await holder.call({ do: 'exclusive', path: held });
      const stop = await stopOf(takeCut(cutRequest([free, held], { quiesceTimeoutMillis: 300 }), QUIET));
      expect(stop).toMatchObject({ code: 'database_exclusive', details: { path: held } });
      await holder.kill();
      await takeCut(cutRequest([free, held]), QUIET);
      expect(chainLength(`${held}.copy`)).toBe(2);
    },
  );
});

describe('its process ends', () => {
  test('by abort, with the reason of the signal, leaving no lock', async () => {
    const [free, held] = [stage.database('free.db'), stage.database('held.db')];
    await stage.actor().call({ do: 'begin', path: held, rows: 1 });
    const abort = new AbortController();
    const cut = takeCut(cutRequest([free, held]), { ...QUIET, signal: abort.signal });
    const pid = await cutPid();
    setTimeout(() => abort.abort(new Error('enough')), 200);
    await expect(cut).rejects.toThrow('enough');
    expect(commandOf(pid)).toBe('');
    expect(await stage.actor().call({ do: 'tryLock', path: free })).toBe('locked');
  });

  test('by a failing handler, with that failure', async () => {
    const cut = takeCut(cutRequest([stage.database('a.db', { rows: 5000 })]), {
      ...QUIET,
      onInstant: () => Promise.reject(new Error('the tree changed')),
    });
    await expect(cut).rejects.toThrow('the tree changed');
    const last = takeCut(cutRequest([stage.database('b.db')]), {
      ...QUIET,
      onCopied: async () => {
        await sleep(300);
        throw new Error('the copy cannot be read');
      },
    });
    await expect(last).rejects.toThrow('the copy cannot be read');
  });

  test('by a kill from outside, as where memory runs out: that is a refusal of the machine', async () => {
    const held = stage.database('held.db');
    await stage.actor().call({ do: 'begin', path: held, rows: 1 });
    const cut = takeCut(cutRequest([held]), QUIET);
    process.kill(await cutPid(), 'SIGKILL');
    expect(await stopOf(cut)).toMatchObject({ code: 'io_error', details: { signal: 'SIGKILL' } });
  });

  test('before it began, where descriptors have run out, and the process that asked lives on', () => {
    const program = `
      const { openSync, closeSync } = await import('node:fs');
      const { takeCut } = await import(${JSON.stringify(new URL('../../sqlite/cut.js', import.meta.url).href)});
      const { QUIET, cutRequest } = await import(${JSON.stringify(new URL('./support/actors.js', import.meta.url).href)});
      const taken = [];
      for (let full = false; !full; ) try { taken.push(openSync('/dev/null')); } catch { full = true; }
      const stop = await takeCut(cutRequest(['/nowhere/a.db']), QUIET).catch((error) => error);
      for (const descriptor of taken) closeSync(descriptor);
      console.log(stop.code, stop.details.errno);`;
    const run = 'ulimit -n 100; exec "$0" --input-type=module -e "$1"';
    const { stdout, stderr } = spawnSync('sh', ['-c', run, process.execPath, program], { encoding: 'utf8' });
    expect([stdout.trim(), stderr]).toEqual(['io_error EMFILE', '']);
  });

  test('with the parent that is killed', async () => {
    const held = stage.database('held.db');
    await stage.actor().call({ do: 'begin', path: held, rows: 1 });
    const parent = fork(fileURLToPath(new URL('./support/parent.js', import.meta.url)), [held], { execArgv: [] });
    let pid: number | undefined;
    for (let turn = 0; pid === undefined && turn < 400; turn += 1) {
      await sleep(10);
      [pid] = childrenRunning('cut-process.js', parent.pid);
    }
    if (pid === undefined) throw new Error('no process of a cut appeared');
    parent.kill('SIGKILL');
    for (let turn = 0; commandOf(pid) !== '' && turn < 400; turn += 1) await sleep(10);
    expect(commandOf(pid)).toBe('');
  });
});
