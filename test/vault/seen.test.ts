// What a host remembers of a vault: the newest it has seen, and nothing older.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { seenOf } from '../../vault/seen.js';
import { refusal, temporaryDirectory } from './trust-room.js';

const [VAULT, OTHER] = ['3f0c9a1e-6a0b-4a39-9d0a-0d1f6b9f4a11', '3f0c9a1e-6a0b-4a39-9d0a-0d1f6b9f4a12'];
const at = (number: number, digit: string) => ({ number, sha256: digit.repeat(64) });

test('what was seen is remembered, by vault and store, and nothing older takes its place', async () => {
  const directory = join(temporaryDirectory(), 'vaults');
  const seen = seenOf(directory, VAULT);
  expect([await seen.trust(), await seen.head('shop')]).toEqual([null, null]);
  await seen.sawTrust(at(2, 'a'));
  await seen.sawHead('shop', at(7, 'b'));
  await seen.sawTrust(at(1, 'c'));
  await seen.sawTrust(at(2, 'd'));
  await seen.sawHead('shop', at(6, 'e'));
  const again = seenOf(directory, VAULT);
  expect([await again.trust(), await again.head('shop')]).toEqual([at(2, 'a'), at(7, 'b')]);
  expect([await again.head('desk'), await seenOf(directory, OTHER).trust()]).toEqual([null, null]);
  await again.sawTrust(at(10, 'f'));
  expect(await seen.trust()).toEqual(at(10, 'f'));
  expect(readdirSync(directory)).toEqual([VAULT]);
});

test('a memory that was damaged is not forgotten silently', async () => {
  const directory = temporaryDirectory();
  const seen = seenOf(directory, VAULT);
  await seen.sawTrust(at(2, 'a'));
  writeFileSync(join(directory, VAULT, 'trust.json'), '');
  expect(await refusal(seen.trust())).toMatchObject({ code: 'seen_corrupt' });
  expect(await refusal(seen.sawTrust(at(3, 'b')))).toMatchObject({ code: 'seen_corrupt' });
});
