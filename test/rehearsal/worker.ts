import { randomInt, type webcrypto } from 'node:crypto'
import {
  type Lease,
  type Report,
  type RoundReport,
  type Run,
  reportBytes,
  type UnsignedReport,
} from '../../shared/api/index.ts'
import {
  dimensionOfStage,
  elementsOf,
  type PrunedSpace,
  replayStart,
  reportLength,
  stageOf,
  stateHash,
} from '../../shared/zo/index.ts'
import type { Answer, Client } from './client.ts'

const toBase64 = (bytes: ArrayBuffer) => Buffer.from(bytes).toString('base64')

/** Signs as a worker does. */
export class Signer {
  readonly publicKey: string
  readonly #key: webcrypto.CryptoKey

  private constructor(publicKey: string, key: webcrypto.CryptoKey) {
    this.publicKey = publicKey
    this.#key = key
  }

  static async create(): Promise<Signer> {
    const made = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
    const pair = made as webcrypto.CryptoKeyPair
    return new Signer(toBase64((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer), pair.privateKey)
  }

  async sign<R extends UnsignedReport>(report: R): Promise<R & { signature: string }> {
    return { ...report, signature: toBase64(await crypto.subtle.sign('Ed25519', this.#key, reportBytes(report))) }
  }
}

/** A worker as a run's actor is told of it, with what it signs by. */
export interface Player {
  readonly id: string
  readonly dataset: string
  readonly publicKey: string
  readonly signer: Signer
}

export async function playerOf(id: string, dataset: string): Promise<Player> {
  const signer = await Signer.create()
  return { id, dataset, publicKey: signer.publicKey, signer }
}

/** What a report needs to know of a run. */
type Reported = Pick<Run, 'spec' | 'stateHash'>

/** What a report says of itself. */
function namesOf({ stateHash: known, spec }: Reported, { id, run, specHash, dataset, round }: Lease) {
  return { run, specHash, lease: id, dataset, round, stateHash: known ?? stateHash(replayStart(spec).state) }
}

/** A signed report of made-up integers for a lease. */
async function signedReport(facts: Reported, signer: Signer, lease: Lease, integers: number[]): Promise<RoundReport> {
  return await signer.sign({ kind: 'round', ...namesOf(facts, lease), integers })
}

/** A mask that keeps the first entries of all tensors, as far as the reports of it go. */
function maskAnswer({ spec }: Reported, stage: number) {
  const { score, queries } = spec.stages[stage]!.prune!
  const { tensors } = spec.space as PrunedSpace
  let left = dimensionOfStage(spec, stage)
  const kept = tensors.map((tensor) => {
    const own = Math.min(left, elementsOf(tensor))
    left -= own
    return own
  })
  const slopes = Array.from({ length: queries }, (_, j) => j + 0.5)
  return {
    stage,
    mask: stage.toString(16).repeat(64).slice(0, 64),
    kept,
    slopes: score === 'forward' ? { first: slopes, second: slopes } : null,
  }
}

/** A signed report whose contents follow from the lease, and so are the same at every try. */
export async function repeatableReport(facts: Reported, { signer }: Player, lease: Lease, shift = 0): Promise<Report> {
  if (lease.kind === 'mask')
    return await signer.sign({ kind: 'mask', ...namesOf(facts, lease), ...maskAnswer(facts, lease.stage) })
  if (lease.kind === 'evaluation') {
    const correct = facts.spec.task.kind === 'causal-lm' ? null : 50 + lease.round
    return await signer.sign({
      kind: 'evaluation',
      ...namesOf(facts, lease),
      records: 100,
      correct,
      loss: 693_147 + shift,
    })
  }
  const length = reportLength(stageOf(facts.spec.stages, lease.round).stage)
  const integers = Array.from({ length }, (_, k) => (lease.round + 1) * 1000 + k * 7 + lease.attempt + shift)
  return await signedReport(facts, signer, lease, integers)
}

/** A worker that evaluates nothing: it leases, and reports made-up integers. */
export class FakeWorker {
  readonly client: Client
  readonly signer: Signer
  readonly dataset: string
  readonly id: string

  private constructor(client: Client, signer: Signer, made: { id: string; dataset: string }) {
    this.client = client
    this.signer = signer
    this.id = made.id
    this.dataset = made.dataset
  }

  /** Makes a worker of a dataset and enrols its key. */
  static async enrol(admin: Client, dataset: string): Promise<FakeWorker> {
    const { body } = await admin.post('/v1/workers', { dataset })
    const client = admin.with(body.token)
    const signer = await Signer.create()
    await client.put('/v1/workers/self/key', { publicKey: signer.publicKey })
    return new FakeWorker(client, signer, body)
  }

  /** The same worker, after the coordinator moved to another address. */
  at(client: Client): FakeWorker {
    return new FakeWorker(client.with(this.client.token!), this.signer, this)
  }

  async lease(waitSeconds = 0): Promise<Lease | null> {
    const { status, body } = await this.client.post('/v1/leases', { waitSeconds })
    if (status === 204) return null
    if (status !== 200) throw new Error(`lease: ${body.code}`)
    return body
  }

  /** A signed report of made-up integers for a lease. */
  async report(lease: Lease, integers: number[]): Promise<Report> {
    const { body } = await this.client.get(`/v1/runs/${lease.run}`)
    return await signedReport(body, this.signer, lease, integers)
  }

  async send(lease: Lease, integers: number[]): Promise<Answer> {
    return await this.put(await this.report(lease, integers))
  }

  async put(report: Report): Promise<Answer> {
    return await this.client.put(`/v1/leases/${report.lease}/report`, report)
  }

  /** Works until the run ends. `length` tells how many integers a round wants. */
  async work(run: string, length: (round: number) => number): Promise<void> {
    for (;;) {
      const lease = await this.lease(1)
      if (lease) {
        const integers = Array.from({ length: length(lease.round) }, () => randomInt(-1e6, 1e6))
        const { status, body } = await this.send(lease, integers)
        if (status !== 200 && body.code !== 'lease_closed') throw new Error(`report: ${body.code}`)
      }
      const { body } = await this.client.get(`/v1/runs/${run}`)
      if (body.state !== 'running') return
    }
  }
}

/** Registers datasets and a model with its files. @returns the model id */
export async function setStage(
  admin: Client,
  given: {
    datasets: { id: string; epsilon?: number; units?: number }[]
    files: Record<string, Uint8Array>
    manifest: unknown
  },
): Promise<string> {
  for (const { id, epsilon = 20, units = 1000 } of given.datasets) {
    await admin.post('/v1/datasets', { id, units, unit: 'record', budget: { epsilon, delta: 1e-5 } })
  }
  const { body } = await admin.post('/v1/models', given.manifest)
  for (const { path, url } of body.uploads) {
    const { ok } = await fetch(url, { method: 'PUT', body: given.files[path]!.slice() })
    if (!ok) throw new Error('upload refused')
  }
  return body.id
}
