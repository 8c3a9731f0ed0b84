// Files in YAML that people write and holdfast believes: read from a directory that belongs to the user of the worker or root
// and that nobody else can write, and refused with the place of each mistake. Serves load.ts and vaults.ts.
import { open, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LineCounter, parseDocument, visit } from 'yaml';
import { LIMITS } from '../domain/limits.js';
import type { DefinitionIssue, SchemaNode } from '../domain/schema/definition.js';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { placeAt, problemsOf } from './problems.js';
import type { DefinitionProblem } from './problems.js';

/** @throws Stop definition_missing, definition_untrusted */
export async function assertTrusted(path: string): Promise<void> {
  let facts;
  try {
    facts = await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Stop('definition_missing', `${path} does not exist`, { path });
    throw translateErrno(error, { path });
  }
  const self = process.getuid?.() ?? 0;
  const owned = facts.uid === 0 || facts.uid === self;
  if (!owned || (facts.mode & 0o022) !== 0) {
    throw new Stop('definition_untrusted', `${path} can be written by others`, {
      path,
      uid: facts.uid,
      mode: (facts.mode & 0o7777).toString(8),
    });
  }
}

/** @throws Stop definition_missing, definition_untrusted, definition_invalid; errno where it vanishes */
export async function readTrusted(path: string): Promise<string> {
  await assertTrusted(path);
  // A link may lead elsewhere: whoever can write there could put another file in its place
  await assertTrusted(dirname(await realpath(path)));
  return readText(path);
}

/** @throws Stop definition_invalid where it is too large; errno */
export async function readText(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    assertReadable((await file.stat()).size, path);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Before it is read, and before it is written: one that can't be read stops every store of the host. */
function assertReadable(sizeBytes: number, path: string): void {
  if (sizeBytes <= LIMITS.definitionBytesMax) return;
  throw new Stop('definition_invalid', `${path} is too large`, {
    path,
    sizeBytes,
    sizeBytesMax: LIMITS.definitionBytesMax,
  });
}

/** What a file may say. */
export interface YamlFormat<P, T> {
  readonly schema: {
    safeParse(
      value: unknown,
    ):
      | { readonly success: true; readonly data: P }
      | { readonly success: false; readonly error: { readonly issues: readonly DefinitionIssue[] } };
  };
  /** For what a misspelt key may have meant. */
  readonly jsonSchema: () => SchemaNode;
  /** What the file means, and what the schema can't see is wrong with it. */
  readonly complete: (parsed: P) => { readonly value: T; readonly issues: readonly DefinitionIssue[] };
}

/**
 * @param path only for messages
 * @throws Stop definition_invalid with `problems`: line, key and what is expected
 */
export function parseYaml<P, T>(text: string, path: string, { schema, jsonSchema, complete }: YamlFormat<P, T>): T {
  assertReadable(Buffer.byteLength(text), path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const at = (offset: number, problem: string): DefinitionProblem => ({ ...placeAt(lines, offset), key: '', problem });
  refuse(
    path,
    document.errors.map((error) => at(error.pos[0], error.message.split(' at line ')[0] ?? 'not YAML')),
  );
  const aliases: DefinitionProblem[] = [];
  visit(document, {
    Alias: (_key, { range }) => void aliases.push(at(range?.[0] ?? 0, 'an alias: write out what it stands for')),
  });
  refuse(path, aliases);
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (parsed.success) {
    const { value, issues } = complete(parsed.data);
    refuse(path, problemsOf(document, lines, issues, jsonSchema));
    return value;
  }
  refuse(path, problemsOf(document, lines, parsed.error.issues, jsonSchema));
  throw new Error('defect: the schema refuses without a problem');
}

function refuse(path: string, problems: readonly DefinitionProblem[]): void {
  const [first] = problems;
  if (first === undefined) return;
  const about = first.key === '' ? '' : `${first.key}: `;
  throw new Stop('definition_invalid', `${path}:${first.line}: ${about}${first.problem}`, { path, problems });
}
