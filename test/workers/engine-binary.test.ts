// Where the binary comes from. `go` and `temporal` are stand-in programs here: what is under test is what is done
// with them, in real processes and directories.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTemporalBinary } from '../../workers/engine-binary.js';

const GOOD = '#!/bin/sh\necho "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"\n';
let room: string;
let environment: Record<string, string>;

beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'holdfast-binary-'));
  mkdirSync(join(room, 'bin'));
  // The dead proxy keeps the SDK's download from succeeding, network or not
  environment = {
    PATH: `${join(room, 'bin')}:/usr/bin:/bin`,
    XDG_CACHE_HOME: join(room, 'cache'),
    HOME: room,
    HTTPS_PROXY: 'http://127.0.0.1:9',
    https_proxy: 'http://127.0.0.1:9',
  };
});
afterEach(() => rmSync(room, { recursive: true, force: true }));

function program(path: string, text: string): void {
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

const find = (progress: string[] = []) =>
  findTemporalBinary({ environment, onProgress: (line) => void progress.push(line) });
const cached = () => join(room, 'cache', 'holdfast', 'temporal-1.5.1');

test('a temporal on PATH is used, and an older one or another program of that name is passed over', async () => {
  program(join(room, 'bin', 'temporal'), GOOD);
  expect(await find()).toEqual({
    path: join(room, 'bin', 'temporal'),
    version: '1.5.1 (Server 1.29.1, UI 2.42.1)',
    source: 'path',
  });
  program(cached(), GOOD);
  for (const other of [
    GOOD.replace('1.29.1', '1.20.0'),
    '#!/bin/sh\necho "temporal tables 3"\n',
    '#!/bin/sh\nexit 1\n',
  ]) {
    program(join(room, 'bin', 'temporal'), other);
    const progress: string[] = [];
    expect((await find(progress)).source).toBe('cache');
    expect(progress[0]).toContain('passing over');
  }
});

test('HOLDFAST_TEMPORAL_BINARY decides alone: what it names has to be a temporal', async () => {
  program(join(room, 'bin', 'temporal'), GOOD);
  program(join(room, 'own'), GOOD);
  environment['HOLDFAST_TEMPORAL_BINARY'] = join(room, 'own');
  expect((await find()).path).toBe(join(room, 'own'));
  for (const bad of [join(room, 'absent'), room, 'own']) {
    environment['HOLDFAST_TEMPORAL_BINARY'] = bad;
    await expect(find()).rejects.toMatchObject({ code: 'engine_unavailable', details: { path: bad } });
  }
});

test('without download and go it is STOP engine_unavailable with both reasons', async () => {
  await expect(find()).rejects.toMatchObject({
    code: 'engine_unavailable',
    details: { download: expect.any(String), build: 'go is not on PATH' },
  });
  expect(readdirSync(join(room, 'cache', 'holdfast')).filter((name) => name !== 'temporal-1.5.1.lock')).toEqual([]);
});

test('of two that need it one builds it, in a place of its own, and both use what entered the cache whole', async () => {
  program(
    join(room, 'bin', 'go'),
    `#!/bin/sh\necho "$@" >> ${room}/calls\nsleep 0.5\ncat > "$GOBIN/temporal" <<'END'\n${GOOD}END\nchmod 755 "$GOBIN/temporal"\n`,
  );
  mkdirSync(join(room, 'cache', 'holdfast', 'make-of-a-killed-process'), { recursive: true });
  const found = await Promise.all([find(), find()]);
  expect(found.map(({ path }) => path)).toEqual([cached(), cached()]);
  expect(found.map(({ source }) => source).toSorted()).toEqual(['build', 'cache']);
  expect(readFileSync(join(room, 'calls'), 'utf8')).toBe('install github.com/temporalio/cli/cmd/temporal@v1.5.1\n');
  expect(readdirSync(join(room, 'cache', 'holdfast')).toSorted()).toEqual(['temporal-1.5.1', 'temporal-1.5.1.lock']);
});

test('what a failed build left is never used, nor is a cached file that does not run', async () => {
  program(cached(), 'cut short');
  program(
    join(room, 'bin', 'go'),
    `#!/bin/sh\nprintf '${GOOD.replaceAll('\n', '\\n')}' > "$GOBIN/temporal"\nchmod 755 "$GOBIN/temporal"\necho no space >&2\nexit 1\n`,
  );
  await expect(find()).rejects.toMatchObject({ code: 'engine_unavailable', details: { build: 'no space' } });
  program(join(room, 'bin', 'go'), `#!/bin/sh\necho half > "$GOBIN/temporal"\nchmod 755 "$GOBIN/temporal"\n`);
  await expect(find()).rejects.toMatchObject({
    code: 'engine_unavailable',
    details: { build: 'no usable binary came of it' },
  });
});
