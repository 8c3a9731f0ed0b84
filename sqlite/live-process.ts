// The process that reads live databases (live.ts). It opens them read-only, through SQLite only.
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { serveParent } from './child.js';
import { readFacts } from './facts.js';
import type { FactsRequest } from './facts.js';
import type { LiveEvent } from './live.js';
import { readSource } from './source.js';

/** How long reading may be refused before the database counts as held exclusively. */
const READ_TIMEOUT_MILLIS = 5_000;

serveParent<readonly FactsRequest[], LiveEvent, null>(async (requests, send) => {
  for (const request of requests) {
    const answer = await readSource(request.path, READ_TIMEOUT_MILLIS, async ({ connection, journalMode }) => {
      send({ type: 'pinning', path: request.path, journalMode });
      // What follows blocks: whoever watches the pin must have been told
      await yieldToLoop();
      return { facts: readFacts(connection, request) };
    });
    send({ type: 'answered', answer });
    // Opening the next one may block, too
    await yieldToLoop();
  }
  return null;
});
