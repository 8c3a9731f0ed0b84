// What is wrong with a store definition, for the person who wrote it: where, what is expected, and what was probably
// meant. Serves yaml-file.ts and `holdfast config validate`.
import { isMap, isNode, isScalar } from 'yaml';
import type { Document, LineCounter, Node } from 'yaml';
import { closestName } from '../domain/closest-name.js';
import type { DefinitionIssue, SchemaNode } from '../domain/schema/definition.js';

export interface DefinitionProblem {
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** The way to the value, such as `roots.data.trees.0.policy`; empty for the file as a whole. */
  readonly key: string;
  readonly problem: string;
}

type Path = readonly (string | number)[];

/** One problem an issue, or one a key where several are too many; in the order of the file. */
export function problemsOf(
  document: Document,
  lines: LineCounter,
  issues: readonly DefinitionIssue[],
  jsonSchema: () => SchemaNode,
): readonly DefinitionProblem[] {
  const isWhole = (issue: DefinitionIssue): boolean => issue.code === 'custom' && issue.params?.['whole'] === true;
  const parts = issues.filter((issue) => !isWhole(issue));
  // Without the misspelt key there would be a database: only what is left when all parts are right is wrong as a whole
  const problems = (parts.length > 0 ? parts : issues).flatMap((issue): DefinitionProblem[] => {
    const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({
        ...placeAt(lines, offsetOf(keyNode(document, path, key) ?? nodeAt(document, path))),
        key: [...path, key].join('.'),
        problem: `unknown key${meant(key, knownKeys(jsonSchema(), path))}`,
      }));
    return [
      {
        ...placeAt(lines, offsetOf(nodeAt(document, path))),
        key: path.join('.'),
        problem: path.length === 0 ? aboutWhole(document, issue) : aboutValue(document, path, issue),
      },
    ];
  });
  return problems.sort((left, right) => left.line - right.line || left.column - right.column);
}

/** Where an offset of the text is, both from 1, also in an empty text. */
export function placeAt(lines: LineCounter, offset: number): Pick<DefinitionProblem, 'line' | 'column'> {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

const offsetOf = (node: Node | undefined): number => node?.range?.[0] ?? 0;

function aboutWhole({ contents }: Document, issue: DefinitionIssue): string {
  if (isMap(contents)) return issue.message;
  const isNothing = contents === null || (isScalar(contents) && contents.value === null);
  return `${isNothing ? 'nothing is defined' : 'no keys'}: a definition is \`key: value\`, from \`holdfast: 1\` on`;
}

function aboutValue(document: Document, path: Path, issue: DefinitionIssue): string {
  const value: unknown = document.getIn(path);
  if (value === undefined && issue.code === 'invalid_type') return 'is missing';
  if (issue.code !== 'invalid_value') return issue.message;
  const names = issue.values.map(String);
  const expected = names.length === 1 ? `must be ${names[0] ?? ''}` : `must be one of ${names.join(', ')}`;
  return typeof value === 'string' ? expected + meant(value, names) : expected;
}

function meant(name: string, names: readonly string[]): string {
  const closest = closestName(name, names);
  return closest === undefined ? '' : ` (did you mean ${closest}?)`;
}

/** Names that a key of the mapping at `path` may have; none where any may. */
function knownKeys(schema: SchemaNode, path: Path): readonly string[] {
  const node = path.reduce<SchemaNode | undefined>(below, schema);
  const found = node === undefined ? undefined : mappingOf(node);
  return found?.propertyNames?.enum ?? Object.keys(found?.properties ?? {});
}

function below(node: SchemaNode | undefined, part: string | number): SchemaNode | undefined {
  if (node === undefined) return undefined;
  const { properties, items, additionalProperties } = mappingOf(node);
  if (typeof part === 'number') return items;
  return properties?.[part] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
}

/** Of a value that may be absent, what it is when it is there. */
function mappingOf(node: SchemaNode): SchemaNode {
  return node.anyOf?.find(({ properties }) => properties !== undefined) ?? node;
}

function keyNode(document: Document, path: Path, key: string): Node | undefined {
  const node = path.length === 0 ? document.contents : document.getIn(path, true);
  const found = isMap(node) ? node.items.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key : undefined;
  return isNode(found) ? found : undefined;
}

/** The value that a path leads to, or what is nearest around it. */
function nodeAt(document: Document, path: Path): Node | undefined {
  const node = document.getIn(path, true);
  if (isNode(node)) return node;
  return path.length === 0 ? undefined : nodeAt(document, path.slice(0, -1));
}
