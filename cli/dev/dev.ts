import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect, type Sotto, SottoError } from '../../client/index.ts'
import { DEV_LOGIN } from '../connection/index.ts'
import { InputError, RunError } from '../failure.ts'
import type { DevGiven } from './command.ts'
import { freePort, Processes } from './processes.ts'
import { type Project, readProject, unitsIn } from './project.ts'

const EXAMPLE = fileURLToPath(new URL('../../examples/mailboxes/sotto.yaml', import.meta.url))
const READY_MS = 30_000

type Dataset = Project['datasets'][number]

/** `sotto dev`: runs until it is stopped. @throws InputError, RunError */
export async function dev(given: DevGiven): Promise<void> {
  const project = readProject(given.file ?? (existsSync('sotto.yaml') ? 'sotto.yaml' : EXAMPLE))
  const dir = resolve(given.dir)
  mkdirSync(join(dir, 'workers'), { recursive: true, mode: 0o700 })
  await makeData(project)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const house = new House(dir, stop)
  const login = join(process.cwd(), DEV_LOGIN)
  try {
    await house.open(given.port)
    for (const dataset of project.datasets) await house.settle(dataset)
    mkdirSync(dirname(login), { recursive: true, mode: 0o700 })
    writeFileSync(login, JSON.stringify({ url: house.url, token: house.token }), { mode: 0o600 })
    const names = project.datasets.map(({ id }) => id).join(', ')
    process.stdout.write(`Ready at ${house.url}: ${names}. Logs are in ${dir}. Ctrl-C stops it.\n`)
    // What follows # is sent to no server: whoever can read this terminal can read the token's file too.
    process.stdout.write(`Pages: ${house.url}/runs#token=${house.token}\n`)
    await aborted(stop.signal)
  } finally {
    rmSync(login, { force: true })
    await house.close()
  }
  const { reason } = stop.signal
  if (reason instanceof RunError) throw reason
}

/** Has the data written that are not there. @throws InputError, RunError */
async function makeData({ datasets, make }: Project): Promise<void> {
  const missing = datasets.find(({ data }) => !existsSync(data))
  if (!missing) return
  if (make === undefined) throw new InputError(`${missing.data} is not there: write it, or name a script by "make"`)
  process.stderr.write(`Writing the data: ${make}\n`)
  try {
    const args = ['--disable-warning=ExperimentalWarning', make, dirname(missing.data)]
    await promisify(execFile)(process.execPath, args)
  } catch (error) {
    throw new RunError(
      `${make} failed: ${(error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? 'no reason given'}`,
    )
  }
}

/** The coordinator and its workers, as processes that are started again when something kills them. */
class House {
  readonly #dir: string
  readonly #stop: AbortController
  readonly #processes = new Processes()
  url = ''
  token = ''
  #sotto!: Sotto

  constructor(dir: string, stop: AbortController) {
    this.#dir = dir
    this.#stop = stop
  }

  async open(wanted: number): Promise<void> {
    const port = wanted === 0 ? await freePort() : wanted
    this.url = `http://127.0.0.1:${port}`
    const data = join(this.#dir, 'coordinator')
    this.#keep('coordinator', 'coordinator/hosts/node.ts', ['--data', data, '--port', String(port)], {})
    await this.#answers()
    this.token = readFileSync(join(data, 'admin-token'), 'utf8').trim()
    this.#sotto = connect({ url: this.url, token: this.token, signal: this.#stop.signal })
  }

  /** Registers a dataset, and starts its worker. @throws InputError */
  async settle(dataset: Dataset): Promise<void> {
    const { api, answer } = this.#sotto
    const { id, data, unit, epsilon, delta } = dataset
    const json = { id, units: unitsIn(dataset), unit, budget: { epsilon, delta } }
    try {
      await answer(api.v1.datasets.$post({ json }))
    } catch (error) {
      if (!(error instanceof SottoError && error.code === 'conflict')) throw error
      throw new InputError(`dataset ${id} was registered otherwise in ${this.#dir}: name another --dir, or remove it`)
    }
    const token = await this.#workerToken(id)
    const state = join(this.#dir, 'workers', id)
    const args = ['--coordinator', this.url, '--data', data, '--state', state, '--unit', unit]
    this.#keep(`worker-${id}`, 'gpu-worker/main.ts', args, { SOTTO_TOKEN: token })
  }

  async close(): Promise<void> {
    await this.#processes.stop()
  }

  async #workerToken(dataset: string): Promise<string> {
    const file = join(this.#dir, 'workers', `${dataset}.token`)
    if (existsSync(file)) return readFileSync(file, 'utf8').trim()
    const { api, answer } = this.#sotto
    const { token } = await answer(api.v1.workers.$post({ json: { dataset } }))
    writeFileSync(file, `${token}\n`, { mode: 0o600 })
    return token
  }

  /** A process that was killed starts again; one that ended by itself has something to say, and ends all of it. */
  #keep(name: string, script: string, args: string[], env: NodeJS.ProcessEnv): void {
    const log = join(this.#dir, `${name}.log`)
    const onEnd = (code: number, last: string) => this.#stop.abort(new RunError(`${name} ended with ${code}:\n${last}`))
    this.#processes.keep({ script, args, env, log, signal: this.#stop.signal, onEnd })
  }

  async #answers(): Promise<void> {
    const deadline = performance.now() + READY_MS
    while (performance.now() < deadline) {
      if (this.#stop.signal.aborted) break
      const answer = await fetch(new URL('/healthz', this.url)).catch(() => null)
      if (answer?.ok) return
      await sleep(100)
    }
    const { reason } = this.#stop.signal
    throw reason instanceof RunError ? reason : new RunError('the coordinator did not start')
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
