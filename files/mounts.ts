// What is mounted where, and which filesystems are fit for a store (P-15). Exchange, in-use detection and doctor ask.
import { readFile, realpath, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Stop } from '../domain/stop.js';
import { hasErrno, translateErrno, translating } from './errors.js';

/** One line of /proc/<pid>/mountinfo. */
export interface Mount {
  readonly id: number;
  /** `major:minor` of the filesystem, decimal. */
  readonly device: string;
  /** Directory of the filesystem that is mounted: not `/` for a bind mount of a part of it. */
  readonly root: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  /** Options of the filesystem itself. */
  readonly superOptions: readonly string[];
}

/** Parses the text of a mountinfo file; spaces, tabs, newlines and backslashes in it are octal escapes. */
export function parseMountInfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const [id, , device, root, mountPoint] = fields;
    const [type, source, superOptions] = separator < 0 ? [] : fields.slice(separator + 1);
    if (
      id === undefined ||
      device === undefined ||
      root === undefined ||
      mountPoint === undefined ||
      type === undefined
    )
      continue;
    mounts.push({
      id: Number(id),
      device,
      root: unescapeOctal(root),
      mountPoint: unescapeOctal(mountPoint),
      type,
      source: unescapeOctal(source ?? ''),
      superOptions: (superOptions ?? '').split(','),
    });
  }
  return mounts;
}

function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text;
  // Escapes stand for single bytes of a UTF-8 path; all that are written are ASCII.
  return text.replace(/\\([0-7]{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mounts that a process sees, in the order of the kernel. Errors: Stop permission_denied, io_error. */
export async function readMounts(pid: number | 'self' = 'self'): Promise<Mount[]> {
  const path = `/proc/${pid}/mountinfo`;
  return await translating({ path }, async () => parseMountInfo(await readFile(path, 'utf8')));
}

/** True when `path` is `directory` or below it. Both absolute. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

/** The mount that holds an absolute, resolved path: the deepest one, and of two at one place the later. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | null {
  let found: Mount | null = null;
  for (const mount of mounts) {
    if (isWithin(path, mount.mountPoint) && (found === null || mount.mountPoint.length >= found.mountPoint.length))
      found = mount;
  }
  return found;
}

/** True when something is mounted at exactly this path, a bind mount of the same filesystem too. */
export async function isMountPoint(path: string): Promise<boolean> {
  const resolved = await resolveExisting(path);
  return (await readMounts()).some((mount) => mount.mountPoint === resolved);
}

/** Mount points strictly below a path. */
export async function mountsBelow(path: string): Promise<string[]> {
  const resolved = await resolveExisting(path);
  return (await readMounts())
    .map((mount) => mount.mountPoint)
    .filter((mountPoint) => mountPoint !== resolved && isWithin(mountPoint, resolved));
}

/** Resolves links in the part of the path that exists. */
async function resolveExisting(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'ENOTDIR') || path === '/') throw translateErrno(error, { path });
  }
  const parent = await resolveExisting(dirname(path));
  const name = path.slice(path.lastIndexOf('/') + 1);
  return parent === '/' ? `/${name}` : `${parent}/${name}`;
}

/** Magic numbers of statfs(2), from linux/magic.h and the filesystems' own headers. */
const KINDS = new Map<number, string>([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0xf2f52010, 'f2fs'],
  [0xca451a4e, 'bcachefs'],
  [0x794c7630, 'overlay'],
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x517b, 'smb'],
  [0x65735546, 'fuse'],
  [0x00c36400, 'ceph'],
  [0x01021997, '9p'],
  [0x4d44, 'vfat'],
  [0x2011bab0, 'exfat'],
  [0x5346544e, 'ntfs'],
  [0x73717368, 'squashfs'],
]);

/** Local, keep their data, and exchange names atomically. Everything else is refused, what is unknown too. */
const SUPPORTED: ReadonlySet<string> = new Set(['ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'bcachefs', 'overlay']);

/** The kind for a magic number; `unknown-<hex>` for one that is not in the table. ext2 and ext3 are `ext4`. */
export function filesystemKindOf(magic: number): string {
  // statfs gives a long: the number may come sign-extended.
  const unsigned = magic >>> 0;
  return KINDS.get(unsigned) ?? `unknown-${unsigned.toString(16)}`;
}

/** The kind of the filesystem that holds a path. Errors: Stop io_error, permission_denied. */
export async function filesystemKind(path: string): Promise<string> {
  return filesystemKindOf(await magicOf(path));
}

/**
 * Refuses filesystems that lose their data, lie about locks, or are unknown.
 * @throws Stop unsupported_filesystem
 */
export async function assertSupportedFilesystem(path: string): Promise<void> {
  assertSupportedMagic(path, await magicOf(path));
}

/** The decision of assertSupportedFilesystem, pure. */
export function assertSupportedMagic(path: string, magic: number): void {
  const kind = filesystemKindOf(magic);
  if (!SUPPORTED.has(kind)) throw new Stop('unsupported_filesystem', `${path} is on ${kind}`, { path, kind });
}

async function magicOf(path: string): Promise<number> {
  const facts = await translating({ path }, async () => await statfs(path, { bigint: true }));
  return Number(BigInt.asUintN(32, facts.type));
}
