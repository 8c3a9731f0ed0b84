// doctor: can this store be cut and exchanged here, and if not, how is that mended. Looks only; what
// SQLite may leave beside a database that it looks at is in sqlite/README.md.
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { HOOK_NAMES } from '../domain/definition.js';
import type { HookName, RootDefinition, StoreDefinition } from '../domain/definition.js';
import { STOPS, Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import { assertPatternsMatch, listedBy, selectMembers, unmentioned } from '../files/members.js';
import type { Members } from '../files/members.js';
import { assertSupportedFilesystem, filesystemKind } from '../files/mounts.js';
import { findUsers } from '../files/in-use.js';
import { walkTree } from '../files/walk.js';
import { checkAudit } from './audit-check.js';
import { lookForTables } from './doctor-tables.js';
import { assertAsNoted } from './noted-stores.js';
import { assertPointKept, rollbackPointsOf } from './rollback-points.js';
import { checkVault } from './doctor-vault.js';
import { readStatus } from './status.js';
import { roomOf } from './store-room.js';
import type { StoreRoom } from './store-room.js';

export interface Finding {
  readonly check: string;
  readonly state: 'good' | 'note' | 'stop';
  readonly what: string;
  readonly remedy?: string;
}

type Found = Omit<Finding, 'check'>;

/** Nothing depends on the log but those who read it, so nothing is refused because of it. */
const AUDIT_REMEDY =
  'the log or a history was edited or removed: find out by whom, from the engine and from copies; operations go on, and are logged';

/** Every check of one store; none stops the others. */
export async function examineStore(
  definition: StoreDefinition,
  stateDirectory: string,
  definitionsDirectory: string,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const check = async (name: string, look: () => Promise<Found | readonly Found[]>): Promise<void> => {
    try {
      for (const found of [await look()].flat()) findings.push({ check: name, ...found });
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      findings.push({
        check: name,
        state: 'stop',
        what: `${error.code}: ${error.message}`,
        remedy: STOPS[error.code].remedy,
      });
    }
  };
  let room: StoreRoom | undefined;
  await check('exchange', async () => {
    room = await roomOf(definition);
    return {
      state: 'good',
      what: room.roots.map((root) => `${root.definition.name}: by ${root.mode} (${root.why})`).join('; '),
    };
  });
  for (const root of definition.roots) {
    if (isAbsent(root.path)) {
      await check(`root ${root.name}`, async () => absence(definition, root));
      continue;
    }
    await check(`filesystem of ${root.name}`, async () => {
      await assertSupportedFilesystem(root.path);
      return { state: 'good', what: await filesystemKind(root.path) };
    });
    let seen: Members | undefined;
    await check(`members of ${root.name}`, async () => {
      const members = selectMembers(root, await walkTree(root.path, { detectDatabases: listedBy(root) }));
      seen = members;
      assertPatternsMatch(root, members);
      const unlisted = members.databases.filter((database) => !database.listed).map(({ entry }) => entry.path);
      const what = `${members.databases.length} databases, ${members.files.length} files, ${members.outside.length} entries outside (a restore carries them over)`;
      return unlisted.length === 0
        ? { state: 'good', what }
        : {
            state: 'note',
            what: `${what}; not listed: ${unlisted.slice(0, 5).join(', ')}`,
            remedy: 'list these databases, to have their tables checked',
          };
    });
    // What could not be selected has been told
    const members = seen;
    if (members === undefined) continue;
    await check(`outside the members of ${root.name}`, async () => checkOutside(root, members));
    await check(`owners of ${root.name}`, async () => checkOwners(members));
    await check(`tables of ${root.name}`, async () => checkTables(root, members, definition.backup));
  }
  for (const name of HOOK_NAMES) {
    const program = definition.hooks[name]?.argv[0];
    if (program !== undefined) await check(`hook ${name}`, async () => checkProgram(name, program));
  }
  const { destination: place, vault } = definition.backup;
  if (place !== null) await check('destination', async () => checkDestination(place));
  if (vault !== undefined)
    await check('vault', async () => checkVault({ definitionsDirectory, stateDirectory }, definition, vault));
  const { destination } = definition.rollback;
  if (destination !== null) await check('destination of rollbacks', async () => checkDestination(destination));
  await check('in use', async () => checkUsers(definition));
  if (room !== undefined) {
    const opened = room;
    await check('state', async () => checkState(opened, stateDirectory));
    await check('rollback points', async () => {
      const points = await rollbackPointsOf(opened);
      for (const point of points) await assertPointKept(point);
      return { state: 'good', what: `${points.length}, each as it was kept` };
    });
    await check('audit log', async () => {
      const { lines, histories, problems } = await checkAudit(opened.controlDirectory);
      if (problems.length > 0) return problems.map((what) => ({ state: 'stop', what, remedy: AUDIT_REMEDY }));
      const what = `${lines} lines, each bound to the one before it, and ${histories} histories as they were kept`;
      return { state: 'good', what };
    });
  }
  return findings;
}

/** What can't be looked at is not absent: the other checks say why. */
function isAbsent(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch (error) {
    if (hasErrno(error, 'EACCES', 'ELOOP')) return false;
    throw translateErrno(error, { path });
  }
}

function absence({ store }: StoreDefinition, { name, path }: RootDefinition): Found {
  return {
    state: 'stop',
    what: `${path} does not exist: a backup is STOP member_missing`,
    remedy: `mount or make it, or correct roots.${name}.path; if it was lost, remove the note that \`state\` names, if it names one, and \`holdfast restore ${store} latest\` puts it back`,
  };
}

/** A restore carries them over, but they are in no backup: what a definition that lists its members misses in silence. */
function checkOutside(root: RootDefinition, members: Members): readonly Found[] {
  const missed = unmentioned(root, members);
  if (missed.length === 0) return [];
  const names = missed.map(({ path, kind }) => `${path} (${kind === 'symlink' ? 'a link' : 'a database'})`);
  return [
    {
      state: 'note',
      what: `in no backup: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`,
      remedy: 'list each or give it a tree, and what a link leads to a root of its own; or name it in exclude or drop',
    },
  ];
}

/** Only root can give files to their owners again. */
function checkOwners({ databases, files, directories }: Members): readonly Found[] {
  const user = process.geteuid?.() ?? 0;
  const foreign = user === 0 ? [] : [...databases, ...files, ...directories].filter(({ entry }) => entry.uid !== user);
  const [first] = foreign;
  if (first === undefined) return [];
  return [
    {
      state: 'note',
      what: `${foreign.length} members belong to other users, such as ${first.entry.path}: backups are whole, but a restore by this user is STOP owner_differs`,
      remedy: 'run the worker as root, or give the members to the user of the worker',
    },
  ];
}

async function checkTables(
  root: RootDefinition,
  members: Members,
  limits: StoreDefinition['backup'],
): Promise<readonly Found[]> {
  const { databases, problems } = await lookForTables(root, members, limits);
  if (problems.length > 0) return problems.map((problem) => ({ state: 'stop', ...problem }));
  if (databases === 0) return [];
  return [
    { state: 'good', what: `every table and column that the definition names is there, in ${databases} databases` },
  ];
}

/** Looks at the program that hooks.ts would start, and starts nothing. */
function checkProgram(name: HookName, program: string): Found {
  const problem = programProblem(program);
  if (problem === null) return { state: 'good', what: `${program} can be executed` };
  return {
    state: 'stop',
    what: `${program} ${problem}: the hook would be STOP hook_failed`,
    remedy: `install it, make it executable for the user of the worker, or correct hooks.${name}.argv`,
  };
}

function programProblem(program: string): string | null {
  try {
    if (!statSync(program).isFile()) return 'is no file';
    accessSync(program, constants.X_OK);
    return null;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return 'does not exist';
    if (hasErrno(error, 'EACCES')) return "can't be executed";
    throw translateErrno(error, { path: program });
  }
}

function checkDestination(destination: string): Found {
  let existing = destination;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK);
  } catch {
    return { state: 'stop', what: `${existing} can't be written`, remedy: 'give it to the user of the worker' };
  }
  return {
    state: 'good',
    what: existing === destination ? `${destination} can be written` : `${destination} will be made`,
  };
}

async function checkUsers(definition: StoreDefinition): Promise<Found> {
  const { users, cannotTell } = await findUsers(
    definition.roots.map((root) => root.path),
    [],
  );
  const hasDetach = definition.hooks.detach !== undefined;
  const used =
    users.length === 0
      ? 'nobody uses the store now'
      : `used by ${[...new Set(users.map((user) => `${user.command} (${user.pid})`))].slice(0, 5).join(', ')}`;
  if (hasDetach) return { state: 'good', what: `${used}; a restore detaches the application by its hook` };
  if (cannotTell.length > 0) {
    const unseen = cannotTell.slice(0, 5).map(({ why }) => why);
    const more = cannotTell.length > unseen.length ? ` and ${cannotTell.length - unseen.length} more` : '';
    return {
      state: 'stop',
      what: `${used}; a restore is STOP cannot_tell_in_use: ${unseen.join('; ')}${more}`,
      remedy: STOPS.cannot_tell_in_use.remedy,
    };
  }
  return users.length === 0
    ? { state: 'good', what: used }
    : {
        state: 'note',
        what: `${used}: a restore is STOP store_in_use until they end`,
        remedy: STOPS.store_in_use.remedy,
      };
}

async function checkState(room: StoreRoom, stateDirectory: string): Promise<Found> {
  await assertAsNoted(stateDirectory, room);
  const status = await readStatus(room);
  if (status.fence !== null)
    return { state: 'stop', what: `fenced since ${status.fence.since}`, remedy: STOPS.fenced.remedy };
  if (status.debts.length > 0 && status.lock.liveness !== 'alive')
    return {
      state: 'stop',
      what: `operation ${status.debts[0]?.operation ?? ''} was left unfinished`,
      remedy: `run \`holdfast recover ${status.store}\``,
    };
  return {
    state: 'good',
    what: status.lock.owner === null ? 'not locked, not fenced' : `operation ${status.lock.owner.operation} is running`,
  };
}
