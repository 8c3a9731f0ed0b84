// What a host remembers of a vault, so that an older copy of it is told from the vault: the highest trust that it has
// believed, and the newest backup of each store that it has made, restored or verified. A file of its own, because an index
// may be thrown away.
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { Stop } from '../domain/stop.js';
import { writeFileDurable } from '../files/durable.js';
import { hasErrno, translateErrno } from '../files/errors.js';
import type { Head } from './envelopes.js';

export interface Seen {
  /** null: none. */
  readonly trust: number | null;
  readonly heads: Readonly<Record<string, Head>>;
}

const number = z.number().int().min(1);
const schema = z.strictObject({
  trust: number.nullable(),
  heads: z.record(z.string(), z.strictObject({ number, sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});

/** @throws Stop io_error where it can't be read, or is not what was written */
export async function readSeen(path: string): Promise<Seen> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return { trust: null, heads: {} };
    throw translateErrno(error, { path });
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new Stop('io_error', `${path} is not what was written there`, { path }, { cause: error });
  }
}

/** Remembers what is newer than what was known: a lower number never replaces a higher one. */
export async function remember(
  path: string,
  news: { readonly trust?: number; readonly store?: string; readonly head?: Head },
): Promise<void> {
  const { trust, heads } = await readSeen(path);
  const { store, head } = news;
  const isNewer = store !== undefined && head !== undefined && head.number > (heads[store]?.number ?? 0);
  const next: Seen = {
    trust: news.trust === undefined ? trust : Math.max(trust ?? 0, news.trust),
    heads: isNewer ? { ...heads, [store]: head } : heads,
  };
  if (next.trust !== trust || isNewer) await writeFileDurable(path, `${JSON.stringify(next)}\n`, 0o600);
}
