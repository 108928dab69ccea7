import { createHash, randomFillSync } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { connectCoordinator } from '../../gpu-worker/coordinator.ts'
import { inspectModel, openEngine, pruneModel, verifyMask } from '../../gpu-worker/engine/index.ts'
import { evaluateRecords } from '../../gpu-worker/evaluation.ts'
import { runWorker } from '../../gpu-worker/loop.ts'
import { openSite } from '../../gpu-worker/site.ts'
import type { Run, RunEvent, RunRequest, SpaceRequest } from '../../shared/api/index.ts'
import { type RunRecord, resolvedSpec } from '../../shared/ledger/index.ts'
import { type PrunedSpace, replay, spaceOfStage, stateHash } from '../../shared/zo/index.ts'
import { MODEL, records as mails, SITES, Stage, waitUntil } from './harness.ts'

/** Evaluations on public data, and masks made anew between stages, over real processes one of which is killed. */
const folder = mkdtempSync(join(tmpdir(), 'sotto-public-'))
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex')

/** Public mails; one of them fits no label of the task and counts as nothing. */
const held = [...mails('public', 30), { text: 'neither', label: 'phishing' }]
const heldOut = held.map((line) => `${JSON.stringify(line)}\n`).join('')

cpSync(MODEL, folder, { recursive: true })
for (const name of ['masks', 'evaluation']) mkdirSync(join(folder, name))
writeFileSync(join(folder, 'evaluation', 'mails.jsonl'), heldOut)
const tensors = (await inspectModel(MODEL)).weights
  .filter(({ parameters }) => parameters >= 10_000)
  .map(({ name, shape }) => ({ name, shape: [...shape] }))
const seed = '00c0ffee00c0ffee'
const first = await pruneModel(
  { modelDir: MODEL, tensors, score: 'magnitude', seed },
  { keep: 0.01, order: 'highest', scope: 'global' },
)
writeFileSync(join(folder, 'masks', 'first.bin'), first.mask)

const part = { rounds: 2, learningRate: 0.05, radius: 0.01, directions: 4, clip: 0.5, samplingRate: 0.5 }
const prune = { keep: 0.02, queries: 2, tokens: 8 }
const task = {
  kind: 'prompt-classification' as const,
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 32,
  buckets: [32],
}

describe('a run with public work', () => {
  const stage = new Stage()
  let run: Run
  let records: readonly RunRecord[]
  let events: RunEvent[]
  let request: RunRequest

  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) {
      await stage.addSite(site, { budget: { epsilon: 100, delta: 1e-5 } })
      stage.startWorker(site)
    }
    request = {
      model: await stage.client.uploadModel(folder),
      task,
      space: first.space as SpaceRequest,
      stages: [
        part,
        { ...part, prune },
        { ...part, prune: { ...prune, keep: 0.04, weighted: true, order: 'lowest', scope: 'layer' } },
        { ...part, prune: { score: 'random', keep: 0.01 } },
      ],
      datasets: [...SITES],
      budget: { epsilon: 50, delta: 1e-5 },
      quorum: 2,
      deadlineSeconds: 5,
      leaseSeconds: 20,
      evaluation: { data: sha256(heldOut), every: 3 },
    }
    const { id } = await stage.client.createRun(request)
    // A worker that starts anew in the third stage has to make the masks of both stages before again.
    await waitUntil('the third stage', async () => (await stage.client.run(id)).round >= 5, 120)
    const [, killed] = stage.processes
    killed!.child.kill('SIGKILL')
    await killed!.exited
    stage.startWorker(SITES[0])
    run = await stage.finish(id)
    records = (await auditRun(stage.client, id)).records
    events = []
    for await (const event of stage.client.events(id)) events.push(event)
  }, 240_000)
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
    return stage.close()
  })

  it('completes, and every process that still runs has computed the state that the log leads to', () => {
    expect(run).toMatchObject({ state: 'completed', round: 8 })
    const closes = records.filter((record) => record.type === 'close')
    const { state } = replay(resolvedSpec(run.spec, records), closes)
    expect(stateHash(state)).toBe(run.stateHash)
    expect(state.finished.map(({ length }) => length)).not.toContain(0)
    expect(stage.processes.filter(({ child }) => child.exitCode !== null)).toEqual([])
    // The one that was killed reported again, under masks that it made of the log.
    const [killed] = SITES
    expect(closes.slice(-2).map(({ reports }) => reports.some(({ dataset }) => dataset === killed))).toContain(true)
  })

  it('evaluates before, between and after, for nothing', () => {
    const evaluations = records.filter((record) => record.type === 'evaluation')
    expect(evaluations.map(({ round }) => round)).toEqual([0, 3, 6, 8])
    for (const { answer } of evaluations) expect(answer?.report).toMatchObject({ records: 30 })
    expect(events.filter(({ type }) => type === 'round.evaluated')).toHaveLength(4)
    const charged = records.filter((record) => record.type === 'charge').map(({ lease }) => lease)
    expect(evaluations.map(({ answer }) => charged.includes(answer!.report.lease))).not.toContain(true)
  })

  it('says of the model what anybody finds who has the model, the log and the public data', async () => {
    const resolved = resolvedSpec(run.spec, records)
    const closes = records.filter((record) => record.type === 'close')
    const { state } = replay(resolved, closes)
    const masks = [first.mask]
    for (const [at, record] of records.filter(({ type }) => type === 'mask').entries()) {
      if (record.type !== 'mask') continue
      const { score, order, scope, keep, weighted, ...forward } = resolved.stages[at + 1]!.prune!
      const finished = state.finished
        .slice(0, at + 1)
        .map((trained, n) => ({ space: spaceOfStage(resolved, n), mask: masks[n], trained }))
      const options = { modelDir: folder, tensors, score, seed: run.spec.seed, stage: at + 1, finished, forward }
      const { slopes, mask } = record.answer.report
      const known = slopes ? { slopes } : {}
      const again = await pruneModel({ ...options, ...known }, { keep, order, scope, weighted })
      expect(again.space.mask, `stage ${at + 1}`).toBe(mask)
      // With the runtime in the place of the slopes too.
      const verified = await verifyMask(again.mask, options, { keep, order, scope, weighted })
      expect(verified.overlap).toBeGreaterThan(0.99)
      masks.push(again.mask)
    }
    const spaces = resolved.stages.map((_, n) => ({ space: spaceOfStage(resolved, n), mask: masks[n]! }))
    expect(new Set(spaces.map(({ space }) => (space as PrunedSpace).mask)).size).toBe(4)
    const engine = await openEngine({
      modelDir: folder,
      task,
      ...spaces[0]!,
      later: spaces.slice(1),
      seed: run.spec.seed,
    })
    await engine.setStage(3, state.finished)
    const encoded = held.slice(0, 30).map((line) => engine.encode(line))
    const own = await evaluateRecords(engine, encoded, { task, center: state.current })
    await engine.close()
    expect(run.evaluation).toEqual({ round: 8, ...own })
    expect(own.correct).toBeGreaterThan(0)
  })

  it('ends a worker that is asked for what the log does not wait for, before it reads its data', async () => {
    const dataset = 'south'
    await stage.addSite(dataset, { budget: { epsilon: 100, delta: 1e-5 } })
    await stage.client.createRun({ ...request, datasets: [dataset], quorum: 1, evaluation: null })
    const stop = new AbortController()
    const coordinator = connectCoordinator(stage.url, stage.tokens[dataset]!, stop.signal)
    const lying: typeof coordinator = {
      ...coordinator,
      lease: async (seconds) => {
        const lease = await coordinator.lease(seconds)
        if (lease?.kind !== 'round') return lease
        const { event: _, ...rest } = lease
        return { ...rest, kind: 'evaluation' }
      },
    }
    let opened = 0
    const worker = runWorker({
      coordinator: lying,
      site: openSite(join(stage.folder, 'sites', dataset)),
      dataset: { id: dataset },
      policy: { maxDelta: 1e-5, unit: 'record' },
      openEngine: async () => {
        opened++
        throw new Error('opened')
      },
      random: (length) => randomFillSync(new Uint8Array(length)),
      log: () => {},
      signal: stop.signal,
    })
    await expect(worker).rejects.toMatchObject({ code: 'log_mismatch' })
    expect(opened).toBe(0)
  })

  it('is refused before it starts where its public data are no file of the model', async () => {
    const asked = { ...request, evaluation: { data: 'f'.repeat(64), every: 3 } }
    await expect(stage.client.createRun(asked)).rejects.toThrow(/evaluation\.data/)
  })

  it.each<[string, Partial<RunRequest>]>([
    ['for the first stage', { stages: [{ ...part, prune }] }],
    ['beside a space', { stages: [part, { ...part, prune, space: first.space as SpaceRequest }] }],
    ['that keeps nothing', { stages: [part, { ...part, prune: { ...prune, keep: 0 } }] }],
  ])('is refused with a new mask %s', async (_, change) => {
    await expect(stage.client.createRun({ ...request, ...change })).rejects.toThrow(/bad_request.*stages/s)
  })
})
