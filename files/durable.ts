// Durable writes: what these functions report as done is on disk after a power failure (SM-9, F-9). The order is
// always: write, fsync the file, rename, fsync the directory. Errors are Stops: no_space, permission_denied, io_error.
import { randomBytes } from 'node:crypto';
import { lstatSync, renameSync } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assert, Stop } from '../domain/stop.js';
import { hasErrno, translateErrno, translating } from './errors.js';
import { renameNoReplace, syncFilesystemOf } from './system-calls.js';

/**
 * Writes a file whole or not at all, replacing what is there. `mode` is exact: the umask does not apply.
 * A process killed in between leaves a file `.<name>.<random>.tmp` beside it, never a half-written one.
 */
export async function writeFileDurable(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  await writeBeside(path, data, mode, async (temporary) => await rename(temporary, path));
}

/**
 * Like writeFileDurable, for a file that must not exist yet.
 * @throws Stop target_exists
 */
export async function writeNewDurable(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  await writeBeside(path, data, mode, (temporary) => renameNew(temporary, path));
}

/** Makes the names in a directory durable: creations, renames and removals in it. */
export async function fsyncDirectory(path: string): Promise<void> {
  await translating({ path }, async () => await syncOpen(path));
}

/** Makes everything that was written to the filesystem of `path` durable, by one syncfs: for staging with many files. */
export async function syncFilesystem(path: string): Promise<void> {
  await translating({ path }, async () => {
    const handle = await open(path, 'r');
    try {
      await syncFilesystemOf(handle.fd, path);
    } finally {
      await handle.close();
    }
  });
}

/**
 * Renames durably within one filesystem, never replacing.
 * @throws Stop target_exists
 */
export async function renameDurable(source: string, target: string): Promise<void> {
  await translating({ path: source, target }, async () => {
    renameNew(source, target);
    await syncOpen(dirname(target));
    if (dirname(source) !== dirname(target)) await syncOpen(dirname(source));
  });
}

/**
 * Removes a file or a whole tree durably, also directories that their owner may not write, as stores have them; links are
 * removed, not followed; nothing there is fine.
 */
export async function removeTree(path: string): Promise<void> {
  await translating({ path }, async () => {
    assert(dirname(path) !== path, 'the root of the filesystem is never removed');
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      if (!hasErrno(error, 'EACCES')) throw error;
      await makeWritable(path);
      await rm(path, { recursive: true, force: true });
    }
    try {
      await syncOpen(dirname(path));
    } catch (error) {
      // Without its parent the tree was not there either.
      if (!hasErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
  });
}

/** Lets its owner empty every directory of a tree: where the mode forbids it, only root could. */
async function makeWritable(path: string): Promise<void> {
  const facts = await lstat(path);
  if (!facts.isDirectory()) return;
  if ((facts.mode & 0o700) !== 0o700) await chmod(path, (facts.mode & 0o7777) | 0o700);
  for (const entry of await readdir(path, { withFileTypes: true }))
    if (entry.isDirectory()) await makeWritable(join(path, entry.name));
}

/**
 * Makes a directory and its missing parents, each durable in its own parent, each with exactly `mode`. A directory
 * that exists keeps its mode. Something else at the path is Stop target_exists.
 */
export async function ensureDirectory(path: string, mode: number): Promise<void> {
  await translating({ path }, async () => {
    if (await isDirectory(path)) return;
    await ensureDirectory(dirname(path), mode);
    try {
      await mkdir(path, mode);
    } catch (error) {
      // Made by another process at the same moment: that is as good, and it may not have synced yet.
      if (!hasErrno(error, 'EEXIST') || !(await isDirectory(path))) throw error;
    }
    const handle = await open(path, 'r');
    try {
      if (((await handle.stat()).mode & 0o7777) !== mode) await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await syncOpen(dirname(path));
  });
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
  throw new Stop('target_exists', `${path} exists and is no directory`, { path });
}

async function writeBeside(
  path: string,
  data: string | Uint8Array,
  mode: number,
  publish: (temporary: string) => void | Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await writeSynced(temporary, data, mode);
    try {
      await publish(temporary);
    } catch (error) {
      await unlink(temporary);
      throw error;
    }
    await syncOpen(dirname(path));
  } catch (error) {
    throw translateErrno(error, { path });
  }
}

async function writeSynced(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode);
  try {
    await handle.writeFile(data);
    await handle.chmod(mode);
    await handle.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await handle.close();
  }
}

function renameNew(source: string, target: string): void {
  try {
    renameNoReplace(source, target);
  } catch (error) {
    if (hasErrno(error, 'EINVAL') && lstatSync(source).isDirectory()) return renameDirectoryNew(source, target);
    if (!hasErrno(error, 'EEXIST', 'ENOTEMPTY')) throw error;
    throw new Stop('target_exists', `${target} exists`, { path: target }, { cause: error });
  }
}

/**
 * For filesystems that can't be told to replace nothing, as NFS: a directory never replaces a file or a directory with
 * something in it, and between our look and the rename nobody else makes an empty one of this name.
 */
function renameDirectoryNew(source: string, target: string): void {
  if (lstatSync(target, { throwIfNoEntry: false }) !== undefined)
    throw new Stop('target_exists', `${target} exists`, { path: target });
  renameSync(source, target);
}

async function syncOpen(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
