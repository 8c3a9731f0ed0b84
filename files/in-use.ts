// Who uses a store (P-18): open files, working and root directories, maps, SQLite's lock bytes, and mounts of the root
// in other places, which go on showing the old tree after an exchange. What can't be inspected is told, never passed.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { realpath } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno } from './errors.js';
import { findLockUsers } from './lock-users.js';
import { isWithin, mountOf, parseMountInfo, readMounts } from './mounts.js';
import type { Mount } from './mounts.js';

export interface StoreUser {
  /** 0: no process that can be seen; -1: whoever has the file open. */
  readonly pid: number;
  /** Name of the program, at most 15 characters; never its arguments, which may hold secrets. */
  readonly command: string;
  readonly what: 'open file' | 'cwd' | 'root' | 'map' | 'sqlite lock' | 'mount namespace';
  /** As the process sees it: inside a container that may be another path. */
  readonly path: string;
}

export interface StoreUsers {
  readonly users: readonly StoreUser[];
  /** pid 0: something about the whole host. */
  readonly cannotTell: readonly { readonly pid: number; readonly why: string }[];
}

export interface InUseOptions {
  /** Processes that don't count beside our own, such as a parent that holds the lock of the store. */
  readonly exceptPids?: ReadonlySet<number>;
}

/** Where the roots lie on their filesystems: what mounts elsewhere are compared with. */
interface Place {
  readonly root: string;
  readonly device: string;
  readonly pathInFilesystem: string;
}

/** How one mount namespace sees the roots. */
interface View {
  /** Paths below which files of a root are found there. */
  readonly prefixes: readonly string[];
  /** Mounts whose own directory is a root or within one: they don't follow an exchange. */
  readonly pinned: readonly string[];
}

const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';
const KERNEL_THREAD = 0x00200000;
const PROCESSES_PER_TURN = 50;
const DELETED = ' (deleted)';
/** A process that ended while it was looked at, in whatever way the kernel says so. */
const GONE = ['ENOENT', 'ESRCH'] as const;
const DENIED = ['EACCES', 'EPERM'] as const;

/**
 * Finds everybody who uses one of the roots (absolute) or holds locks on one of the databases (absolute), our own
 * process left out.
 * @throws Stop io_error, permission_denied where /proc itself can't be read
 */
export async function findUsers(
  roots: readonly string[],
  databases: readonly string[],
  options: InUseOptions = {},
): Promise<StoreUsers> {
  const except = new Set([process.pid, ...(options.exceptPids ?? [])]);
  const ourMounts = await readMounts();
  const places = (await Promise.all(roots.map(resolveRoot))).map((root) => placeOf(root, ourMounts));
  const inspection = new Inspection(places, ourMounts, databases);
  let count = 0;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || except.has(pid)) continue;
    inspection.inspect(pid);
    count += 1;
    if (count % PROCESSES_PER_TURN === 0) await nextTurn();
  }
  inspection.addBlindSpots(ourMounts);
  const locks = await findLockUsers(databases);
  for (const { pid, path } of locks.users)
    if (!except.has(pid)) inspection.add({ pid, command: commandOf(pid), what: 'sqlite lock', path });
  const cannotTell = [...inspection.cannotTell, ...locks.cannotTell.map((why) => ({ pid: 0, why }))];
  return { users: [...inspection.users.values()].sort((left, right) => left.pid - right.pid), cannotTell };
}

/**
 * Refuses a store that is in use. `detachConfirmed`: the detach hook has said that the application is stopped, which
 * stands for what can't be inspected, and for nothing that was found.
 * @throws Stop store_in_use, cannot_tell_in_use
 */
export async function assertNotInUse(
  roots: readonly string[],
  databases: readonly string[],
  options: InUseOptions & { readonly detachConfirmed: boolean },
): Promise<void> {
  const { users, cannotTell } = await findUsers(roots, databases, options);
  if (users.length > 0) {
    const first = users
      .slice(0, 3)
      .map(({ pid, command, what }) => `${command === '' ? 'unknown' : command} (pid ${pid}, ${what})`);
    throw new Stop(
      'store_in_use',
      `the store is used by ${first.join(', ')}${users.length > 3 ? ` and ${users.length - 3} more` : ''}`,
      { users: users.slice(0, 20), count: users.length },
    );
  }
  if (cannotTell.length > 0 && !options.detachConfirmed) {
    throw new Stop(
      'cannot_tell_in_use',
      `${cannotTell.length} processes or places could not be inspected: ${cannotTell[0]?.why ?? ''}`,
      { cannotTell: cannotTell.slice(0, 20), count: cannotTell.length },
    );
  }
}

async function resolveRoot(root: string): Promise<string> {
  try {
    return await realpath(root);
  } catch (error) {
    // A root that was destroyed may still be open somewhere.
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return root;
    throw translateErrno(error, { path: root });
  }
}

function placeOf(root: string, mounts: readonly Mount[]): Place {
  const mount = mountOf(root, mounts);
  if (mount === null) throw new Stop('io_error', `no mount holds ${root}`, { path: root });
  return {
    root,
    device: mount.device,
    pathInFilesystem: joinPath(mount.root, root.slice(mount.mountPoint === '/' ? 0 : mount.mountPoint.length)),
  };
}

function joinPath(directory: string, rest: string): string {
  const joined = `${directory === '/' ? '' : directory}${rest}`;
  return joined === '' ? '/' : joined;
}

/** How mounts show the places. `isOurs`: the mount that is the root itself is then the way in, not a second one. */
function viewOf(places: readonly Place[], mounts: readonly Mount[], isOurs: boolean): View {
  const prefixes = new Set<string>(isOurs ? places.map(({ root }) => root) : []);
  const pinned: string[] = [];
  for (const mount of mounts) {
    for (const place of places) {
      if (mount.device !== place.device) continue;
      if (isWithin(mount.root, place.pathInFilesystem)) {
        prefixes.add(mount.mountPoint);
        if (!(isOurs && mount.mountPoint === place.root)) pinned.push(mount.mountPoint);
      } else if (isWithin(place.pathInFilesystem, mount.root)) {
        prefixes.add(
          joinPath(mount.mountPoint, place.pathInFilesystem.slice(mount.root === '/' ? 0 : mount.root.length)),
        );
      }
    }
  }
  return { prefixes: [...prefixes], pinned };
}

/** Looks at one process after the other and keeps what it finds. Synchronous calls: /proc answers from memory. */
class Inspection {
  readonly users = new Map<string, StoreUser>();
  readonly cannotTell: { pid: number; why: string }[] = [];
  private readonly places: readonly Place[];
  private readonly views = new Map<string, View>();
  private readonly ourNamespace: string;
  /** Databases by `device:inode`: found even where a path says nothing, as in a mount that was detached. */
  private readonly databases = new Map<string, string>();
  private readonly databaseNames: ReadonlySet<string>;

  constructor(places: readonly Place[], ourMounts: readonly Mount[], databases: readonly string[]) {
    this.places = places;
    this.ourNamespace = readlinkSync('/proc/self/ns/mnt');
    const ours = viewOf(places, ourMounts, true);
    this.views.set(this.ourNamespace, ours);
    for (const path of ours.pinned) this.add({ pid: 0, command: '', what: 'mount namespace', path });
    this.databaseNames = new Set(databases.map((path) => basename(path)));
    for (const path of databases) {
      const identity = identityOf(path);
      if (identity !== null) this.databases.set(identity, path);
    }
  }

  add(user: StoreUser): void {
    this.users.set(`${user.pid} ${user.what} ${user.path}`, user);
  }

  /** What no look at single processes could show. */
  addBlindSpots(ourMounts: readonly Mount[]): void {
    if (readlinkSync('/proc/self/ns/pid') !== INITIAL_PID_NAMESPACE) {
      this.cannotTell.push({
        pid: 0,
        why: 'this process is in a pid namespace of its own, and processes outside it can not be seen',
      });
    }
    const hides = mountOf('/proc', ourMounts)?.superOptions.some(
      (option) => option.startsWith('hidepid=') && option !== 'hidepid=0' && option !== 'hidepid=off',
    );
    if (hides === true && process.geteuid?.() !== 0)
      this.cannotTell.push({ pid: 0, why: '/proc hides the processes of other users' });
  }

  inspect(pid: number): void {
    this.unlessGone(pid, () => {
      for (const task of tasksOf(pid)) this.unlessGone(pid, () => this.inspectTask(pid, task));
    });
  }

  private unlessGone(pid: number, look: () => void): void {
    try {
      look();
    } catch (error) {
      if (hasErrno(error, ...GONE)) return;
      if (!hasErrno(error, ...DENIED)) throw translateErrno(error, { path: `/proc/${pid}` });
      this.cannotTell.push({ pid, why: `process ${pid} (${commandOf(pid)}) can not be inspected` });
    }
  }

  /** @param task directory of /proc */
  private inspectTask(pid: number, task: string): void {
    const view = this.viewOfTask(pid, task);
    for (const what of ['cwd', 'root'] as const) this.check(pid, what, readlinkSync(`${task}/${what}`), view);
    for (const descriptor of readdirSync(`${task}/fd`)) this.inspectDescriptor(pid, `${task}/fd/${descriptor}`, view);
    this.inspectMaps(pid, task, view);
  }

  private viewOfTask(pid: number, task: string): View {
    const namespace = readlinkSync(`${task}/ns/mnt`);
    let view = this.views.get(namespace);
    if (view === undefined) {
      view = viewOf(this.places, parseMountInfo(readFileSync(`${task}/mountinfo`, 'utf8')), false);
      this.views.set(namespace, view);
    }
    if (namespace !== this.ourNamespace) {
      for (const path of view.pinned) this.add({ pid, command: commandOf(pid), what: 'mount namespace', path });
    }
    return view;
  }

  private inspectDescriptor(pid: number, link: string, view: View): void {
    try {
      const path = readlinkSync(link);
      if (!path.startsWith('/') || this.check(pid, 'open file', path, view)) return;
      // By name first: a stat of somebody's file on a dead network filesystem would hang.
      if (!this.databaseNames.has(basename(withoutDeleted(path)))) return;
      if (this.databases.has(identityOf(link) ?? ''))
        this.add({ pid, command: commandOf(pid), what: 'open file', path });
    } catch (error) {
      // Closed in between.
      if (!hasErrno(error, ...GONE)) throw error;
    }
  }

  private inspectMaps(pid: number, task: string, view: View): void {
    const maps = readFileSync(`${task}/maps`, 'utf8');
    if (!view.prefixes.some((prefix) => maps.includes(prefix))) return;
    for (const line of maps.split('\n')) {
      const path = line.indexOf('/');
      if (path >= 0) this.check(pid, 'map', line.slice(path), view);
    }
  }

  private check(pid: number, what: StoreUser['what'], path: string, view: View): boolean {
    const plain = withoutDeleted(path);
    if (!view.prefixes.some((prefix) => isWithin(plain, prefix) || isWithin(path, prefix))) return false;
    this.add({ pid, command: commandOf(pid), what, path });
    return true;
  }
}

function withoutDeleted(path: string): string {
  return path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : path;
}

function identityOf(path: string): string | null {
  try {
    const facts = statSync(path, { bigint: true });
    return `${facts.dev}:${facts.ino}`;
  } catch (error) {
    if (hasErrno(error, ...GONE, 'ENOTDIR', ...DENIED)) return null;
    throw translateErrno(error, { path });
  }
}

/**
 * Where in /proc the files of a process are seen. Kernel threads have none, and zombies have closed theirs; both may
 * refuse to be inspected. A process whose main thread has ended looks like a zombie, too, while its other threads go on
 * with all of its files: those are seen through each of them alone.
 */
function tasksOf(pid: number): readonly string[] {
  const own = stateOf(`/proc/${pid}`);
  if (own === 'kernel thread') return [];
  if (own === 'lives') return [`/proc/${pid}`];
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => `/proc/${pid}/task/${thread}`)
    .filter((task) => stateOf(task) === 'lives');
}

/** @param task directory of /proc */
function stateOf(task: string): 'lives' | 'ended' | 'kernel thread' {
  let stat: string;
  try {
    stat = readFileSync(`${task}/stat`, 'utf8');
  } catch (error) {
    if (hasErrno(error, ...GONE)) return 'ended';
    throw error;
  }
  // The program's name, in parentheses, may hold anything: fields are counted from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if ((Number(fields[6]) & KERNEL_THREAD) !== 0) return 'kernel thread';
  return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : 'lives';
}

function commandOf(pid: number): string {
  if (pid <= 0) return '';
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch (error) {
    if (hasErrno(error, ...GONE, ...DENIED)) return '';
    throw translateErrno(error, { path: `/proc/${pid}/comm` });
  }
}
