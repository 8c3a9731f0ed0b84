// The examples of definitions in the documents are definitions: they pass the schema that the worker uses.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { storeDefinitionSchema } from '../../domain/schema/definition.js';

function examples(page: string): readonly unknown[] {
  return [...readFileSync(page, 'utf8').matchAll(/```yaml\n(.*?)```/gs)].map(
    ([, text]) => parse(text ?? '') as unknown,
  );
}

describe('the definition', () => {
  for (const page of ['README.md', 'docs/guides/definition.md', 'docs/guides/operate.md']) {
    test(`in ${page} is accepted`, () => {
      const found = examples(page);
      expect(found.length).toBeGreaterThan(0);
      for (const example of found) storeDefinitionSchema.parse(example);
    });

    test(`in ${page} is refused with a misspelt key`, () => {
      for (const example of examples(page)) {
        expect(storeDefinitionSchema.safeParse({ ...(example as object), hook: {} }).success).toBe(false);
      }
    });
  }
});
