import { Argument, type Command } from 'commander'
import { writeResult } from '../output.ts'
import { completionScript, SHELLS, type Shell } from './scripts.ts'

const HELP = `
Prints a script that your shell reads at its start, and completes nouns, verbs and options by. Whatever takes a file is completed by files.

Examples
  sotto completion bash > ~/.local/share/bash-completion/completions/sotto
  sotto completion zsh  > ~/.zfunc/_sotto.zsh      # and "source" it in ~/.zshrc
  sotto completion fish > ~/.config/fish/completions/sotto.fish`

/** `sotto completion`. @param whole the command line with all of its nouns read */
export const describeCompletion = (command: Command, whole: () => Promise<Command>): void => {
  command
    .addArgument(new Argument('<shell>', 'which one').choices(SHELLS))
    .addHelpText('after', HELP)
    .action(async (shell: Shell) => writeResult(completionScript(await whole(), shell)))
}
