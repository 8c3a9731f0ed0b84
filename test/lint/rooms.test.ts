// What each room may import is held by the linter (.oxlintrc.json, ARCHITECTURE.md). A linter that has fallen silent
// looks like a clean tree, so every rule is proved here: a forbidden import is planted in each room and must be refused
// with its reason, and what the room may import must pass.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Plant {
  /** Where the file is planted, relative to the project. */
  readonly file: string;
  /** Imports that must be refused, and the start of the reason that must be given. */
  readonly refused: readonly string[];
  readonly reason: string;
  /** Imports that must pass. */
  readonly allowed: readonly string[];
}

const PLANTS: readonly Plant[] = [
  {
    file: 'domain/planted.ts',
    refused: ['node:fs', 'zod', '../files/errors.js', '@temporalio/common'],
    reason: 'domain/ imports nothing',
    allowed: ['./stop.js'],
  },
  {
    file: 'domain/planted-schema.ts',
    refused: ['./schema/definition.js'],
    reason: 'domain/ never imports domain/schema/',
    allowed: [],
  },
  {
    file: 'domain/schema/planted.ts',
    refused: ['node:fs', 'yaml', '../../files/errors.js'],
    reason: 'domain/schema/ imports zod and domain/ alone',
    allowed: ['zod', '../stop.js', './definition.js'],
  },
  {
    file: 'workflows/planted.ts',
    refused: ['node:fs', 'zod', '../domain/schema/definition.js', '../files/errors.js', '@temporalio/client'],
    reason: 'workflows/ imports domain/ and types of activities/ alone',
    allowed: ['../domain/stop.js', './kit/step.js', '@temporalio/workflow', '@temporalio/common'],
  },
  {
    file: 'workflows/planted-activity.ts',
    refused: ['../activities/index.js'],
    reason: 'workflows/ imports only types of activities/',
    allowed: [],
  },
  {
    file: 'workflows/kit/planted.ts',
    refused: ['node:crypto', '../../domain/schema/plan.js', '../../sqlite/cut.js'],
    reason: 'workflows/kit/ imports domain/ and types of activities/ alone',
    allowed: ['../../domain/stop.js', './step.js', '@temporalio/workflow'],
  },
  {
    file: 'workflows/kit/planted-activity.ts',
    refused: ['../../activities/index.js'],
    reason: 'workflows/kit/ imports only types of activities/',
    allowed: [],
  },
  {
    file: 'activities/planted.ts',
    refused: ['../workflows/backup.js', '../client/engine.js', '@temporalio/worker', 'better-sqlite3', 'koffi'],
    reason: 'activities/ imports domain/, control/',
    allowed: [
      '../control/lock.js',
      '../files/errors.js',
      '../sqlite/cut.js',
      '@temporalio/activity',
      'node:fs/promises',
    ],
  },
  {
    file: 'activities/planted-client.ts',
    refused: ['@temporalio/client'],
    reason: 'activities/ imports only types of @temporalio/client',
    allowed: [],
  },
  {
    file: 'control/planted.ts',
    refused: ['@temporalio/client', '../activities/lock.js', '../client/engine.js', 'koffi', '../cli/main.js'],
    reason: 'control/ imports domain/, definitions/, artefacts/, vault/, sqlite/ and files/, never Temporal',
    allowed: ['better-sqlite3', '../files/errors.js', '../artefacts/read.js', '../domain/schema/plan.js', 'node:fs'],
  },
  {
    file: 'definitions/planted.ts',
    refused: ['../control/lock.js', '../artefacts/artefact.js', 'better-sqlite3', '@temporalio/client'],
    reason: 'definitions/ imports domain/, sqlite/ and files/: it knows what a store is, not what is done with it',
    allowed: ['yaml', '../files/errors.js', '../sqlite/shape.js', '../domain/schema/definition.js', 'node:fs/promises'],
  },
  {
    file: 'artefacts/planted.ts',
    refused: ['better-sqlite3', '../sqlite/cut.js', '../control/lock.js', '@temporalio/activity'],
    reason: 'artefacts/ imports domain/ and files/ alone',
    allowed: ['../files/errors.js', '../domain/manifest.js', 'node:fs'],
  },
  {
    file: 'vault/planted.ts',
    refused: ['../control/lock.js', '../artefacts/artefact.js', '../sqlite/cut.js', 'koffi', '@temporalio/activity'],
    reason: 'vault/ imports domain/, files/, age-encryption, zstd-napi and better-sqlite3 alone',
    allowed: ['age-encryption', 'zstd-napi/binding.js', 'better-sqlite3', '../files/errors.js', '../domain/vault.js'],
  },
  {
    file: 'sqlite/planted.ts',
    refused: ['../files/walk.js', '../files/errors.js', '../control/lock.js', 'koffi', '@temporalio/activity'],
    reason: 'sqlite/ imports domain/, better-sqlite3 and piscina alone',
    allowed: ['better-sqlite3', '../domain/stop.js', 'node:child_process'],
  },
  {
    file: 'files/planted.ts',
    refused: ['better-sqlite3', '../sqlite/cut.js', '../control/journal.js', '@temporalio/activity'],
    reason: 'files/ imports domain/, koffi, picomatch and piscina alone',
    allowed: ['koffi', 'picomatch', '../domain/stop.js', 'node:fs/promises'],
  },
  {
    file: 'workers/planted.ts',
    refused: ['../cli/main.js', '../workflows/backup.js', 'commander', 'zod'],
    reason: 'workers/ runs steps and serves the engine',
    allowed: ['../activities/index.js', '@temporalio/worker', '../client/engine.js', 'better-sqlite3'],
  },
  {
    file: 'client/planted.ts',
    refused: ['../activities/index.js', '../workflows/backup.js', '../cli/main.js', 'better-sqlite3', 'zod'],
    reason: 'client/ imports domain/, control/ and @temporalio alone',
    allowed: ['@temporalio/client', '../domain/plan.js', 'node:net'],
  },
  {
    file: 'cli/planted.ts',
    refused: ['@temporalio/client', '../workers/worker.js', '../sqlite/cut.js', '../activities/index.js'],
    reason: 'cli/ imports client/, control/, definitions/, artefacts/, vault/ and domain/',
    allowed: ['commander', '../client/engine.js', '../control/status.js', '../artefacts/read.js'],
  },
  {
    file: 'tools/planted.ts',
    refused: ['../client/engine.js', '../control/lock.js', 'zod', '@temporalio/client'],
    reason: 'tools/ imports domain/ and its schemas alone',
    allowed: ['../domain/stop.js', 'node:fs'],
  },
];

interface Diagnostic {
  readonly filename: string;
  readonly message: string;
  readonly help?: string;
  readonly code: string;
}

const project = process.cwd();
let planted = '';
let diagnostics: readonly Diagnostic[] = [];

/** Imports for their side effects alone would be syntax of another kind: each name is imported and used. */
function source(modules: readonly string[]): string {
  const names = modules.map((_, index) => `name${index}`);
  const imports = modules.map((module, index) => `import { name${index} } from '${module}';\n`).join('');
  return `${imports}export const used = [${names.join(', ')}];\n`;
}

async function plant(file: string, text: string): Promise<void> {
  const path = join(planted, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** Exit 1 with findings is the expected answer; anything else but 0 means that the linter did not run. */
function runLinter(): Promise<readonly Diagnostic[]> {
  const linter = join(project, 'node_modules/oxlint/bin/oxlint');
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [linter, '--type-aware', '-f', 'json', '.'],
      { cwd: planted, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout) => {
        if (error !== null && error.code !== 1) reject(error);
        else resolve((JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics);
      },
    );
  });
}

beforeAll(async () => {
  planted = await mkdtemp(join(tmpdir(), 'holdfast-lint-'));
  await copyFile(join(project, '.oxlintrc.json'), join(planted, '.oxlintrc.json'));
  await copyFile(join(project, 'tsconfig.json'), join(planted, 'tsconfig.json'));
  await symlink(join(project, 'node_modules'), join(planted, 'node_modules'));
  for (const { file, refused, allowed } of PLANTS) {
    await plant(file, source(refused));
    await plant(file.replace('planted', 'allowed'), source(allowed));
  }
  await plant(
    'workflows/types.ts',
    "import type { Activities } from '../activities/index.js';\nexport type Used = Activities;\n",
  );
  await plant('files/dynamic.ts', "export const cut = (): Promise<unknown> => import('../sqlite/cut.js');\n");
  await plant(
    'files/defects.ts',
    [
      'async function later(): Promise<void> {}',
      'export function floating(): void { later(); }',
      'export function loose(value: any): string { return value.x; }',
      'export function sure(value: string | undefined): number { return value!.length; }',
      'export function swallow(): void { try { floating(); } catch {} }',
      '// @ts-ignore',
      'export const wrong: number = floating;',
      'export default wrong;',
    ].join('\n'),
  );
  diagnostics = await runLinter();
}, 60_000);

afterAll(async () => {
  await rm(planted, { recursive: true, force: true });
});

const ofFile = (file: string) => diagnostics.filter((diagnostic) => diagnostic.filename.endsWith(file));

describe('a forbidden import is refused with its reason', () => {
  for (const { file, refused, reason } of PLANTS) {
    test(`in ${file}`, () => {
      for (const module of refused) {
        const helps = ofFile(file)
          .filter(({ message }) => message.startsWith(`'${module}' import is restricted`))
          .map(({ help }) => help);
        expect(helps, `${module} in ${file}`).toEqual(
          expect.arrayContaining([expect.stringMatching(`^${reason.replaceAll('/', '\\/')}`)]),
        );
      }
    });
  }

  test('in a dynamic import', () => {
    expect(ofFile('files/dynamic.ts').map(({ code }) => code)).toContain('eslint(no-restricted-imports)');
  });
});

test('every room has a rule, except those that may import anything', async () => {
  const { include } = JSON.parse(await readFile(join(project, 'tsconfig.json'), 'utf8')) as { include: string[] };
  const free = ['bench', 'demo', 'test'];
  const planted = new Set(PLANTS.map(({ file }) => file.split('/')[0]));
  expect(include.filter((room) => !free.includes(room) && !planted.has(room))).toEqual([]);
});

describe('what a room may import passes', () => {
  for (const { file } of PLANTS) {
    test(`in ${file}`, () => {
      const restricted = ofFile(file.replace('planted', 'allowed')).filter(({ message }) =>
        message.includes('restricted'),
      );
      expect(restricted).toEqual([]);
    });
  }

  test('types of activities in workflows', () => {
    expect(ofFile('workflows/types.ts')).toEqual([]);
  });
});

describe('what is never written is refused', () => {
  for (const rule of [
    'typescript(no-floating-promises)',
    'typescript(no-explicit-any)',
    'typescript(no-non-null-assertion)',
    'typescript(ban-ts-comment)',
    'eslint(no-empty)',
    'import(no-default-export)',
  ]) {
    test(rule, () => {
      expect(ofFile('files/defects.ts').map(({ code }) => code.replace('typescript-eslint', 'typescript'))).toContain(
        rule,
      );
    });
  }
});
