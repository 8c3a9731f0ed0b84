// What makes a plan an approved one on the command line, by the definition's `confirmation` (F-29, H-11).
import { createInterface } from 'node:readline/promises';
import type { PlanReport } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import type { StopDetails } from '../domain/stop.js';
import type { Output } from './output.js';

const VARIABLE = 'CONFIRM_LIVE';
const VALUE = 'YES';
const WORD = 'yes';

/**
 * Asks for what the definition wants of a plan that has just been shown.
 * @param confirmLine the command that carries out exactly this plan
 * @throws Stop approval_missing: nothing was done
 */
export async function approve(
  { confirmation, plan, digest }: PlanReport,
  confirmLine: string,
  output: Output,
): Promise<void> {
  const missing = (message: string): Stop => {
    const details: StopDetails = { digest, confirm: confirmLine, ...(output.json ? { plan } : {}) };
    return new Stop('approval_missing', `nothing was done: ${message}`, details);
  };
  if (confirmation === 'none') return;
  if (confirmation === 'plan') throw missing('the plan is to be confirmed by its digest');
  if (process.stdin.isTTY && !output.json) {
    const answer = await ask(`Type ${WORD} to carry this out: `);
    if (answer !== WORD) throw missing(`${WORD} was not typed`);
  } else if (process.env[VARIABLE] !== VALUE) throw missing(`without a terminal ${VARIABLE}=${VALUE} is to be set`);
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
