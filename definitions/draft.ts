// Writes a store definition from what a survey has found: what is certain as keys, what only the owner of the store can
// know as comments. The text validates as it is. Pure.
import { SIDECAR_SUFFIXES } from '../domain/exchange.js';
import type { StoreDefinition } from '../domain/definition.js';
import { matcherOf, selectMembers } from '../files/members.js';
import { escapeGlob, isGlob } from '../files/globs.js';
import type { TableShape } from '../sqlite/shape.js';
import type { Survey, SurveyedDatabase, SurveyedPart, SurveyedSpecial } from './survey.js';

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
/** More than this nobody reads, and each is held against every path of a walk. */
const EXCLUDED_MAX = 200;

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

/**
 * Everything is in a member but what the text excludes by name, so that what comes later is captured without anybody
 * thinking of it.
 * @returns YAML, with comments
 */
export function draftDefinition(survey: Survey, { store, destination }: DraftOptions): string {
  const paths = survey.entries.flatMap(({ path, kind }) => (kind === 'directory' ? [] : [path]));
  const databases = groupDatabases(survey.databases, paths);
  const caches = survey.parts.filter(isCache);
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
    '    # A path belongs to the first tree that claims it; the last one claims all that is left.',
    '    trees:',
    ...treesOf(survey, caches),
    ...(caches.length === 0
      ? []
      : [
          '    # A restore carries over what is excluded because of its name; this leaves it behind:',
          `    # drop: [${caches.map(({ name }) => word(`${escapeGlob(name)}/**`)).join(', ')}]`,
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
      : [
          '        # Only if each migration adds a row and none is changed: a restore is refused unless the backup has the first of them:',
          `        # migrations: { table: ${word(migrations.table)}, orderBy: ${word(migrations.orderBy)} }`,
        ]),
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

/** A table with a column `dirty` holds one row, the present version: no history. */
function migrationsOf(tables: readonly TableShape[]): { readonly table: string; readonly orderBy: string } | null {
  for (const [pattern, columns] of MIGRATIONS) {
    const table = tables.find(({ name, columns: own }) => pattern.test(name) && !own.includes('dirty'));
    const orderBy = columns.find((column) => table?.columns.includes(column));
    if (table !== undefined && orderBy !== undefined) return { table: table.name, orderBy };
  }
  return null;
}

/**
 * Holds a draft against what was there. Links are left aside: some of them it leaves to the owner.
 * @throws Stop as a backup would
 */
export function assertSelects({ roots }: StoreDefinition, { entries }: Survey): void {
  const present = entries.filter(({ kind }) => kind === 'directory' || kind === 'file');
  for (const root of roots) selectMembers(root, present);
}

/** A directory, or a link to one; a file of that name is a file. */
const isCache = ({ name, isDirectory, special }: SurveyedPart): boolean =>
  CACHE_NAME.test(name) && (isDirectory || special.length > 0);

/** A tree for what was seen to need a policy of its own, and one for everything else, now and later. */
function treesOf({ parts, observedSeconds }: Survey, caches: readonly SurveyedPart[]): readonly string[] {
  const captured = parts.filter((part) => !caches.includes(part));
  const own = captured.filter(
    ({ isDirectory, policy }) => isDirectory && (policy === 'immutable' || policy === 'append'),
  );
  const grown = captured.filter(({ isDirectory, policy }) => !isDirectory && policy === 'append');
  const rest = captured.filter((part) => !own.includes(part) && !grown.includes(part));
  return [
    ...own.flatMap((part) => ownTreeLines(part, observedSeconds)),
    ...(grown.length === 0
      ? []
      : [
          `      # ${namesOf(grown.map(({ name }) => comment(name)))}: grew in ${observedSeconds} s`,
          '      - path: .',
          `        include: [${grown.map(({ name }) => word(escapeGlob(name))).join(', ')}]`,
          ...policyLines('append'),
        ]),
    ...restLines(rest, observedSeconds),
    '      - path: .',
    ...(caches.length === 0
      ? []
      : [
          `        # Because of their names, what is in these, now or later, is in no backup: ${namesOf(caches.map(({ name, files }) => `${comment(name)} (${filesOf(files)})`))}`,
        ]),
    ...excludeLines(
      captured.flatMap(({ special }) => special),
      caches.map(({ name }) => `${escapeGlob(name)}/**`),
    ),
  ];
}

function ownTreeLines({ name, files, policy, special }: SurveyedPart, seconds: number): readonly string[] {
  const what = policy === 'immutable' ? 'some were added' : 'some grew';
  return [
    `      # ${comment(name)}: ${filesOf(files)}; ${what} in ${seconds} s, none changed otherwise`,
    `      - path: ${word(name)}`,
    ...policyLines(policy),
    // Also excluded from the last tree, which would claim them
    ...excludeLines(special.map((each) => ({ ...each, path: each.path.slice(name.length + 1) }))),
  ];
}

function restLines(rest: readonly SurveyedPart[], seconds: number): readonly string[] {
  const count = filesOf(rest.reduce((sum, { files }) => sum + files, 0));
  const changed = rest.flatMap((part) => (part.changed === null ? [] : [comment(part.changed)]));
  const head = `      # Everything else, also what comes later: ${count}`;
  if (changed.length === 0) return [`${head}, none changed in ${seconds} s; see the policies if that is chance`];
  return [
    `${head}; what changed in ${seconds} s, which a backup refuses: ${namesOf(changed)}`,
    '      # Exclude what changes all the time, or pause the application by hooks and give it a tree of its own with policy quiesced',
  ];
}

/**
 * Links that stay in the directory, and special files, hold nothing that is not captured. What a link out of it leads to
 * may be what the store is about: to leave that out is for the owner to say.
 */
function excludeLines(special: readonly SurveyedSpecial[], globs: readonly string[] = []): readonly string[] {
  const isFew = special.length <= EXCLUDED_MAX;
  const leading = special.flatMap(({ path, outside }) =>
    outside === null ? [] : [`${comment(path)} leads to ${comment(outside)}, which is in no backup`],
  );
  const named = special.flatMap(({ path, outside }) => (isFew && outside === null ? [escapeGlob(path)] : []));
  const refused = isFew
    ? leading
    : [`${special.length} links and special files, such as ${comment(special[0]?.path ?? '')}`];
  const excluded = [...globs, ...named];
  return [
    ...(special.length === 0
      ? []
      : ['        # Links and special files are never captured: a backup is refused until they are excluded.']),
    ...refused.slice(0, NAMES_SHOWN_MAX).map((text) => `        # Not excluded yet: ${text}`),
    ...(refused.length > NAMES_SHOWN_MAX
      ? [`        # and ${refused.length - NAMES_SHOWN_MAX} more that lead elsewhere`]
      : []),
    ...(excluded.length === 0 ? [] : ['        exclude:', ...excluded.map((glob) => `          - ${word(glob)}`)]),
  ];
}

/** That bytes once written stay is nothing that can be seen, and a cut would not notice that they did not. */
function policyLines(policy: SurveyedPart['policy']): readonly string[] {
  if (policy === 'immutable') return ['        policy: immutable'];
  return [
    '        # Only if the application never writes over what is there; else a backup refuses what grows:',
    '        # policy: append',
  ];
}

/**
 * Databases whose paths differ in one part, and that have the same tables, by one glob that names nothing else.
 * @param paths of everything that is there but directories
 */
export function groupDatabases(
  databases: readonly SurveyedDatabase[],
  paths: readonly string[],
): readonly DatabaseGroup[] {
  let left = [...databases];
  const groups: DatabaseGroup[] = [];
  const refused = new Set<string>();
  for (;;) {
    const byGlob = new Map<string, SurveyedDatabase[]>();
    for (const database of left)
      for (const key of globsOf(database)) {
        const members = byGlob.get(key) ?? [];
        byGlob.set(key, members);
        members.push(database);
      }
    const largest = [...byGlob]
      .filter(([key, { length }]) => length >= GLOB_MEMBERS_MIN && !refused.has(key))
      .sort(([, one], [, other]) => other.length - one.length)
      .find(([key, members]) => namesOnly(pathOf(key), members, paths) || void refused.add(key));
    if (largest === undefined) break;
    const [key, members] = largest;
    groups.push({ path: pathOf(key), members });
    const grouped = new Set(members);
    left = left.filter((database) => !grouped.has(database));
  }
  // The name of one file that reads like a glob would name others, too
  const nameOf = (path: string): string => (isGlob(path) ? escapeGlob(path) : path);
  const alone = left.map((database): DatabaseGroup => ({ path: nameOf(database.path), members: [database] }));
  return [...groups, ...alone].sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** Another database would lose an entry of its own, and no backup succeeds where a glob names what is no database. */
function namesOnly(glob: string, members: readonly SurveyedDatabase[], paths: readonly string[]): boolean {
  const meant = new Set(members.flatMap(({ path }) => [path, ...SIDECAR_SUFFIXES.map((suffix) => path + suffix)]));
  const names = matcherOf(glob);
  return members.every(({ path }) => names(path)) && paths.every((path) => meant.has(path) || !names(path));
}

const pathOf = (key: string): string => key.split('\0', 1)[0] ?? key;

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
