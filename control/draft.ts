// Writes a store definition from what a survey has found: what is certain as keys, what only the owner of the store can
// know as comments. The text validates as it is. Pure.
import { escapeGlob } from '../files/globs.js';
import type { TableShape } from '../sqlite/shape.js';
import type { Survey, SurveyedDatabase, SurveyedPart } from './survey.js';

export interface DraftOptions {
  readonly store: string;
  readonly destination: string;
}

/** Databases of one shape that a glob names; or one by itself. */
interface DatabaseGroup {
  readonly path: string;
  readonly members: readonly SurveyedDatabase[];
}

/** From so many databases of one shape on, a glob stands for them: the next one shall be captured too. */
const GLOB_MEMBERS_MIN = 3;
const NAMES_SHOWN_MAX = 12;
const EXCLUDED_MAX = 50;

/** What tools keep their histories of migrations in, and the column that orders it. */
const MIGRATIONS: readonly (readonly [table: RegExp, orderBy: readonly string[]])[] = [
  [/^(?:schema_)?migrations?$/i, ['version', 'id', 'name', 'filename']],
  [/^(?:knex|drizzle|__drizzle|sequelize|typeorm|umzug)_?_?migrations$/i, ['id', 'name']],
  [/^(?:_prisma|_sqlx|__diesel_schema|django)_migrations$/i, ['started_at', 'version', 'id']],
  [
    /^(?:goose_db_version|refinery_schema_history|flyway_schema_history|schema_history)$/i,
    ['id', 'installed_rank', 'version'],
  ],
];
const CACHE_NAME = /^(?:\.?caches?|te?mp|lost\+found|\.git)$/i;

/** @returns YAML, with comments */
export function draftDefinition(survey: Survey, { store, destination }: DraftOptions): string {
  const databases = groupDatabases(survey.databases);
  const trees = survey.parts.filter((part) => part.isDirectory && !CACHE_NAME.test(part.name));
  const files = survey.parts.filter((part) => !part.isDirectory && part.files > 0);
  const caches = survey.parts.filter((part) => part.isDirectory && CACHE_NAME.test(part.name));
  const lines = [
    '# A draft by `holdfast init`: read it, and uncomment what is true of the application. All keys are in',
    '# docs/guides/definition.md and in `holdfast config schema`.',
    'holdfast: 1',
    `store: ${store}`,
    'roots:',
    '  data:',
    '    # Replaced as a whole by a restore. What is in no member is carried over.',
    `    path: ${word(survey.directory)}`,
    ...(databases.length === 0 ? [] : ['    databases:', ...databases.flatMap(databaseLines)]),
    ...(trees.length + files.length === 0 ? [] : ['    trees:']),
    ...trees.flatMap((part) => treeLines(part, survey.observedSeconds)),
    ...(files.length === 0 ? [] : fileLines(files, survey.observedSeconds)),
    ...caches.flatMap(({ name, files: count }) => [
      `    # Not captured, because of its name: ${comment(name)} (${filesOf(count)}). A restore carries it over; this leaves it behind:`,
      `    # drop: [${word(`${escapeGlob(name)}/**`)}]`,
    ]),
    '# The application has to let go of the store before a restore: stop it by hand, or by these, which run without a shell.',
    '# hooks:',
    `#   detach: { argv: [/usr/bin/systemctl, stop, ${store}.service] }`,
    `#   attach: { argv: [/usr/bin/systemctl, start, --no-block, ${store}.service] }`,
    'backup:',
    `  destination: ${word(destination)}`,
  ];
  return `${lines.join('\n')}\n`;
}

function databaseLines({ path, members }: DatabaseGroup): readonly string[] {
  const [first] = members;
  if (first === undefined) return [];
  const { shape } = first;
  const entry = `      - path: ${word(path)}`;
  if ('unreadable' in shape) return [`      # can't be read now: ${shape.unreadable}`, entry];
  const modes = [
    ...new Set(members.flatMap((member) => ('journalMode' in member.shape ? [member.shape.journalMode] : []))),
  ];
  const each = members.length === 1 ? '' : `${members.length} databases, `;
  const migrations = migrationsOf(shape.tables);
  const tables = shape.tables.filter(({ name }) => name !== migrations?.table);
  const sequences = tables.flatMap(({ name, sequence }) =>
    sequence === null ? [] : [`{ table: ${word(name)}, column: ${word(sequence)} }`],
  );
  return [
    `      # ${each}journal mode ${modes.join(' or ')}, ${shape.tables.length} tables`,
    entry,
    ...(migrations === null
      ? []
      : [`        migrations: { table: ${word(migrations.table)}, orderBy: ${word(migrations.orderBy)} }`]),
    ...(tables.length === 0
      ? []
      : [
          '        # A backup without one of these tables is refused:',
          `        # requiredTables: [${namesOf(tables.map(({ name }) => word(name)))}]`,
        ]),
    ...(sequences.length === 0
      ? []
      : [
          '        # No restore takes these below the highest value ever seen, so only the newest state comes back in place:',
          `        # sequences: [${namesOf(sequences)}]`,
          '        # Rows of these never change once they are there:',
          `        # appendOnly: [${sequences[0] ?? ''}]`,
        ]),
  ];
}

function migrationsOf(tables: readonly TableShape[]): { readonly table: string; readonly orderBy: string } | null {
  for (const [pattern, columns] of MIGRATIONS) {
    const table = tables.find(({ name }) => pattern.test(name));
    const orderBy = columns.find((column) => table?.columns.includes(column));
    if (table !== undefined && orderBy !== undefined) return { table: table.name, orderBy };
  }
  return null;
}

function treeLines(part: SurveyedPart, observedSeconds: number): readonly string[] {
  const special = part.special.filter((path) => path !== part.name).map((path) => path.slice(part.name.length + 1));
  return [
    ...observed(part, observedSeconds),
    `      - path: ${word(part.name)}`,
    ...policyLines(part.policy),
    ...(special.length === 0
      ? []
      : [
          '        # Links and special files are never captured:',
          `        exclude: [${special
            .slice(0, EXCLUDED_MAX)
            .map((path) => word(escapeGlob(path)))
            .join(', ')}]`,
          ...(special.length > EXCLUDED_MAX
            ? [`        # and ${special.length - EXCLUDED_MAX} more, which doctor names`]
            : []),
        ]),
  ];
}

/** That bytes once written stay is nothing that can be seen, and a cut would not notice that they did not. */
function policyLines(policy: SurveyedPart['policy']): readonly string[] {
  if (policy === null || policy === 'verify') return [];
  if (policy === 'immutable') return ['        policy: immutable'];
  return [
    '        # Only if the application never writes over what is there; else a backup refuses what grows:',
    '        # policy: append',
  ];
}

/** Files at the top of the root, one tree for each policy. */
function fileLines(files: readonly SurveyedPart[], observedSeconds: number): readonly string[] {
  const policies = [...new Set(files.map(({ policy }) => policy ?? 'verify'))].sort();
  return policies.flatMap((policy) => {
    const group = files.filter((file) => (file.policy ?? 'verify') === policy);
    return [
      ...group.flatMap((file) => (file.changed === null ? [] : observed(file, observedSeconds))),
      '      - path: .',
      `        include: [${group.map(({ name }) => word(escapeGlob(name))).join(', ')}]`,
      ...policyLines(policy),
    ];
  });
}

function observed({ name, files, policy, changed }: SurveyedPart, seconds: number): readonly string[] {
  const count = `      # ${comment(name)}: ${filesOf(files)}`;
  if (changed === null) return [`${count}, none changed in ${seconds} s; see the policies if that is chance`];
  if (policy === 'immutable') return [`${count}; some were added in ${seconds} s, none changed`];
  if (policy === 'append') return [`${count}; some grew in ${seconds} s, none changed otherwise`];
  return [
    `${count}; ${comment(changed)} changed in ${seconds} s, which a backup refuses:`,
    '      # exclude what changes all the time, or pause the application by hooks and give the tree policy quiesced',
  ];
}

/** Databases whose paths differ in one part, and that have the same tables, by one glob. */
export function groupDatabases(databases: readonly SurveyedDatabase[]): readonly DatabaseGroup[] {
  let left = [...databases];
  const groups: DatabaseGroup[] = [];
  for (;;) {
    const byGlob = new Map<string, SurveyedDatabase[]>();
    for (const database of left)
      for (const glob of globsOf(database)) byGlob.set(glob, [...(byGlob.get(glob) ?? []), database]);
    const [largest] = [...byGlob].sort(([, one], [, other]) => other.length - one.length);
    if (largest === undefined || largest[1].length < GLOB_MEMBERS_MIN) break;
    const [key, members] = largest;
    groups.push({ path: key.split('\0', 1)[0] ?? key, members });
    left = left.filter((database) => !members.includes(database));
  }
  const alone = left.map((database): DatabaseGroup => ({ path: database.path, members: [database] }));
  return [...groups, ...alone].sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** Each with the names of the tables behind it: a glob stands for databases of one shape only. */
function globsOf({ path, shape }: SurveyedDatabase): readonly string[] {
  if ('unreadable' in shape) return [];
  const tables = shape.tables.map(({ name }) => name).join('\0');
  const parts = path.split('/').map(escapeGlob);
  const [name = '', ...above] = parts.toReversed();
  const dot = name.lastIndexOf('.');
  const byExtension = dot > 0 ? [[...above.toReversed(), `*${name.slice(dot)}`].join('/')] : [];
  const byDirectory = above.map((_, index) => parts.with(parts.length - 2 - index, '*').join('/'));
  return [...byExtension, ...byDirectory].map((glob) => `${glob}\0${tables}`);
}

const filesOf = (count: number): string => `${count} ${count === 1 ? 'file' : 'files'}`;
const comment = (text: string): string => JSON.stringify(text).slice(1, -1);
const namesOf = (names: readonly string[]): string => names.slice(0, NAMES_SHOWN_MAX).join(', ');

/** A word as YAML reads it back, also in a flow. */
function word(text: string): string {
  return /^(?:[A-Za-z/_]|\.(?!\d))[\w/.-]*$/.test(text) &&
    !/^(?:true|false|null|yes|no|on|off|\.(?:inf|nan))$/i.test(text)
    ? text
    : JSON.stringify(text);
}
