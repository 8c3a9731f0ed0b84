// What is said of a cut: no pause of a writer is left out.
import { expect, test } from 'vitest';
import { formatPause } from '../../cli/output.js';
import type { CutReport } from '../../domain/manifest.js';

const CUT: CutReport = {
  instant: '2026-01-01T00:00:00Z',
  pauseMillis: 0.77,
  rollbackJournalPauseMillis: 0,
  quiescedMillis: 0,
  lockTries: 1,
  cutTries: 1,
  pinMillis: 5,
  policies: [],
};

test('the pause of writers is said, and that of databases with rollback journals beside it', () => {
  expect(formatPause(CUT)).toMatch(/^writers paused for 0\.77 ms$/);
  expect(formatPause({ ...CUT, rollbackJournalPauseMillis: 1838 })).toMatch(
    /^writers paused for 0\.77 ms, those of databases with rollback journals for up to 1\.8\d? s$/,
  );
});
