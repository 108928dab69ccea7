import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STOP_AFTER_MS = 5_000

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
