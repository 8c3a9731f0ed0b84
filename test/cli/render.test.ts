// Progress as events: of several runs, and of one after another.
import { expect, test } from 'vitest';
import { createOutput } from '../../cli/output.js';
import { createRenderer } from '../../cli/render.js';
import type { Progress } from '../../domain/protocol.js';

test('with --json each progress says whose it is, and an equal one of the next run is told as well', () => {
  const told: object[] = [];
  const output = createOutput({ json: true, quiet: false, verbose: false });
  const renderer = createRenderer({ ...output, event: (type, fact) => told.push({ type, ...fact }) });
  const progress: Progress = {
    step: 'backup.lock',
    phase: 'begins',
    bytesDone: 0,
    bytesTotal: null,
    filesDone: 0,
    filesTotal: null,
    elapsedMillis: 0,
  };
  const runs = ['first', 'second'].map((runId) => ({ workflowId: 'holdfast/shop', runId }));
  for (const run of runs) for (const _look of [1, 2]) renderer.show(run, progress);
  expect(told).toEqual(
    runs.map((run) => ({ type: 'progress', ...run, ...progress, bytesPerSecond: 0, secondsLeft: null })),
  );
});
