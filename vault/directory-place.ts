// A vault in a directory of a local filesystem.
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import type { Dirent } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Stop } from '../domain/stop.js';
import { writeNewDirect } from '../files/direct-write.js';
import { ensureDirectory, fsyncDirectory } from '../files/durable.js';
import { hasErrno, translateErrno, translating } from '../files/errors.js';
import type { ObjectListed, Place } from './place.js';

/** Unfinished writes: ignored by readers, removed by whoever cleans up. */
const TEMPORARY_PREFIX = '.tmp-';
const OBJECT_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** @param root absolute; made where it is missing when the first object is written */
export function directoryPlace(root: string): Place {
  const pathOf = (name: string): string => join(root, name);
  const made = new Set<string>();
  /** Directories of packs whose names are not durable yet. */
  const unsettled = new Set<string>();

  async function ensureParent(name: string): Promise<string> {
    const parent = dirname(pathOf(name));
    if (!made.has(parent)) await ensureDirectory(parent, DIRECTORY_MODE);
    made.add(parent);
    return parent;
  }

  async function writeTemporary(parent: string, bytes: Uint8Array): Promise<string> {
    const path = join(parent, TEMPORARY_PREFIX + randomUUID());
    try {
      const file = await open(path, 'wx', OBJECT_MODE);
      try {
        // writeFile writes half a mebibyte at a time
        for (let written = 0; written < bytes.length;) written += (await file.write(bytes, written)).bytesWritten;
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(path, { force: true });
      throw translateErrno(error, { path });
    }
    return path;
  }

  /** Unlike rename(2), link(2) replaces nothing. */
  async function linkNew(temporary: string, name: string): Promise<boolean> {
    const path = pathOf(name);
    return translating({ path }, async () => {
      try {
        await link(temporary, path);
      } catch (error) {
        if (hasErrno(error, 'EEXIST')) return false;
        throw error;
      } finally {
        await rm(temporary, { force: true });
      }
      await fsyncDirectory(dirname(path));
      return true;
    });
  }

  return {
    location: root,

    async read(name, bytesMax) {
      const path = pathOf(name);
      return translating({ path }, async () => {
        // Not blocking: a FIFO of that name would hold a thread for ever
        const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
        const file = await open(path, flags).catch((error: unknown) => {
          if (hasErrno(error, 'ENOENT', 'ENOTDIR'))
            throw new Stop('vault_object_missing', `${name} is missing`, { vault: root, object: name });
          if (hasErrno(error, 'ELOOP')) throw notAnObject(root, name);
          throw error;
        });
        try {
          const facts = await file.stat();
          if (!facts.isFile()) throw notAnObject(root, name);
          if (facts.size > bytesMax)
            throw new Stop('vault_invalid', `${name} is larger than ${bytesMax} bytes`, {
              vault: root,
              object: name,
              sizeBytes: facts.size,
            });
          return await file.readFile();
        } finally {
          await file.close();
        }
      });
    },

    async localPath(name) {
      return pathOf(name);
    },

    async sizeOf(name) {
      const path = pathOf(name);
      return translating({ path }, async () => {
        try {
          const facts = await lstat(path);
          if (!facts.isFile()) throw notAnObject(root, name);
          return facts.size;
        } catch (error) {
          if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null;
          throw error;
        }
      });
    },

    async list(prefix) {
      const found: ObjectListed[] = [];
      await listInto(root, prefix, found);
      return found.sort((left, right) => (left.name < right.name ? -1 : 1));
    },

    async children(prefix) {
      return (await entriesOf(root, prefix)).map((entry) => entry.name).sort();
    },

    async putNew(name, bytes) {
      const parent = await ensureParent(name);
      return linkNew(await writeTemporary(parent, bytes), name);
    },

    async putNewFile(name, path) {
      const parent = await ensureParent(name);
      const temporary = join(parent, TEMPORARY_PREFIX + randomUUID());
      try {
        await copyFile(path, temporary, constants.COPYFILE_EXCL);
        await chmod(temporary, OBJECT_MODE);
        const file = await open(temporary, 'r');
        try {
          await file.sync();
        } finally {
          await file.close();
        }
      } catch (error) {
        await rm(temporary, { force: true });
        throw translateErrno(error, { path: temporary });
      }
      return linkNew(temporary, name);
    },

    async replace(name, bytes) {
      const parent = await ensureParent(name);
      const temporary = await writeTemporary(parent, bytes);
      await translating({ path: pathOf(name) }, () => rename(temporary, pathOf(name)));
      await fsyncDirectory(parent);
    },

    async putPack(name, bytes) {
      const path = pathOf(name);
      const parent = dirname(path);
      if (!made.has(parent))
        await translating({ path: parent }, () => mkdir(parent, { recursive: true, mode: DIRECTORY_MODE }));
      made.add(parent);
      const temporary = join(parent, TEMPORARY_PREFIX + randomUUID());
      await writeNewDirect(temporary, bytes, OBJECT_MODE);
      await translating({ path }, () => rename(temporary, path));
      unsettled.add(parent);
    },

    async settle() {
      const directories = [...unsettled];
      unsettled.clear();
      if (directories.length === 0) return;
      for (const directory of directories) await fsyncDirectory(directory);
      // Those that were new are names, too
      for (const directory of [...new Set(directories.map((path) => dirname(path))), root])
        await fsyncDirectory(directory);
    },

    async remove(name) {
      const path = pathOf(name);
      await translating({ path }, () => rm(path, { force: true }));
      const parent = dirname(path);
      if (await isThere(parent)) await fsyncDirectory(parent);
    },
  };
}

function notAnObject(root: string, name: string): Stop {
  return new Stop('vault_invalid', `${name} is no regular file`, { vault: root, object: name });
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw translateErrno(error, { path });
  }
}

async function entriesOf(root: string, prefix: string): Promise<readonly Dirent[]> {
  const path = join(root, prefix);
  return translating({ path }, async () => {
    try {
      const entries = await readdir(path, { withFileTypes: true });
      return entries.filter((entry) => !entry.name.startsWith(TEMPORARY_PREFIX));
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return [];
      throw error;
    }
  });
}

async function listInto(root: string, prefix: string, found: ObjectListed[]): Promise<void> {
  for (const entry of await entriesOf(root, prefix)) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) await listInto(root, name, found);
    else if (entry.isFile()) {
      const path = join(root, name);
      found.push({ name, sizeBytes: (await translating({ path }, () => stat(path))).size });
    } else throw notAnObject(root, name);
  }
}
