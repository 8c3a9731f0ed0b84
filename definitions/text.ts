// Store definitions as text: what `holdfast config show --effective` prints reads back as the same definition; and the
// JSON Schema that editors check it by.
import { stringify } from 'yaml';
import type { StoreDefinition } from '../domain/definition.js';

export { definitionJsonSchema } from '../domain/schema/definition.js';

/** Folded or in blocks, some texts of several lines don't read back as they are: each is one line, in quotes. */
const WRITING = { lineWidth: 100, blockQuote: false, doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER } as const;

/** YAML with every default written out, in the order of the guide. */
export function writeDefinition({ store, roots, hooks, gates, backup, rollback }: StoreDefinition): string {
  const byName = Object.fromEntries(roots.map(({ name, ...root }) => [name, root]));
  return stringify({ holdfast: 1, store, roots: byName, hooks, gates, backup, rollback }, WRITING);
}
