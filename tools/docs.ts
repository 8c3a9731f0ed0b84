// `npm run docs`: writes the pages and parts of pages that tools/reference.ts makes from the tables in domain/.
import { readFileSync, writeFileSync } from 'node:fs';
import {
  DEFINITION_SCHEMA,
  definitionSchemaFile,
  protocolPagePath,
  protocols,
  STOP_PAGE,
  stopPage,
  withSteps,
} from './reference.js';

writeFileSync(STOP_PAGE, stopPage());
console.log(STOP_PAGE);
writeFileSync(DEFINITION_SCHEMA, definitionSchemaFile());
console.log(DEFINITION_SCHEMA);
for (const protocol of protocols()) {
  const path = protocolPagePath(protocol);
  writeFileSync(path, withSteps(readFileSync(path, 'utf8'), protocol));
  console.log(path);
}
