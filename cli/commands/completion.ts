// holdfast completion SHELL, and what the script that it prints asks: holdfast complete -- WORD...
import { Argument, Command } from 'commander';
import { describeCommand, outputOf } from '../command.js';
import { SHELLS, answerLines, scriptFor } from '../completion.js';

export function completionCommand(): Command {
  return describeCommand({
    name: 'completion',
    summary: 'print the script that completes commands, stores and backups in a shell',
    examples: [
      'holdfast completion bash > /etc/bash_completion.d/holdfast',
      'source <(holdfast completion zsh)',
      'holdfast completion fish > ~/.config/fish/completions/holdfast.fish',
      'holdfast completion powershell > ~/.config/powershell/holdfast.ps1',
    ],
    exits: [],
  })
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: string, _options: object, command: Command) => {
      const script = scriptFor(shell);
      outputOf(command).result({ shell, script }, [script.trimEnd()]);
    });
}

/** Not for people, so it is in no help. */
export function completeCommand(program: Command): Command {
  return new Command('complete').argument('[words...]').action(async (words: readonly string[]) => {
    const lines = await answerLines(program, words);
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
  });
}
