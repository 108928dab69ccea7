import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_AFTER_MS = 15_000

export interface Ended {
  readonly status: number | null
  /** What it wrote to both streams. */
  readonly said: string
}

/** A command that stays until it is stopped. */
export interface Lasting {
  readonly name: string
  said(): string
  hasEnded(): boolean
  /** Ctrl-C, as a terminal sends it to all that the command started; kills what does not end by that. */
  stop(): Promise<'by itself' | 'killed'>
}

/** What is exported, and the folder that one stands in, go on to the next command, as in a terminal. */
const carried = (state: string, command: string) => `
if [ -f '${state}.env' ]; then . '${state}.env'; cd "$(cat '${state}.cwd')"; fi
trap "{ export -p > '${state}.env'; pwd > '${state}.cwd'; }" EXIT
set -a
${command}
`

/** A terminal in which the commands of one page are typed, one after the other. */
export class Shell {
  readonly #cwd: string
  readonly #env: NodeJS.ProcessEnv
  readonly #state: string

  constructor(place: { cwd: string; env: NodeJS.ProcessEnv; state: string; name: string }) {
    this.#cwd = place.cwd
    this.#env = place.env
    this.#state = join(place.state, place.name.replace(/\W/g, '-'))
  }

  /** Runs a command to its end. */
  async run(command: string, seconds: number): Promise<Ended> {
    const child = this.#spawn(command)
    const said = listen(child)
    const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), 1000 * seconds)
    const status = await ending(child)
    clearTimeout(timer)
    return { status, said: said() }
  }

  /** Starts a command that stays, and waits until it says what it says when it is ready. */
  async start(command: string, name: string, ready: RegExp, seconds: number): Promise<Lasting> {
    const child = this.#spawn(command)
    const said = listen(child)
    const ended = ending(child)
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    const stop = async () => {
      let how: 'by itself' | 'killed' = 'by itself'
      if (!hasEnded()) signalGroup(child, 'SIGINT')
      const timer = setTimeout(() => {
        how = 'killed'
        signalGroup(child, 'SIGKILL')
      }, STOP_AFTER_MS)
      await ended
      clearTimeout(timer)
      return how
    }
    const deadline = performance.now() + 1000 * seconds
    while (!ready.test(said())) {
      if (hasEnded() || performance.now() > deadline) {
        await stop()
        throw new Error(`${name} did not say ${ready}:\n${said()}`)
      }
      await sleep(50)
    }
    return { name, said, hasEnded, stop }
  }

  #spawn(command: string): ChildProcess {
    return spawn('bash', ['-c', carried(this.#state, command)], {
      cwd: this.#cwd,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
  }
}

function listen(child: ChildProcess): () => string {
  const chunks: string[] = []
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => chunks.push(String(chunk)))
  return () => chunks.join('')
}

const ending = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('close', resolve))

/** To the process and all that it started. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal)
  } catch {
    // All of them have ended.
  }
}
