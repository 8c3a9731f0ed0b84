// The reference pages are those that the tables of domain/ make (tools/reference.ts).
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { STEPS } from '../../domain/steps.js';
import { STOPS } from '../../domain/stop.js';
import {
  DEFINITION_SCHEMA,
  definitionSchemaFile,
  documentedCodes,
  protocolPagePath,
  protocols,
  STOP_PAGE,
  stopPage,
  withSteps,
} from '../../tools/reference.js';

const read = (path: string): string => readFileSync(path, 'utf8');

describe('npm run docs has been run', () => {
  test(STOP_PAGE, () => {
    expect(read(STOP_PAGE)).toBe(stopPage());
  });

  test(DEFINITION_SCHEMA, () => {
    expect(read(DEFINITION_SCHEMA)).toBe(definitionSchemaFile());
  });

  for (const protocol of protocols()) {
    test(protocolPagePath(protocol), () => {
      const page = read(protocolPagePath(protocol));
      expect(page).toBe(withSteps(page, protocol));
    });
  }
});

test('every STOP is documented, and every documented STOP exists', () => {
  expect([...documentedCodes(read(STOP_PAGE))].sort()).toEqual(Object.keys(STOPS).sort());
});

test('a protocol page that has lost its markers is refused', () => {
  expect(() => withSteps('# Backup\n', 'backup')).toThrow('no markers');
});

test('the steps replace what stood between the markers, and nothing else', () => {
  const page = 'before\n<!-- steps: begin (npm run docs) -->\nstale\n<!-- steps: end -->\nafter\n';
  const made = withSteps(page, 'verify');
  expect(made).toMatch(/^before\n/);
  expect(made).toMatch(/\nafter\n$/);
  expect(made).not.toContain('stale');
  for (const { id } of STEPS.verify) expect(made).toContain(`\`${id}\``);
});
