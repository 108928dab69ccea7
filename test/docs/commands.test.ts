import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../cli/dev/processes.ts'
import { ROOT } from '../e2e/harness.ts'
import { Receiver } from '../e2e/otlp-receiver.ts'
import { blocksOf, commandsIn, commandsOf, filesOf, nameOf, PAGES, textOf } from './pages.ts'
import { type House, RECIPES, type Step } from './recipes.ts'
import { type Lasting, Shell } from './shell.ts'

const SECONDS = 100
/** Of a run in the pages, which has 250: enough to train, pull and audit. */
const ROUNDS = 4

/** The environment of somebody who has just opened a terminal: nothing of npm, of this test, or of a coordinator elsewhere. */
function cleanEnvironment(folder: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|SOTTO_|VITEST|NODE_|AWS_|TEST$|DEV$|PROD$|MODE$)/i.test(name),
  )
  const path = (process.env.PATH ?? '').split(delimiter).filter((part) => !part.includes('node_modules'))
  const quiet = {
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_SEND_ERROR_REPORTS: 'false',
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    npm_config_update_notifier: 'false',
  }
  return { ...Object.fromEntries(own), ...quiet, PATH: path.join(delimiter), XDG_CONFIG_HOME: join(folder, 'config') }
}

/** A copy of the checkout, as `git clone` and `npm ci` leave it; its example run is a short one. */
function checkOut(folder: string): void {
  for (const file of filesOf('.')) {
    mkdirSync(join(folder, dirname(file)), { recursive: true })
    cpSync(join(ROOT, file), join(folder, file))
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  cpSync(join(folder, 'demo/model/spam-encoder'), join(folder, 'models/encoder'), { recursive: true })
  const run = join(folder, 'examples/mailboxes/run.yaml')
  const text = readFileSync(run, 'utf8')
  expect(text).toContain('rounds: 250')
  writeFileSync(run, text.replace('rounds: 250', `rounds: ${ROUNDS}`))
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
/** Words in capitals, where they are not part of the name of a variable. */
const withWords = (command: string, words: ReadonlyMap<string, string>) =>
  [...words].reduce(
    (text, [word, value]) => text.replace(new RegExp(`(?<![\\w$-])${word}(?![\\w])`, 'g'), () => value),
    command,
  )
const exchanged = (command: string, parts: Readonly<Record<string, string>>) =>
  Object.entries(parts).reduce(
    (text, [part, value]) => text.replace(new RegExp(escaped(part), 'g'), () => value),
    command,
  )
const stepsOf = (page: string): readonly Step[] => RECIPES[page]?.steps ?? []
const stepFor = (page: string, command: string): Step | undefined =>
  stepsOf(page).find((step) => nameOf(command).startsWith(step.command))

/** Pages with commands: those of the table in its order, then all others. */
const READ = [...Object.keys(RECIPES), ...PAGES.filter((page) => !(page in RECIPES))].filter(
  (page) => commandsOf(page).length > 0,
)

describe('the commands of the documentation', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'sotto-docs-'))
  const folder = join(scratch, 'sotto')
  const words = new Map<string, string>()
  const receiver = new Receiver()
  let house: House
  let lasting: Lasting[] = []
  /** The first command that failed: what comes after it stands on it. */
  let broken: string | null = null

  beforeAll(async () => {
    const [port, otherPort, witnessPort] = [await freePort(), await freePort(), await freePort()]
    house = { folder, port, otherPort, witnessPort, collector: await receiver.listen() }
    checkOut(folder)
  })
  afterAll(async () => {
    for (const each of lasting.toReversed()) await each.stop()
    receiver.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  const stop = async (beginning: string) => {
    const one = lasting.find(({ name }) => name.startsWith(beginning))
    expect(one, `${beginning} runs`).toBeDefined()
    expect([beginning, await one!.stop(), one!.said()]).toEqual([beginning, 'by itself', expect.anything()])
    lasting = lasting.filter((each) => each !== one)
  }

  async function type(page: string, shell: Shell, command: string, step: Step | undefined): Promise<void> {
    if (broken !== null) throw new Error(`not typed, because this failed before: ${broken}`)
    broken = command
    await typed(page, shell, command, step)
    broken = null
  }

  async function typed(page: string, shell: Shell, command: string, step: Step | undefined): Promise<void> {
    for (const each of step?.stopsFirst ?? []) await stop(each)
    const own = { ...RECIPES[page]?.with?.(house), ...step?.with?.(house) }
    const text = exchanged(withWords(exchanged(command, own), words), { 8787: String(house.port) })
    let said: string
    if (step?.stays) {
      const one = await shell.start(text, nameOf(command), step.stays, SECONDS)
      lasting.push(one)
      said = one.said()
    } else {
      const ended = await shell.run(text, SECONDS)
      if (ended.status !== 0) throw new Error(`${text}\nended with ${ended.status}:\n${ended.said}`)
      said = ended.said
    }
    if (step?.says) expect(said, text).toMatch(step.says)
    for (const [word, pattern] of Object.entries(step?.gives ?? {})) {
      expect(said, `${text} gives ${word}`).toMatch(pattern)
      words.set(word, pattern.exec(said)![1]!)
    }
    for (const file of step?.writes ?? [])
      expect(sizeOf(join(folder, file)), `${text} writes ${file}`).toBeGreaterThan(0)
  }

  describe.each(READ)('%s', (page) => {
    const commands = commandsOf(page)
    const shell = () => new Shell({ cwd: folder, env: cleanEnvironment(scratch), state: scratch, name: page })
    let terminal: Shell
    beforeAll(() => {
      terminal = shell()
    })

    it.each(commands.map((command, index) => [nameOf(command), command, index] as const))(
      '%s',
      async (_, command, index) => {
        const step = stepFor(page, command)
        if (step?.not) {
          expect([step.not.why, step.not.holds()]).toEqual([step.not.why, true])
          return
        }
        await type(page, terminal, command, step)
        if (!step?.again) return
        const { from, site, others } = step.again
        const first = commands.findIndex((each) => nameOf(each).startsWith(from))
        for (const other of others)
          for (const each of commands.slice(first, index + 1)) {
            const { again: _, ...same } = stepFor(page, each) ?? { command: nameOf(each) }
            await type(page, terminal, each.replaceAll(site, other), same)
          }
      },
      3 * 1000 * SECONDS,
    )

    it('leaves what was started running', () => {
      expect(lasting.filter((each) => each.hasEnded()).map(({ name, said }) => [name, said()])).toEqual([])
    })
  })

  it('have told a collector of a run', () => {
    expect(receiver.points.map(({ name }) => name)).toContain('sotto.run.epsilon')
  })
})

/** Of a file; a folder counts as one byte. */
const sizeOf = (path: string): number => {
  if (!existsSync(path)) return 0
  return statSync(path).isDirectory() ? 1 : statSync(path).size
}

describe('the table of commands', () => {
  it.each(Object.keys(RECIPES))('names commands that %s has, each once', (page) => {
    const commands = commandsOf(page)
    const used = new Set(commands.map((command) => stepFor(page, command)))
    expect(
      stepsOf(page)
        .filter((step) => !used.has(step))
        .map(({ command }) => command),
    ).toEqual([])
  })

  it('finds every command: none stands in a block of another kind', () => {
    const looksTyped = /^\s*(npx|npm|sotto|curl|wrangler|docker|pip|git) /
    const others = PAGES.flatMap((page) =>
      blocksOf(textOf(page))
        .filter(({ language }) => language !== 'sh')
        .flatMap(({ lines }) => lines.filter((line) => looksTyped.test(line)).map((line) => `${page}: ${line}`)),
    )
    expect(others).toEqual([])
  })

  it('reads a block as bash does', () => {
    const lines = [
      '# a remark',
      'one \\',
      '  --more # said',
      'cat > x <<EOF',
      'npx not a command',
      'EOF',
      "echo 'a",
      "b'",
      '',
      'two',
    ]
    const commands = commandsIn(lines)
    expect(commands.map((command) => command.split('\n').length)).toEqual([2, 3, 2, 1])
    expect(spawnSync('bash', ['-n'], { input: commands.join('\n') }).status).toBe(0)
  })
})
