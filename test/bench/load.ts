import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../cli/dev/processes.ts'
import type { RunSpec } from '../../shared/api/index.ts'
import {
  advance,
  coefficients,
  type ReplayPoint,
  replayStart,
  reportLength,
  stateHash,
  totalRounds,
} from '../../shared/zo/index.ts'
import { Client } from '../rehearsal/client.ts'
import type { FakeWorker } from '../rehearsal/worker.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** One coordinator on Node in a process of its own, over a folder; the load comes from this process, on the same machine. */
export async function startCoordinator() {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-bench-'))
  const token = `sotto_${randomBytes(32).toString('base64url')}`
  const port = await freePort()
  const args = [
    '--disable-warning=ExperimentalWarning',
    'coordinator/hosts/node.ts',
    '--data',
    folder,
    '--port',
    String(port),
  ]
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, SOTTO_ADMIN_TOKEN: token, SOTTO_RATE_LIMIT: '0' },
    stdio: 'ignore',
  })
  const url = `http://127.0.0.1:${port}`
  for (let tries = 0; ; tries++) {
    const isUp = await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isUp) break
    if (tries > 200) throw new Error('the coordinator did not start')
    await sleep(50)
  }
  return {
    url,
    admin: new Client(url, token),
    /** Bytes of memory that the process has now. */
    resident: () => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]),
    close: async () => {
      child.kill('SIGKILL')
      await new Promise((resolve) => child.once('exit', resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Every worker reports the same integers in every round, so that what they replay is known without reading the log. */
export class SameReports {
  readonly integers: number[]
  readonly #spec: RunSpec
  #point: ReplayPoint
  readonly #hashes: string[] = []

  constructor(spec: RunSpec) {
    this.#spec = spec
    this.#point = replayStart(spec)
    this.integers = Array(reportLength(spec.stages[0]!)).fill(7)
  }

  get rounds(): number {
    return totalRounds(this.#spec.stages)
  }

  /** Hash of the state that a round is evaluated at. */
  hashAt(round: number): string {
    while (this.#hashes.length <= round) {
      this.#hashes.push(stateHash(this.#point.state))
      const reports = this.#spec.datasets.map(({ units }) => ({ units, integers: this.integers }))
      const next = { round: this.#point.nextRound, coefficients: coefficients(reports, this.#spec.stages[0]!) }
      this.#point = advance(this.#spec, this.#point, next)
    }
    return this.#hashes[round]!
  }
}

/** Leases and reports for every round. */
export async function answerAll(worker: FakeWorker, replayed: SameReports): Promise<void> {
  for (let round = 0; round < replayed.rounds; ) {
    const lease = await worker.lease(20)
    if (lease?.kind !== 'round') continue
    const { id, run, specHash, dataset } = lease
    const names = { run, specHash, lease: id, dataset, round: lease.round, stateHash: replayed.hashAt(lease.round) }
    const { status } = await worker.put(
      await worker.signer.sign({ kind: 'round', ...names, integers: replayed.integers }),
    )
    if (status !== 200) throw new Error(`a report was answered by ${status}`)
    round = lease.round + 1
  }
}
