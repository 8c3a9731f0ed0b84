// The real command line as a child process: dist/cli/main.js, with pipes or on a terminal of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import type { Environment } from '../../client/state-directory.js';
import { eventually } from '../support/engine.js';

export const PROGRAM = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export interface Ended {
  /** Exit status, or the name of the signal. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly signal: (name: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGKILL') => void;
  /** Types on its terminal, or writes to its standard input. */
  readonly type: (text: string) => void;
  /** Waits until it has said so on stdout or stderr. */
  readonly says: (pattern: RegExp) => Promise<boolean>;
}

/** Starts any program; it is killed when the test ends before it does. */
export function startProgram(environment: Environment, command: string, ...argv: readonly string[]): RunningCommand {
  const child = spawn(command, argv, { env: { ...environment }, stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => (said[stream] += text));
  const ended = once(child, 'close').then(([status, signal]): Ended => ({
    status: (status ?? signal) as number | string,
    ...said,
  }));
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  onTestFinished(async () => {
    if (!isOver()) child.kill('SIGKILL');
    await ended;
  });
  child.stdin.on('error', () => child.stdin.destroy());
  return {
    pid: child.pid ?? 0,
    ended,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    signal: (name) => void child.kill(name),
    type: (text) => void child.stdin.write(text),
    says: (pattern) =>
      eventually(`${String(pattern)} in ${argv.join(' ')}`, () => {
        if (pattern.test(said.stdout) || pattern.test(said.stderr)) return true;
        if (isOver()) throw new Error(`ended without ${String(pattern)}:\n${said.stdout}\n${said.stderr}`);
        return false;
      }),
  };
}

/** Starts `holdfast …`. */
export function startCommand(environment: Environment, ...argv: readonly string[]): RunningCommand {
  return startProgram(environment, process.execPath, PROGRAM, ...argv);
}

/** Runs `holdfast …` to its end. */
export async function run(environment: Environment, ...argv: readonly string[]): Promise<Ended> {
  const command = startCommand(environment, ...argv);
  return command.ended;
}

/** Gives a program a terminal of 80 columns, and passes on what is typed. Ends with the program's status. */
const TERMINAL = `
import fcntl, os, pty, select, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
sources = [terminal, 0]
while True:
    ready, _, _ = select.select(sources, [], [])
    if 0 in ready:
        typed = os.read(0, 1024)
        if typed: os.write(terminal, typed)
        else: sources.remove(0)
    if terminal in ready:
        try: shown = os.read(terminal, 65536)
        except OSError: break
        if not shown: break
        os.write(1, shown)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(status if status >= 0 else 128 - status)
`;

/** Starts any program on a terminal: both of its outputs are in stdout. */
export function startProgramOnTerminal(environment: Environment, ...argv: readonly string[]): RunningCommand {
  return startProgram({ ...environment, TERM: 'xterm-256color' }, 'python3', '-c', TERMINAL, ...argv);
}

/** Starts `holdfast …` on a terminal. */
export function startOnTerminal(environment: Environment, ...argv: readonly string[]): RunningCommand {
  return startProgramOnTerminal(environment, process.execPath, PROGRAM, ...argv);
}

export type JsonLine = Readonly<Record<string, unknown>> & { readonly type: string };

/** Every line of --json parses; the last one is a result or an error, and the only one. */
export function jsonLines({ stdout }: Ended): { readonly lines: readonly JsonLine[]; readonly last: JsonLine } {
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as JsonLine);
  const last = lines.at(-1);
  if (last === undefined) throw new Error('no line of JSON');
  expect(['result', 'error']).toContain(last.type);
  expect(lines.slice(0, -1).filter(({ type }) => type === 'result' || type === 'error')).toEqual([]);
  return { lines, last };
}

/** Characters that steer a terminal, line feeds aside: colours, carriage returns, bells. */
export const CONTROL_CHARACTERS = /(?!\n)\p{Cc}/u;
