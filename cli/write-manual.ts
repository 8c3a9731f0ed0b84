// `npm run docs`: writes the manual pages, and removes those of commands that are no more.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { manualPages } from './manual.js';

const DIRECTORY = 'docs/man';

mkdirSync(DIRECTORY, { recursive: true });
for (const name of readdirSync(DIRECTORY)) rmSync(join(DIRECTORY, name));
for (const { name, text } of manualPages()) {
  writeFileSync(join(DIRECTORY, name), text);
  console.log(join(DIRECTORY, name));
}
