// doctor's look into live databases: whether the tables and columns that a definition names are there. They are opened
// as a plan opens them, in a process of its own that changes none of their contents; no row is read.
import { join } from 'node:path';
import type { DatabaseDefinition, RootDefinition, StoreDefinition } from '../domain/definition.js';
import { STOPS } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import type { Members } from '../files/members.js';
import type { FactsRequest } from '../sqlite/facts.js';
import { readLiveFacts } from '../sqlite/live.js';

export interface DatabaseProblem {
  readonly what: string;
  readonly remedy: string;
}

/** Databases whose definition names tables: how many, and what a backup would refuse of them. */
export async function lookForTables(
  root: RootDefinition,
  { databases }: Members,
  limits: StoreDefinition['backup'],
): Promise<{ readonly databases: number; readonly problems: readonly DatabaseProblem[] }> {
  const named = databases.flatMap(({ entry: { path }, definition }) =>
    definition === null || !namesTables(definition)
      ? []
      : [{ path, request: requestOf(join(root.path, path), definition) }],
  );
  const answers = await readLiveFacts(
    named.map(({ request }) => request),
    limits,
  );
  const problems = answers.flatMap((answer, index): DatabaseProblem[] => {
    if ('facts' in answer) return [];
    const { unreadable, message, details } = answer;
    const what = `${named[index]?.path ?? ''}: ${unreadable}: ${message}${namesIn(details)}`;
    const isOfNames = unreadable === 'required_table_missing' || unreadable === 'definition_invalid';
    return [
      {
        what,
        remedy: isOfNames
          ? `correct what roots.${root.name}.databases names, or find out where it went: a backup is refused until then`
          : STOPS[unreadable].remedy,
      },
    ];
  });
  return { databases: named.length, problems };
}

/** The tables or the column that are not there. */
function namesIn({ missing, table, column }: StopDetails): string {
  const names = [missing, table, column].flat().filter((name) => typeof name === 'string');
  return names.length === 0 ? '' : `: ${names.join(', ')}`;
}

function namesTables({ requiredTables, sequences, appendOnly, migrations }: DatabaseDefinition): boolean {
  return migrations !== null || requiredTables.length + sequences.length + appendOnly.length > 0;
}

function requestOf(path: string, definition: DatabaseDefinition): FactsRequest {
  const { requiredTables, sequences, appendOnly, migrations } = definition;
  return { path, requiredTables, sequences, appendOnly, migrations, foreignKeys: false, namesOnly: true };
}
