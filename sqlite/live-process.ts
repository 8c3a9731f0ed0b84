// The process that reads live databases (live.ts). It opens them read-only, through SQLite only.
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { Stop } from '../domain/stop.js';
import { serveParent } from './child.js';
import { translateSqlite } from './errors.js';
import { readFacts } from './facts.js';
import type { FactsRequest } from './facts.js';
import type { LiveEvent, LiveFacts } from './live.js';
import { openSource } from './source.js';

/** How long reading may be refused before the database counts as held exclusively. */
const READ_TIMEOUT_MILLIS = 5_000;

serveParent<readonly FactsRequest[], LiveEvent, readonly LiveFacts[]>(async (requests, send) => {
  const answers: LiveFacts[] = [];
  for (const request of requests) answers.push(await readOne(request, send));
  return answers;
});

async function readOne(request: FactsRequest, send: (event: LiveEvent) => void): Promise<LiveFacts> {
  try {
    const { connection } = await openSource(request.path, READ_TIMEOUT_MILLIS);
    try {
      connection.pragma(`busy_timeout = ${READ_TIMEOUT_MILLIS}`);
      send({ pinning: request.path });
      // What follows blocks: whoever watches the pin must have been told
      await yieldToLoop();
      return { facts: readFacts(connection, request) };
    } finally {
      connection.close();
    }
  } catch (error) {
    const translated = translateSqlite(error, request.path);
    if (translated instanceof Stop)
      return { unreadable: translated.code, message: translated.message, details: translated.details };
    throw translated;
  }
}
