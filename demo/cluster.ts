import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, Processes } from '../cli/dev/processes.ts'
import { type Client, connect } from './client.ts'
import { type CoordinatorKind, coordinatorOf, type Program } from './coordinator.ts'
import type { DemoFolder } from './folder.ts'

const READY_AFTER_MS = 30_000
const RESTART_AFTER_MS = 500
const LOG_LINES = 8

/** One coordinator and its workers, as real processes that are started again when something kills them. */
export class Cluster {
  readonly client: Client
  readonly url: string
  readonly #folder: DemoFolder
  readonly #processes = new Processes()
  readonly #stop: AbortController

  private constructor(folder: DemoFolder, url: string, adminToken: string, stop: AbortController) {
    this.#folder = folder
    this.url = url
    this.#stop = stop
    this.client = connect(url, adminToken, stop.signal)
  }

  /** Starts the coordinator and waits until it answers. Aborting `stop` ends every wait. */
  static async start(
    kind: CoordinatorKind,
    folder: DemoFolder,
    adminToken: string,
    stop: AbortController,
  ): Promise<Cluster> {
    const port = await freePort()
    const cluster = new Cluster(folder, `http://127.0.0.1:${port}`, adminToken, stop)
    cluster.#keepRunning('coordinator', await coordinatorOf(kind, { folder, port, adminToken }))
    await cluster.#ready()
    return cluster
  }

  startWorker(name: string, token: string): void {
    const args = [
      '--coordinator',
      this.url,
      '--data',
      this.#folder.mailbox(name),
      '--state',
      `${this.#folder.site(name)}/state`,
    ]
    this.#keepRunning(`worker-${name}`, { script: 'gpu-worker/main.ts', args, env: { SOTTO_TOKEN: token } })
  }

  stop(): Promise<void> {
    return this.#processes.stop()
  }
  kill(): void {
    this.#processes.kill()
  }

  /** A process that was killed starts again; one that ended by itself has something to say, and ends the demo. */
  #keepRunning(name: string, program: Program): void {
    const { script, args, env } = program
    const log = this.#folder.file(`${name}.log`)
    const onExit = (code: number | null) => {
      if (code !== null) return this.#stop.abort(new Error(`${name} ended with code ${code}:\n${tail(log)}`))
      setTimeout(() => {
        if (!this.#stop.signal.aborted) this.#keepRunning(name, program)
      }, RESTART_AFTER_MS)
    }
    this.#processes.start(script, args, { log, env, onExit })
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + READY_AFTER_MS
    while (performance.now() < deadline) {
      const answer = await fetch(new URL('/healthz', this.url), { signal: this.#stop.signal }).catch(() => null)
      if (answer?.ok) return
      this.#stop.signal.throwIfAborted()
      await sleep(100, undefined, { signal: this.#stop.signal })
    }
    throw new Error(`the coordinator did not answer in time:\n${tail(this.#folder.file('coordinator.log'))}`)
  }
}

const tail = (log: string): string => readFileSync(log, 'utf8').trimEnd().split('\n').slice(-LOG_LINES).join('\n')
