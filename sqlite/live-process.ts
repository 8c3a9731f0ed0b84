// The process that reads live databases (live.ts). It opens them read-only, through SQLite only.
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { serveParent } from './child.js';
import { readFacts } from './facts.js';
import type { FactsRequest } from './facts.js';
import type { LiveEvent, LiveFacts } from './live.js';
import { readSource } from './source.js';

/** How long reading may be refused before the database counts as held exclusively. */
const READ_TIMEOUT_MILLIS = 5_000;

serveParent<readonly FactsRequest[], LiveEvent, readonly LiveFacts[]>(async (requests, send) => {
  const answers: LiveFacts[] = [];
  for (const request of requests) {
    answers.push(
      await readSource(request.path, READ_TIMEOUT_MILLIS, async ({ connection }) => {
        send({ pinning: request.path });
        // What follows blocks: whoever watches the pin must have been told
        await yieldToLoop();
        return { facts: readFacts(connection, request) };
      }),
    );
  }
  return answers;
});
