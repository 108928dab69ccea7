import type { Command } from 'commander'

/** What can follow on a command line: words after a noun and a verb, or after a noun alone, or at the beginning. */
interface Place {
  /** Nouns and verbs before the cursor, by spaces. */
  readonly after: string
  readonly words: readonly string[]
}

const optionsOf = (command: Command): string[] => [
  ...command.options.flatMap(({ short, long }) => [short, long].filter((flag) => flag !== undefined)),
  '--help',
]

/** Every place of a command and of those below it. */
export function placesOf(command: Command, path: readonly string[] = []): Place[] {
  const words = [...command.commands.map((each) => each.name()), ...optionsOf(command)]
  const below = command.commands.flatMap((each) => placesOf(each, [...path, each.name()]))
  return [{ after: path.join(' '), words }, ...below]
}

/** What stands in single quotes of a shell: no name or flag has one. */
const quoted = (text: string): string => `'${text}'`

/** The part that bash and zsh share: the nouns and verbs before the cursor decide; where a file may stand, files are offered. */
const bashFunction = (places: readonly Place[]): string => {
  const cases = places.map(({ after, words }) => `    ${quoted(after)}) words=${quoted(words.join(' '))} ;;`)
  return `_sotto() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words=''
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && break
    case "\${path:+$path }$word" in
${places
  .filter(({ after }) => after !== '')
  .map(({ after }) => `      ${quoted(after)}) path=${quoted(after)} ;;`)
  .join('\n')}
      *) break ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ \${#COMPREPLY[@]} -eq 0 && $current != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _sotto sotto
`
}

const fishLines = (places: readonly Place[]): string =>
  places
    .map(({ after, words }) => {
      const test = after === '' ? '__fish_use_subcommand' : `string match -q -- 'sotto ${after}*' (commandline -cp)`
      return `complete -c sotto -n ${JSON.stringify(test)} -a ${JSON.stringify(words.join(' '))}`
    })
    .join('\n')

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A script that a shell reads once, and completes `sotto` by. */
export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program)
  if (shell === 'fish') return `${fishLines(places)}\n`
  const script = bashFunction(places)
  return shell === 'bash' ? script : `autoload -U +X bashcompinit && bashcompinit\n${script}`
}
