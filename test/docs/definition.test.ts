// The examples of definitions in the documents are definitions: they pass the schema that the worker uses.
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { storeDefinitionSchema } from '../../domain/schema/definition.js';

const PAGES = ['README.md', ...['definition', 'operate', 'storage-manager'].map((guide) => `docs/guides/${guide}.md`)];

function examples(page: string): readonly unknown[] {
  return [...readFileSync(page, 'utf8').matchAll(/```yaml\n(.*?)```/gs)].map(
    ([, text]) => parse(text ?? '') as unknown,
  );
}

describe('the definition', () => {
  for (const page of PAGES) {
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

  test('is accepted by the JSON Schema for editors, refused with a misspelt key or an unknown policy', () => {
    const schema: unknown = JSON.parse(readFileSync('docs/reference/store-definition.schema.json', 'utf8'));
    const accepts = new Ajv2020({ strictTypes: false }).compile(schema as object);
    for (const page of PAGES)
      for (const example of examples(page)) {
        expect(accepts(example), JSON.stringify(accepts.errors)).toBe(true);
        expect(accepts({ ...(example as object), hook: {} })).toBe(false);
        const [[name, root] = []] = Object.entries((example as { roots: Record<string, object> }).roots);
        expect(
          accepts({ ...(example as object), roots: { [String(name)]: { ...root, trees: [{ policy: 'verfy' }] } } }),
        ).toBe(false);
      }
  });
});
