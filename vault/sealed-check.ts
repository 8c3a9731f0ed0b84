// What can be known of backups without a key: every object that their envelopes name is there, whole, and the one that it
// says (docs/protocols/verify.md "ciphertext"). Bytes are hashed in threads, each object once however many backups have it.
import { Stop } from '../domain/stop.js';
import { OBJECTS } from '../domain/vault.js';
import type { Envelope, ObjectFact } from '../domain/vault.js';
import { hashEach } from '../files/copy.js';
import type { ReadOptions } from '../files/copy.js';
import { lazily } from '../files/lazily.js';
import type { Damage } from './damage.js';
import type { OpenVault } from './trust.js';

export interface SealedCheck extends ReadOptions {
  readonly damage: Damage;
  /** Told of what is to be read before it is. */
  readonly onTotal: (bytes: number, objects: number) => void;
}

/** Manifests and packs of backups, and the keys of the vault. What is wrong is added to the damage. */
export async function checkSealed(
  open: OpenVault,
  envelopes: AsyncIterable<Envelope>,
  { damage, onTotal, ...options }: SealedCheck,
): Promise<{ readonly packs: number; readonly packBytes: number }> {
  const facts = new Map<string, ObjectFact>();
  const packs = new Map<string, number>();
  for await (const { store, number, backupId, manifest, packs: own } of envelopes) {
    facts.set(OBJECTS.manifest(store, number, backupId), manifest);
    for (const { sha256, sizeBytes } of own) packs.set(sha256, sizeBytes);
  }
  for (const [sha256, sizeBytes] of packs) facts.set(OBJECTS.pack(sha256), { sha256, sizeBytes });
  for (const { number } of open.trust.keys) await assertThere(open, OBJECTS.key(number), null, damage);
  const wanted: Wanted[] = [];
  let bytes = 0;
  for (const [name, { sha256, sizeBytes }] of facts) {
    if (!(await assertThere(open, name, sizeBytes, damage))) continue;
    bytes += sizeBytes;
    wanted.push({ name, sha256, sizeBytes, path: await open.place.localPath(name) });
  }
  onTotal(bytes, wanted.length);
  await hashAll(wanted, options, damage);
  return { packs: packs.size, packBytes: [...packs.values()].reduce((sum, size) => sum + size, 0) };
}

/** @param sizeBytes null: any but none */
async function assertThere(
  { place }: OpenVault,
  name: string,
  sizeBytes: number | null,
  damage: Damage,
): Promise<boolean> {
  try {
    const found = await place.sizeOf(name);
    if (found === null) throw new Stop('vault_object_missing', `${name} is missing`);
    if (sizeBytes === null ? found > 0 : found === sizeBytes) return true;
    throw new Stop('vault_invalid', `${name} has ${found} bytes${sizeBytes === null ? '' : `, and not ${sizeBytes}`}`);
  } catch (error) {
    if (!(error instanceof Stop) || (error.code !== 'vault_object_missing' && error.code !== 'vault_invalid'))
      throw error;
    damage.add(name, error);
    return false;
  }
}

/** What a disk refuses to read is damage like any other, and no reason not to look at the rest. */
const DAMAGE: ReadonlySet<string> = new Set(['io_error', 'file_missing', 'symlink_found', 'checksum_mismatch']);

interface Wanted extends ObjectFact {
  readonly name: string;
  readonly path: string;
}

/** One refusal ends the reading: the object that it names is told, and the others are read on. */
async function hashAll(wanted: readonly Wanted[], options: ReadOptions, damage: Damage): Promise<void> {
  const hashed = new Set<Wanted>();
  for (let left = wanted; left.length > 0;) {
    try {
      return await hashSome(left, options, damage, hashed);
    } catch (error) {
      const refused = isDamage(error) ? left.find(({ path }) => path === error.details['path']) : undefined;
      if (refused === undefined || !isDamage(error)) throw error;
      damage.add(refused.name, error);
      left = left.filter((object) => object !== refused && !hashed.has(object));
    }
  }
}

async function hashSome(
  objects: readonly Wanted[],
  options: ReadOptions,
  damage: Damage,
  hashed: Set<Wanted>,
): Promise<void> {
  const jobs = lazily(objects, ({ path, sizeBytes }) => ({ source: path, expected: { sizeBytes } }));
  await hashEach(jobs, options, (index, { sha256 }) => {
    const object = objects[index];
    if (object === undefined) throw new Error('defect: a result without its job');
    hashed.add(object);
    if (sha256 === object.sha256) return;
    const why = `${object.name} is not what its envelope says: its sha256 is ${sha256}`;
    damage.add(object.name, new Stop('checksum_mismatch', why));
  });
}

function isDamage(error: unknown): error is Stop {
  return error instanceof Stop && DAMAGE.has(error.code);
}
