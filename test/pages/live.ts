import { createHash, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { reportLength, stageOf } from '../../shared/zo/index.ts'
import type { StagedHost } from '../rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../rehearsal/request.ts'
import { FakeWorker, repeatableReport, setStage } from '../rehearsal/worker.ts'

const PUBLIC_DATA = new TextEncoder().encode('{"text":"public","label":"ham"}\n')
const FILES = { ...SMALL_FILES, 'evaluation/public.jsonl': PUBLIC_DATA }

/** A run that the pages can show everything of: two datasets, an evaluation, a share of clipped units, two stages. */
export async function stageRun({ admin }: StagedHost, rounds: number) {
  const sites = ['north', 'east']
  const model = await setStage(admin, {
    datasets: sites.map((id) => ({ id, epsilon: 100 })),
    files: FILES,
    manifest: manifestOf(FILES),
  })
  const stage = { learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.1, clipShare: 0.1 }
  const request = smallRequest({
    model,
    datasets: sites,
    stages: [
      { ...stage, rounds: Math.ceil(rounds / 2) },
      { ...stage, rounds: Math.floor(rounds / 2), learningRate: 0.03 },
    ],
    evaluation: { data: createHash('sha256').update(PUBLIC_DATA).digest('hex'), every: 5 },
  })
  const workers = await Promise.all(sites.map((site) => FakeWorker.enrol(admin, site)))
  const run = (await admin.post('/v1/runs', request)).body.id as string
  return { run, model, request, workers }
}

/** Works off a run, public work included, with some rest after each report. */
export async function workOff(worker: FakeWorker, run: string, restMs = 0): Promise<void> {
  for (;;) {
    const { body: facts } = await worker.client.get(`/v1/runs/${run}`)
    if (facts.state !== 'running') return
    const lease = await worker.lease(1)
    if (!lease) continue
    if (lease.kind === 'round') {
      const length = reportLength(stageOf(facts.spec.stages, lease.round).stage)
      const { body } = await worker.send(
        lease,
        Array.from({ length }, () => randomInt(-1e6, 1e6)),
      )
      if (body.code) throw new Error(`report: ${body.code}`)
    } else {
      const player = {
        id: worker.id,
        dataset: worker.dataset,
        publicKey: worker.signer.publicKey,
        signer: worker.signer,
      }
      await worker.put(await repeatableReport(facts, player, lease))
    }
    if (restMs > 0) await sleep(restMs)
  }
}
