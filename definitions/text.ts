// Store definitions as text: what `holdfast config show --effective` prints reads back as the same definition; and the
// JSON Schema that editors check it by.
import { stringify } from 'yaml';
import { NEVER_CAPTURED } from '../domain/definition.js';
import type { StoreDefinition } from '../domain/definition.js';

export { definitionJsonSchema } from '../domain/schema/definition.js';

/** Folded or in blocks, some texts of several lines don't read back as they are: each is one line, in quotes. */
const WRITING = {
  lineWidth: 100,
  blockQuote: false,
  doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER,
  aliasDuplicateObjects: false,
} as const;

/** A definition as people write it, with every default, in the order of the guide. */
export function effectiveDefinition(definition: StoreDefinition): object {
  const { store, roots, layout, confirmation, hooks, schedules, gates, backup, rollback } = definition;
  // What the layout adds is the layout's to say
  const added = NEVER_CAPTURED[layout.name].length;
  const byName = Object.fromEntries(
    roots.map(({ name, path, databases, trees, drop }) => [
      name,
      {
        path,
        databases,
        trees: trees.map(({ exclude, ...tree }) => ({ ...tree, exclude: exclude.slice(0, exclude.length - added) })),
        drop,
      },
    ]),
  );
  return { holdfast: 1, store, roots: byName, layout, confirmation, hooks, schedules, gates, backup, rollback };
}

/** effectiveDefinition as YAML, which reads back as the same definition. */
export function writeDefinition(definition: StoreDefinition): string {
  return stringify(effectiveDefinition(definition), WRITING);
}
