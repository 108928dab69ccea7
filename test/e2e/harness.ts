import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../cli/dev/processes.ts'
import { type Client, connect } from '../../demo/client.ts'
import { inspectModel } from '../../gpu-worker/engine/index.ts'
import type { Run, RunRequest } from '../../shared/api/index.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const MODEL = join(ROOT, 'demo/model/spam-encoder')
export const SITES = ['north', 'east', 'west'] as const

/** A real process of the product, with everything it printed. */
export interface Process {
  readonly child: ChildProcess
  output(): string
  /** Resolves with the exit code, null when a signal ended it. */
  readonly exited: Promise<number | null>
}

export function startProcess(
  script: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
  nodeArgs: string[] = [],
): Process {
  const flags = ['--disable-warning=ExperimentalWarning', ...nodeArgs]
  const child = spawn(process.execPath, [...flags, script, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks: string[] = []
  child.stdout.on('data', (chunk) => chunks.push(String(chunk)))
  child.stderr.on('data', (chunk) => chunks.push(String(chunk)))
  return { child, output: () => chunks.join(''), exited: new Promise((resolve) => child.once('exit', resolve)) }
}

export async function waitUntil(what: string, check: () => Promise<boolean> | boolean, seconds = 60): Promise<void> {
  const deadline = performance.now() + 1000 * seconds
  while (performance.now() < deadline) {
    if (await check()) return
    await sleep(50)
  }
  throw new Error(`waited ${seconds} s for ${what}`)
}

/** Words that stand in no model, no code and no answer: found anywhere outside a worker, they are a leak. */
export const SENTINEL = 'xylophagous quixotry'

/** Records of one site: short texts of two kinds, the sentinel in every tenth. */
export function records(site: string, count: number): { text: string; label: 'ham' | 'spam' }[] {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 2 === 0 ? 'ham' : 'spam'
    const words =
      label === 'ham'
        ? `the patch for the list builds again, see build ${i}`
        : `make money fast with offer ${i}, click here`
    return { text: i % 10 === 0 ? `${words} ${SENTINEL} ${site}` : words, label }
  })
}

/** A coordinator and three sites in a folder of their own, over real processes. */
export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'sotto-e2e-'))
  readonly adminToken = `sotto_${randomBytes(32).toString('base64url')}`
  readonly #stop = new AbortController()
  readonly #env: NodeJS.ProcessEnv
  port = 0
  client!: Client
  coordinator!: Process
  readonly tokens: Record<string, string> = {}
  readonly processes: Process[] = []

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.#env = env
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async startCoordinator(): Promise<void> {
    this.port ||= await freePort()
    const args = ['--data', join(this.folder, 'coordinator'), '--port', String(this.port)]
    this.coordinator = startProcess('coordinator/hosts/node.ts', args, {
      ...this.#env,
      SOTTO_ADMIN_TOKEN: this.adminToken,
    })
    this.processes.push(this.coordinator)
    await this.#follow()
  }

  /** Takes one that is being started for the coordinator, in place of one process of the Node host. */
  async useCoordinator(coordinator: Process, port: number): Promise<void> {
    this.port = port
    this.coordinator = coordinator
    this.processes.push(coordinator)
    await this.#follow()
  }

  async #follow(): Promise<void> {
    this.client = connect(this.url, this.adminToken, this.#stop.signal)
    const healthy = () =>
      fetch(`${this.url}/healthz`).then(
        (answer) => answer.ok,
        () => false,
      )
    await waitUntil('the coordinator', async () => {
      if (this.coordinator.child.exitCode !== null) throw new Error(this.coordinator.output())
      return healthy()
    })
  }

  dataFile(site: string): string {
    return join(this.folder, `${site}.jsonl`)
  }

  /** Registers a dataset and its worker, and writes its records. */
  async addSite(
    site: string,
    options: { records?: object[]; budget?: { epsilon: number; delta: number } } = {},
  ): Promise<void> {
    const lines = options.records ?? records(site, 60)
    writeFileSync(this.dataFile(site), lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    await this.client.createDataset({
      id: site,
      units: lines.length,
      unit: 'record',
      budget: options.budget ?? { epsilon: 8, delta: 1e-5 },
    })
    this.tokens[site] = (await this.client.createWorker(site)).token
  }

  startWorker(
    site: string,
    options: { coordinator?: string; args?: string[]; nodeArgs?: string[]; env?: NodeJS.ProcessEnv } = {},
  ): Process {
    const state = join(this.folder, 'sites', site)
    mkdirSync(state, { recursive: true })
    const args = [
      '--coordinator',
      options.coordinator ?? this.url,
      '--data',
      this.dataFile(site),
      '--state',
      state,
      '--json',
      ...(options.args ?? []),
    ]
    const worker = startProcess(
      'gpu-worker/main.ts',
      args,
      { SOTTO_TOKEN: this.tokens[site], ...options.env },
      options.nodeArgs,
    )
    this.processes.push(worker)
    return worker
  }

  async submit(more: Partial<RunRequest> & { rounds?: number; directions?: number } = {}): Promise<Run> {
    const { rounds = 6, directions = 4, ...rest } = more
    return this.client.createRun(await request(await this.client.uploadModel(MODEL), { rounds, directions }, rest))
  }

  /** Waits for the end of a run. */
  async finish(run: string, seconds = 120): Promise<Run> {
    const ended = async () => {
      try {
        return (await this.client.run(run)).state !== 'running'
      } catch (error) {
        if (error instanceof TypeError) return false
        throw error
      }
    }
    await waitUntil(`the end of ${run}`, ended, seconds)
    return this.client.run(run)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    for (const { child } of this.processes) child.kill('SIGKILL')
    await Promise.all(
      this.processes.map(({ exited, child }) => (child.exitCode === null && child.signalCode === null ? exited : null)),
    )
  }
}

export async function request(
  model: string,
  size: { rounds: number; directions: number },
  more: Partial<RunRequest> = {},
): Promise<RunRequest> {
  const { sites } = await inspectModel(MODEL)
  const last = sites.filter(({ name }) => name === 'head.transform')
  return {
    model,
    task: {
      kind: 'prompt-classification',
      template: 'about {mask} : {text}',
      labels: { ham: 'list', spam: 'money' },
      maxTokens: 32,
      buckets: [16, 32],
    },
    space: {
      kind: 'lora',
      rank: 1,
      trained: 'factor',
      sites: last.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 1 })),
    },
    stages: [
      {
        rounds: size.rounds,
        learningRate: 0.05,
        radius: 0.02,
        directions: size.directions,
        clip: 0.5,
        samplingRate: 0.2,
        prox: 0,
        lossShare: 0.2,
        lossBound: 2,
      },
    ],
    datasets: [...SITES],
    budget: { epsilon: 4, delta: 1e-5 },
    deadlineSeconds: 120,
    leaseSeconds: 60,
    ...more,
  }
}
