import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../e2e/harness.ts'

/** Files of the repository: those of the last commit, and those that will be in the next one. */
export const filesOf = (...patterns: string[]): string[] =>
  execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...patterns], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\0')
    .filter((file) => file !== '' && existsSync(join(ROOT, file)))

/** Every page of the repository, by its path. */
export const PAGES: readonly string[] = filesOf('*.md')

export const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8')

/** A fenced block: its language as written, and its lines. */
export interface Block {
  readonly language: string
  readonly lines: readonly string[]
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = []
  let open: { fence: string; language: string; lines: string[] } | null = null
  for (const line of markdown.split('\n')) {
    const fence = /^\s*(```+)\s*(\S*)/.exec(line)
    if (open && fence?.[1] === open.fence && fence[2] === '') {
      blocks.push({ language: open.language, lines: open.lines })
      open = null
    } else if (open) open.lines.push(line)
    else if (fence) open = { fence: fence[1]!, language: fence[2]!, lines: [] }
  }
  return blocks
}

/** The commands of a block as bash reads them: a here-document, a quoted text or a loop is part of its command. */
export function commandsIn(lines: readonly string[]): string[] {
  const commands: string[] = []
  let open: string[] = []
  for (const line of lines) {
    if (open.length === 0 && /^\s*(#|$)/.test(line)) continue
    open.push(line)
    if (!isWhole(open.join('\n'))) continue
    commands.push(open.join('\n').trim())
    open = []
  }
  if (open.length > 0) throw new Error(`a command without an end: ${open.join('\n')}`)
  return commands
}

/** The commands of a page, in its order. */
export const commandsOf = (page: string): string[] =>
  blocksOf(textOf(page))
    .filter(({ language }) => language === 'sh')
    .flatMap(({ lines }) => commandsIn(lines))

/** Bash complains about a command that goes on in the next line, and warns of a here-document without its end. */
function isWhole(command: string): boolean {
  if (/\\$/.test(command)) return false
  const { status, stderr } = spawnSync('bash', ['-n'], { input: `${command}\n`, encoding: 'utf8' })
  return status === 0 && stderr === ''
}

/** A command as a table names it: without its remark, with single spaces. */
export const nameOf = (command: string): string =>
  command
    .split('\n')[0]!
    .replace(/\s+#.*$/, '')
    .replace(/\s+/g, ' ')
    .trim()
