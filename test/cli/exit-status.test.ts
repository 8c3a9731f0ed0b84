// Every exit status of the table in docs/reference/stop.md, each brought about for real.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { STOPS } from '../../domain/stop.js';
import { useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';
import { CONTROL_CHARACTERS, PROGRAM, jsonLines, run, startOnTerminal, startProgram } from './room.js';
import type { Ended } from './room.js';

const REWRITTEN = '\r\u001B[K';
const TABLE = /\| exit \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(readFileSync('docs/reference/stop.md', 'utf8'));
const DOCUMENTED = [...(TABLE?.[1] ?? '').matchAll(/^\| (\d+) \|/gm)].map(([, status]) => Number(status));

interface Case {
  readonly status: number;
  readonly code: string | null;
  /** Arguments, after everything that they need has been brought about. */
  readonly words: (store: TestStore) => Promise<readonly string[]> | readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

describe.skipIf(requires('temporal'))('the exit status', () => {
  const engine = useEngine();
  const holdfast = (environment: Readonly<Record<string, string>>, ...argv: readonly string[]): Promise<Ended> =>
    run({ ...engine().environment, ...environment }, ...argv);

  const CASES: readonly Case[] = [
    { status: 0, code: null, words: (store) => ['backup', store.name] },
    { status: 64, code: 'usage', words: (store) => ['backup', store.name, 'more'] },
    {
      status: 65,
      code: 'file_missing',
      words: async (store) => {
        rmSync(join((await store.backup()).artefact, 'data/data/a.db'));
        return ['verify', store.name, 'latest'];
      },
    },
    {
      status: 69,
      code: 'engine_unreachable',
      words: (store) => ['backup', store.name],
      environment: { TEMPORAL_ADDRESS: '127.0.0.1:1' },
    },
    {
      // A programming error: thrown where nobody catches it, while the command is at work
      status: 70,
      code: 'defect',
      words: (store) => ['backup', store.name],
      environment: {
        NODE_OPTIONS: '--import data:text/javascript,setTimeout(()=>{null.x},250)',
      },
    },
    {
      status: 73,
      code: 'operation_repeated',
      words: async (store) => {
        const { operation } = await store.backup();
        return ['backup', store.name, '--operation', operation];
      },
    },
    {
      status: 74,
      code: 'io_error',
      words: (store) => {
        store.write('files/file', '');
        store.define({ backup: { destination: join(store.directory, 'hooks/hook.sh/backups') } });
        return ['backup', store.name];
      },
    },
    {
      status: 75,
      code: 'store_locked',
      words: async (store) => {
        const held = store.holdHook('quiesce');
        const backup = store.backup();
        await held.held();
        onTestFinished(async () => {
          held.letGo();
          await backup;
        });
        return ['backup', store.name];
      },
    },
    {
      status: 77,
      code: 'approval_missing',
      words: async (store) => {
        await store.backup();
        return ['restore', store.name, 'latest'];
      },
    },
    { status: 78, code: 'definition_missing', words: () => ['backup', 'nobody'] },
  ];

  test('is documented for every STOP, and each that is documented is brought about below', () => {
    const used = [...new Set([0, 70, ...Object.values(STOPS).map(({ exit }) => exit)])].sort((a, b) => a - b);
    expect(DOCUMENTED).toEqual(used);
    expect(CASES.map(({ status }) => status)).toEqual(DOCUMENTED);
  });

  test.each(CASES.map((each) => [each.status, each.code ?? 'done', each] as const))(
    'is %i for %s, for people and with --json',
    async (status, code, { words, environment = {} }) => {
      const store = makeStore(engine(), 'status', { hooks: ['quiesce', 'resume', 'detach', 'attach'] });
      const argv = await words(store);
      const json = await holdfast(environment, ...argv, '--json');
      expect(json).toMatchObject({ status });
      expect(jsonLines(json).last).toMatchObject(code === 'done' ? { type: 'result' } : { type: 'error', code });
      const people = await holdfast(environment, ...argv);
      expect(people).toMatchObject({ status });
      if (code !== 'done') expect(people.stderr).toMatch(new RegExp(`^(?:STOP )?${code}: `, 'm'));
    },
  );

  test.skipIf(requires('python3'))('comes with no colours, on a terminal too, whatever NO_COLOR says', async () => {
    const store = makeStore(engine(), 'plain');
    for (const NO_COLOR of ['', '1']) {
      const { stdout } = await startOnTerminal({ ...engine().environment, NO_COLOR }, 'backup', store.name).ended;
      expect(stdout).toContain('backup 0');
      // Lines are rewritten, and nothing else
      expect(stdout.replaceAll(REWRITTEN, '').replaceAll('\r', '')).not.toMatch(CONTROL_CHARACTERS);
    }
  });

  test('74: what is said cannot be written, which is no defect', async () => {
    for (const json of [[], ['--json']]) {
      const ended = await startProgram(
        engine().environment,
        'sh',
        '-c',
        'exec "$@" > /dev/full',
        'sh',
        process.execPath,
        PROGRAM,
        'status',
        ...json,
      ).ended;
      expect(ended.status).toBe(74);
      // In JSON the error goes where nothing can be written
      expect(ended.stderr.includes('no_space')).toBe(json.length === 0);
    }
  });

  test('-v tells each step and how long it took, and what lies behind a refusal', async () => {
    const store = makeStore(engine(), 'verbose');
    const backup = await holdfast({}, 'backup', store.name, '-v');
    for (const step of ['backup.lock', 'backup.snapshot', 'backup.package'])
      expect(backup.stdout).toMatch(new RegExp(`^  step  ${step.replace('.', '\\.')} +\\S+ m?s$`, 'm'));
    writeFileSync(join(engine().definitionsDirectory, `${store.name}.yaml`), 'holdfast: 1\n');
    const refused = await holdfast({}, 'show', store.name, 'latest', '--verbose');
    expect(refused.status).toBe(78);
    store.define({ backup: { destination: join(store.directory, 'hooks/hook.sh/backups') } });
    const caused = await holdfast({}, 'list', store.name, '--verbose');
    expect(caused.stderr).toMatch(/^ {2}because: Error: ENOTDIR/m);
    expect((await holdfast({}, 'list', store.name)).stderr).not.toContain('because');
  });
});
