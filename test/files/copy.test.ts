// Copying and hashing in threads (F-9, F-14): each byte read once, a source that changes never taken for whole.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import { copyEach, hashEach, hashFiles, makeNewDirectories } from '../../files/copy.js';
import type { CopyJob, CopyOptions, ExpectedFile, ReadResult } from '../../files/copy.js';
import { codeOf, fill, stopOf, temporaryDirectory } from './temporary.js';

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

function factsOf(path: string): ExpectedFile {
  const facts = lstatSync(path, { bigint: true });
  return {
    sizeBytes: Number(facts.size),
    inode: `${facts.ino}`,
    mtimeNanos: `${facts.mtimeNs}`,
    ctimeNanos: `${facts.ctimeNs}`,
  };
}

describe('makeNewDirectories', () => {
  test('parents are made before what is in them, whatever the order, private and each once', async () => {
    const directory = temporaryDirectory();
    const paths = ['to/b/c', 'to/b', 'to', 'to/a', 'to/A', 'to/a b'].map((path) => join(directory, path));
    await makeNewDirectories(paths);
    expect(readdirSync(join(directory, 'to'), { recursive: true, encoding: 'utf8' }).sort()).toEqual([
      'A',
      'a',
      'a b',
      'b',
      'b/c',
    ]);
    expect(paths.map((path) => statSync(path).mode & 0o777)).toEqual(paths.map(() => 0o700));
  });

  test('one that is there already, as where a filesystem takes two names for one, is target_exists and not merged', async () => {
    const directory = temporaryDirectory();
    fill(directory, { 'to/a/file': 'here' });
    const stop = await stopOf(() => makeNewDirectories([join(directory, 'to', 'a')]));
    expect(stop).toMatchObject({ code: 'target_exists', details: { path: join(directory, 'to', 'a') } });
    expect(readdirSync(join(directory, 'to', 'a'))).toEqual(['file']);
  });
});

/** What each job came to, in their order. */
async function copyAll(jobs: readonly CopyJob[], options: CopyOptions = {}): Promise<ReadResult[]> {
  const results: ReadResult[] = [];
  await copyEach(jobs, options, (index, result) => (results[index] = result));
  return results;
}

describe('copyEach', () => {
  test('copies files of all sizes and tells their digests in the order of the jobs', async () => {
    const directory = temporaryDirectory();
    const sizes = [0, 1, 4096, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 3_500_000];
    const contents = sizes.map((size, index) => Buffer.alloc(size, `content ${index} `));
    mkdirSync(join(directory, 'to'));
    contents.forEach((content, index) => fill(directory, { [`from/${index}`]: content }));
    const jobs = contents.map((_content, index) => {
      const source = join(directory, 'from', `${index}`);
      return { source, target: join(directory, 'to', `${index}`), expected: factsOf(source) };
    });
    const seen: [number, number][] = [];
    const results = await copyAll(jobs, { threadsMax: 1, onProgress: (bytes, files) => seen.push([bytes, files]) });
    expect(results).toEqual(contents.map((content) => ({ sha256: sha256(content), sizeBytes: content.length })));
    for (const [index, content] of contents.entries())
      expect(readFileSync(join(directory, 'to', `${index}`)).equals(content)).toBe(true);
    expect(statSync(join(directory, 'to', '0')).mode & 0o777).toBe(0o600);
    expect(seen.at(-1)).toEqual([sizes.reduce((sum, size) => sum + size, 0), sizes.length]);
  });

  test('many more files than a batch holds come back in order', async () => {
    const directory = temporaryDirectory();
    const names = Array.from({ length: 700 }, (_value, index) => `${index}`);
    fill(directory, Object.fromEntries(names.map((name) => [name, `content of ${name}`])));
    const results = await hashFiles(names.map((name) => ({ source: join(directory, name) })));
    expect(results.map(({ sha256: found }) => found)).toEqual(names.map((name) => sha256(`content of ${name}`)));
  });

  test.each<[string, (path: string) => void]>([
    ['grew', (path) => appendFileSync(path, 'x')],
    ['was written to with its size kept', (path) => writeFileSync(path, 'CONTENT')],
    ['was touched', (path) => utimesSync(path, 1, 1)],
    ['vanished', (path) => rmSync(path)],
    [
      'was replaced by a link',
      (path) => {
        rmSync(path);
        symlinkSync('/etc/passwd', path);
      },
    ],
    [
      'was replaced by a directory',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
    [
      'was replaced by a FIFO',
      (path) => {
        rmSync(path);
        expect(spawnSync('mkfifo', [path]).status).toBe(0);
      },
    ],
  ])('a live file that %s is source_changed', async (_how, change) => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'content' });
    const source = join(directory, 'a');
    const expected = factsOf(source);
    change(source);
    expect(await codeOf(async () => await copyAll([{ source, target: join(directory, 'b'), expected }]))).toBe(
      'source_changed',
    );
  });

  test('a file that grows while it is read is source_changed, even when nothing was expected of it', async () => {
    const directory = temporaryDirectory();
    const source = join(directory, 'a');
    writeFileSync(source, '');
    truncateSync(source, 256 * 1024 * 1024);
    const stop = stopOf(
      async () =>
        await hashFiles([{ source }], {
          onProgress: (bytes) => {
            if (bytes > 0) appendFileSync(source, 'x');
          },
        }),
    );
    // Progress is reported five times a second; half a GiB takes longer than that.
    truncateSync(source, 512 * 1024 * 1024);
    expect((await stop).code).toBe('source_changed');
  });

  test('of a file that is only appended to, the length of the cut is captured', async () => {
    const directory = temporaryDirectory();
    fill(directory, { log: 'first' });
    const source = join(directory, 'log');
    const { inode } = factsOf(source);
    appendFileSync(source, ' and more');
    const job = { source, target: join(directory, 'copy'), lengthBytes: 5, expected: { inode: inode ?? '' } };
    expect(await copyAll([job])).toEqual([{ sha256: sha256('first'), sizeBytes: 5 }]);
    truncateSync(source, 3);
    expect(await codeOf(async () => await copyAll([{ ...job, target: join(directory, 'again') }]))).toBe(
      'source_changed',
    );
  });

  test('a copy with other bytes or another size than recorded is checksum_mismatch, an absent one file_missing', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'content' });
    const source = join(directory, 'a');
    const wrong =
      (expected: ExpectedFile, from = source) =>
      async (): Promise<unknown> =>
        await hashFiles([{ source: from, expected }]);
    expect(await codeOf(wrong({ sizeBytes: 7, sha256: sha256('CONTENT') }))).toBe('checksum_mismatch');
    expect(await codeOf(wrong({ sizeBytes: 8 }))).toBe('checksum_mismatch');
    expect(await codeOf(wrong({ sizeBytes: 7 }, join(directory, 'absent')))).toBe('file_missing');
    symlinkSync('a', join(directory, 'link'));
    expect(await codeOf(wrong({ sizeBytes: 7 }, join(directory, 'link')))).toBe('symlink_found');
  });

  test('a target that exists is never written to, a link in its place is not followed', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'content', there: 'kept', behind: 'kept' });
    symlinkSync('behind', join(directory, 'link'));
    symlinkSync('nowhere', join(directory, 'dangling'));
    for (const name of ['there', 'link', 'dangling']) {
      expect(
        await codeOf(async () => await copyAll([{ source: join(directory, 'a'), target: join(directory, name) }])),
      ).toBe('target_exists');
    }
    expect(readFileSync(join(directory, 'there'), 'utf8') + readFileSync(join(directory, 'behind'), 'utf8')).toBe(
      'keptkept',
    );
    expect(readdirSync(directory)).not.toContain('nowhere');
  });

  test('a file of a tree that begins like a database is refused: it was not copied through SQLite', async () => {
    const directory = temporaryDirectory();
    fill(directory, { half: 'SQLite format 3\0'.padEnd(1000, 'x'), text: 'SQLite format 3 is what it is called' });
    const copy = async (name: string, refuseDatabase: boolean): Promise<unknown> =>
      await copyAll([
        { source: join(directory, name), target: join(directory, `${name}-${refuseDatabase}`), refuseDatabase },
      ]);
    expect(await codeOf(async () => await copy('half', true))).toBe('not_a_database');
    await copy('text', true);
    await copy('half', false);
  });

  test('the first stop ends the rest and is the one that is told', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'content' });
    const large = join(directory, 'large');
    writeFileSync(large, '');
    truncateSync(large, 1024 ** 3);
    const begun = performance.now();
    expect(
      await codeOf(
        async () =>
          await hashFiles([
            { source: large, expected: { sizeBytes: 1024 ** 3 } },
            { source: join(directory, 'absent') },
          ]),
      ),
    ).toBe('file_missing');
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  test('jobs are made as they are needed, and a STOP in making one ends it', async () => {
    const directory = temporaryDirectory();
    fill(directory, { a: 'content' });
    let made = 0;
    function* endless(): Generator<{ source: string }> {
      for (;;) {
        made += 1;
        if (made > 1000) throw new Stop('source_changed', 'gone');
        yield { source: join(directory, 'a') };
      }
    }
    let told = 0;
    expect(await codeOf(async () => await hashEach(endless(), {}, () => (told += 1)))).toBe('source_changed');
    expect(made).toBe(1001);
    expect(told % 256).toBe(0);
  });

  test('a signal ends it as cancelled, before and in the middle', async () => {
    const directory = temporaryDirectory();
    const large = join(directory, 'large');
    writeFileSync(large, '');
    truncateSync(large, 64 * 1024 ** 3);
    expect(await codeOf(async () => await hashFiles([{ source: large }], { signal: AbortSignal.abort() }))).toBe(
      'cancelled',
    );
    expect(await codeOf(async () => await hashFiles([{ source: large }], { signal: AbortSignal.timeout(300) }))).toBe(
      'cancelled',
    );
  });

  test('the event loop goes on meanwhile', async () => {
    const directory = temporaryDirectory();
    const large = join(directory, 'large');
    writeFileSync(large, '');
    truncateSync(large, 512 * 1024 ** 2);
    let worst = 0;
    const begin = performance.now();
    let last = begin;
    const timer = setInterval(() => {
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }, 10);
    try {
      await hashFiles([{ source: large }]);
    } finally {
      clearInterval(timer);
    }
    // Of all the time that it took, on a machine under load as well
    expect(worst).toBeLessThan((performance.now() - begin) / 2);
  });
});
