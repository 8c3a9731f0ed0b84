// Hooks: real commands in process groups of their own (T-3). What they print, how they end, and what they leave behind.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startTimeOf } from '../../control/clock.js';
import { runHook } from '../../control/hooks.js';
import { endLeftHooks } from '../../control/left-hooks.js';
import { LIMITS } from '../../domain/limits.js';
import { codeOf, eventually, stopOf, temporaryDirectory } from './room.js';

const shell = (script: string, timeoutSeconds = 20) => ({ argv: ['/bin/sh', '-c', script], timeoutSeconds });
const context = { store: 'tested', operation: 'an-operation' };
const pidIn = (path: string): number => Number(readFileSync(path, 'utf8').trim());

describe('a hook', () => {
  test('gets store, operation and its own name, a few variables of the worker, and no others', async () => {
    process.env['HOLDFAST_TEST_SECRET'] = 'secret';
    onTestFinished(() => void delete process.env['HOLDFAST_TEST_SECRET']);
    const output = await runHook('detach', shell('env; pwd'), { ...context, environment: { HOLDFAST_ROOT: '/a' } });
    expect(output).toContain('HOLDFAST_HOOK=detach\n');
    expect(output).toContain('HOLDFAST_STORE=tested\n');
    expect(output).toContain('HOLDFAST_OPERATION=an-operation\n');
    expect(output).toContain('HOLDFAST_ROOT=/a\n');
    expect(output).not.toContain('secret');
    expect(output.trimEnd().endsWith('\n/')).toBe(true);
  });

  test('is given its arguments as they are, without a shell', async () => {
    expect(await runHook('version', { argv: ['/bin/echo', '$HOME; `id`', '*'], timeoutSeconds: 5 }, context)).toBe(
      '$HOME; `id` *\n',
    );
  });

  test('that exits with another status than 0 is hook_failed, with its last output', async () => {
    const stop = await stopOf(runHook('resume', shell('echo why >&2; exit 3'), context));
    expect(stop).toMatchObject({ code: 'hook_failed', details: { hook: 'resume', lastOutput: 'why\n' } });
    expect(stop.message).toBe('hook resume failed: exit status 3: why');
  });

  test('that kills itself is hook_failed, with the signal', async () => {
    expect((await stopOf(runHook('resume', shell('kill -TERM $$'), context))).message).toContain('SIGTERM');
  });

  test('that does not exist is hook_failed', async () => {
    expect(await codeOf(runHook('resume', { argv: ['/nowhere/at/all'], timeoutSeconds: 5 }, context))).toBe(
      'hook_failed',
    );
  });

  test('that does not end in time is killed with everything in its group', async () => {
    const pidFile = join(temporaryDirectory(), 'pid');
    const begin = performance.now();
    const stop = await stopOf(
      runHook('detach', shell(`sleep 60 & echo $! > '${pidFile}'; trap '' TERM; wait`, 1), context),
    );
    expect(stop.message).toContain('within 1 s');
    expect(performance.now() - begin).toBeLessThan(5_000);
    await eventually('the grandchild is gone', () => startTimeOf(pidIn(pidFile)) === undefined);
  });

  test('is killed when its step is cancelled, and not begun when it was cancelled before', async () => {
    const cancel = new AbortController();
    const running = codeOf(runHook('detach', shell('sleep 60'), { ...context, signal: cancel.signal }));
    setTimeout(() => cancel.abort(), 100);
    expect(await running).toBe('hook_failed');
    const file = join(temporaryDirectory(), 'began');
    expect(await codeOf(runHook('detach', shell(`touch '${file}'`), { ...context, signal: cancel.signal }))).toBe(
      'hook_failed',
    );
    expect(() => readFileSync(file)).toThrow('ENOENT');
  });

  test('that leaves a daemon with its pipes open does not hang, and the daemon lives on', async () => {
    const pidFile = join(temporaryDirectory(), 'pid');
    const begin = performance.now();
    const output = await runHook('attach', shell(`sleep 30 & echo $! > '${pidFile}'; echo started`), context);
    expect(output).toBe('started\n');
    expect(performance.now() - begin).toBeLessThan(3_000);
    const pid = pidIn(pidFile);
    onTestFinished(() => void process.kill(pid, 'SIGKILL'));
    expect(startTimeOf(pid)).toBeDefined();
  });

  test('may print without end: what is kept is bounded, its beginning on stdout and its end on stderr', async () => {
    const output = await runHook('version', shell('echo begin; head -c 3000000 /dev/zero | tr "\\0" x'), context);
    expect(output).toHaveLength(LIMITS.hookOutputBytesMax);
    expect(output.startsWith('begin\n')).toBe(true);
    const stop = await stopOf(
      runHook('version', shell('head -c 3000000 /dev/zero | tr "\\0" x >&2; echo end >&2; exit 1'), context),
    );
    expect(String(stop.details['lastOutput'])).toHaveLength(2000);
    expect(String(stop.details['lastOutput']).endsWith('end\n')).toBe(true);
  });
});

describe('hooks that outlived their worker', () => {
  test('are ended by operation; resume and attach, and those of other operations, go on', async () => {
    const directory = temporaryDirectory();
    const begin = (hook: 'detach' | 'attach', operation: string, name: string) => {
      const done = runHook(hook, shell(`echo $$ > '${directory}/${name}'; sleep 30; true`), {
        store: 'tested',
        operation,
      });
      onTestFinished(async () => {
        const pid = pidIn(join(directory, name));
        if (startTimeOf(pid) !== undefined) process.kill(-pid, 'SIGKILL');
        await Promise.allSettled([done]);
      });
      return done.then(
        () => 'ended',
        (error: unknown) => (error instanceof Error ? error.message : 'failed'),
      );
    };
    const left = begin('detach', 'one', 'left');
    void begin('attach', 'one', 'attach');
    void begin('detach', 'two', 'other');
    await eventually('all run', () =>
      ['left', 'attach', 'other'].every((name) => {
        try {
          return pidIn(join(directory, name)) > 0;
        } catch {
          return false; // Not written yet: asked again
        }
      }),
    );
    await sleep(50);
    expect(await endLeftHooks('one')).toBe(1);
    expect(await left).toContain('SIGKILL');
    expect(startTimeOf(pidIn(join(directory, 'attach')))).toBeDefined();
    expect(startTimeOf(pidIn(join(directory, 'other')))).toBeDefined();
    expect(await endLeftHooks('one')).toBe(0);
  });
});
