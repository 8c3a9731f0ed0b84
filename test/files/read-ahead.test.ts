// Files that the disk reads before anybody asks, and threads that let others go first.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { ReadAhead } from '../../files/read-ahead.js';
import { eventually } from '../support/engine.js';
import { requires } from '../support/requires.js';

const MIB = 1024 * 1024;

describe.skipIf(requires('fincore'))('ReadAhead', () => {
  test('has the files read in their order, past one that is not there', async () => {
    // Not in a directory for temporary files, which may lie in memory
    const directory = mkdtempSync(join('dist', 'read-ahead-'));
    try {
      const paths = ['first', 'second'].map((name) => join(directory, name));
      for (const path of paths) {
        writeFileSync(path, Buffer.alloc(8 * MIB, path), { flush: true });
        // Out of the page cache
        execFileSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'], { stdio: 'ignore' });
      }
      const cachedBytes = (path: string): number =>
        Number(execFileSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', path], { encoding: 'utf8' }));
      expect(paths.map(cachedBytes)).toEqual([0, 0]);
      const files = [join(directory, 'none'), ...paths].map((path) => ({ path, sizeBytes: 8 * MIB }));
      new ReadAhead(files).reached(0);
      await eventually('both are read', () => paths.every((path) => cachedBytes(path) === 8 * MIB));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('lowerPriorityOfThread', () => {
  test('lowers that of the thread that asks, from wherever it is, and of no other', async () => {
    const module = new URL('../../files/system-calls.js', import.meta.url).href;
    const program = `
      const { readFileSync } = require('node:fs');
      const { parentPort } = require('node:worker_threads');
      const niceOf = () => Number(readFileSync('/proc/thread-self/stat', 'utf8').split(') ')[1].split(' ')[16]);
      import(${JSON.stringify(module)}).then(({ lowerPriorityOfThread }) => {
        const all = [niceOf()];
        for (const increment of [5, 5, 19]) {
          lowerPriorityOfThread(increment);
          all.push(niceOf());
        }
        parentPort.postMessage(all);
      });`;
    const [all] = (await once(new Worker(program, { eval: true }), 'message')) as [readonly number[]];
    const [begin = 0] = all;
    expect(all).toEqual([begin, ...[5, 10, 29].map((more) => Math.min(19, begin + more))]);
    expect(getPriority()).toBe(begin);
  });
});
