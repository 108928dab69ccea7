import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STOP_AFTER_MS = 5_000

const RESTART_AFTER_MS = 500
const LOG_LINES = 8

/** A script that is to run until `signal` aborts. */
export interface Kept {
  readonly script: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
  readonly log: string
  readonly signal: AbortSignal
  /** It ended by itself, with a code. @param last what it wrote last */
  onEnd(code: number, last: string): void
}

/** What a process wrote last. */
export const lastLines = (log: string): string =>
  readFileSync(log, 'utf8').trimEnd().split('\n').slice(-LOG_LINES).join('\n')

/** Children of a command: real processes of the product, each with a log file. */
export class Processes {
  readonly #children: ChildProcess[] = []
  #stopping = false

  /** Starts a script of the repository under this Node. `onExit` is called when it ends before it was asked to. */
  start(
    script: string,
    args: string[],
    options: { log: string; env?: NodeJS.ProcessEnv; onExit: (code: number | null) => void },
  ): ChildProcess {
    const log = createWriteStream(options.log, { flags: 'a', mode: 0o600 })
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
      cwd: ROOT,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A terminal sends Ctrl-C to the whole group; the parent stops its children itself, in order.
      detached: true,
    })
    child.stdout?.pipe(log)
    child.stderr?.pipe(log)
    child.once('exit', (code) => {
      if (!this.#stopping) options.onExit(code)
    })
    this.#children.push(child)
    return child
  }

  /** Starts a script, and starts it again when something kills it; one that ends by itself has something to say. */
  keep(program: Kept): void {
    const { script, args, env, log, signal } = program
    const onExit = (code: number | null) => {
      if (code !== null) return program.onEnd(code, lastLines(log))
      setTimeout(() => {
        if (!signal.aborted) this.keep(program)
      }, RESTART_AFTER_MS)
    }
    this.start(script, args, { log, env, onExit })
  }

  /** Stops all, the last started first, and waits for them. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const child of this.#children.toReversed()) await stopOne(child)
  }

  /** For the last resort: when the parent itself dies. */
  kill(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}

function stopOne(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_AFTER_MS)
    child.once('exit', () => {
      clearTimeout(force)
      resolve()
    })
    child.kill('SIGTERM')
  })
}

/** A port of the loopback interface that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}
