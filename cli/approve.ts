// What makes a plan an approved one on the command line, by the definition's `confirmation` (F-29, H-11).
import { createInterface } from 'node:readline/promises';
import type { Confirmation } from '../domain/definition.js';
import type { ConfirmedBy } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import type { Output } from './output.js';

const VARIABLE = 'CONFIRM_LIVE';
const VALUE = 'YES';
const WORD = 'yes';

/**
 * Asks for what the definition wants beside the digest of the plan.
 * @param confirmation null: the definition is another host's, which judges what comes
 * @param details what a refusal says
 * @returns what was done; null: nothing was asked for
 * @throws Stop approval_missing: nothing was done
 */
export async function confirm(
  confirmation: Confirmation | null,
  details: StopDetails,
  output: Output,
): Promise<ConfirmedBy | null> {
  const isSet = process.env[VARIABLE] === VALUE;
  if (confirmation === null) return isSet ? 'variable' : null;
  if (confirmation !== 'typed') return null;
  if (process.stdin.isTTY && !output.json) {
    const answer = await ask(`Type ${WORD} to carry this out: `);
    if (answer === WORD) return 'typed';
    throw new Stop('approval_missing', `nothing was done: ${WORD} was not typed`, details);
  }
  if (isSet) return 'variable';
  throw new Stop('approval_missing', `nothing was done: without a terminal ${VARIABLE}=${VALUE} is to be set`, details);
}

/** @returns null when the terminal ends, or interrupts, instead of an answer */
async function ask(question: string): Promise<string | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new AbortController();
  terminal.on('close', () => closed.abort());
  try {
    return await terminal.question(question, { signal: closed.signal });
  } catch (error) {
    if (closed.signal.aborted) return null;
    throw error;
  } finally {
    terminal.close();
  }
}
