import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, lastLines, Processes } from '../cli/dev/processes.ts'
import { type Client, connect } from './client.ts'
import { type CoordinatorKind, coordinatorOf, type Program } from './coordinator.ts'
import type { DemoFolder } from './folder.ts'

const READY_AFTER_MS = 30_000

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
    const onEnd = (code: number, last: string) =>
      this.#stop.abort(new Error(`${name} ended with code ${code}:\n${last}`))
    this.#processes.keep({ script, args, env, log, signal: this.#stop.signal, onEnd })
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + READY_AFTER_MS
    while (performance.now() < deadline) {
      const answer = await fetch(new URL('/healthz', this.url), { signal: this.#stop.signal }).catch(() => null)
      if (answer?.ok) return
      this.#stop.signal.throwIfAborted()
      await sleep(100, undefined, { signal: this.#stop.signal })
    }
    throw new Error(`the coordinator did not answer in time:\n${lastLines(this.#folder.file('coordinator.log'))}`)
  }
}
