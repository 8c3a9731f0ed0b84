// Runs OpenSSH's ssh-keygen: what it reads goes to its standard input, what it says is read from its standard output.
import { spawn } from 'node:child_process';
import { Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';

/** Long enough for a person to touch a hardware key, or to type a passphrase on the terminal. */
const TIMEOUT_MILLIS = 120_000;
const OUTPUT_BYTES_MAX = 64 * 1024;

export interface SshKeygenEnded {
  readonly status: number | null;
  readonly stdout: string;
  /** Its last line. */
  readonly said: string;
}

/** @throws Stop ssh_keygen_failed where it can't be started, or doesn't end */
export function runSshKeygen(parameters: readonly string[], input: Uint8Array): Promise<SshKeygenEnded> {
  return new Promise((resolve, reject) => {
    const child = spawn('ssh-keygen', parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, TIMEOUT_MILLIS);
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]
        .setEncoding('utf8')
        .on('data', (text: string) => (output[stream] = (output[stream] + text).slice(0, OUTPUT_BYTES_MAX)));
    child.on('error', (error) => {
      clearTimeout(timer);
      const why =
        (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is not installed' : 'it could not be started';
      reject(new Stop('ssh_keygen_failed', `ssh-keygen did nothing: ${why}`, {}, { cause: error }));
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      if (isLate) reject(new Stop('ssh_keygen_failed', `ssh-keygen did not end within ${TIMEOUT_MILLIS / 1000} s`));
      else resolve({ status, stdout: output.stdout, said: lastLineOf(output.stderr) });
    });
    child.stdin.on('error', (error) => {
      // It refused before it had read everything, and says why; that it ends is told by `close`
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') reject(translateErrno(error));
    });
    child.stdin.end(input);
  });
}

function lastLineOf(text: string): string {
  const line = text.trimEnd().split(/\r?\n/).at(-1) ?? '';
  return line.replaceAll(/\p{Cc}/gu, ' ').slice(0, 300);
}
