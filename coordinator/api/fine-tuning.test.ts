import OpenAI, { BadRequestError, ConflictError, NotFoundError, PermissionDeniedError } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemSchema } from '../../shared/api/index.ts'
import { hashHex } from '../../shared/ledger/index.ts'
import { reportLength, stageOf } from '../../shared/zo/index.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

/** The official client, as a tool uses it that knows nothing of Sotto. */
describe.each(PLACES)('the OpenAI client on %s', (on) => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())
  let stage: StagedHost
  let client: OpenAI
  let model: string
  let worker: FakeWorker

  beforeAll(async () => {
    stage = await hosts.start({ on, checkpointEvery: 2 })
    const { admin, host } = stage
    const datasets = [{ id: 'north', epsilon: 100 }]
    model = await setStage(admin, { datasets, files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) })
    worker = await FakeWorker.enrol(admin, 'north')
    const { token } = (await admin.post('/v1/tokens', { scope: 'operator' })).body
    client = new OpenAI({ baseURL: `${host.url}/v1`, apiKey: token, maxRetries: 0 })
  })

  type Create = Parameters<OpenAI['fineTuning']['jobs']['create']>[0]
  const asked = (change: object = {}, method: object = {}): Create => {
    const { model: _, datasets: __, ...sotto } = smallRequest({ model, datasets: ['north'] })
    const job = { model, training_file: 'north', method: { type: 'sotto', sotto: { ...sotto, ...method } } }
    return { ...job, ...change } as unknown as Create
  }
  it('creates a job, lists its events as it goes, and finds its result', async () => {
    const created = await client.fineTuning.jobs.create(asked())
    expect(created).toMatchObject({ object: 'fine_tuning.job', status: 'running', model, training_file: 'north' })
    const run = (await stage.admin.get(`/v1/runs/${created.id}`)).body
    await worker.work(created.id, (round) => reportLength(stageOf(run.spec.stages, round).stage))
    const done = await client.fineTuning.jobs.retrieve(created.id)
    expect(done).toMatchObject({ status: 'succeeded', error: null })
    expect(done.fine_tuned_model).toBe(`runs/${created.id}/adapter.safetensors`)
    expect(done.finished_at).toBeGreaterThanOrEqual(done.created_at)

    const events = []
    for await (const event of client.fineTuning.jobs.listEvents(created.id, { limit: 3 })) events.push(event)
    expect(events[0]?.message).toBe('Created fine-tuning job')
    expect(events.at(-1)?.message).toBe('The job has succeeded')
    const metrics = events.filter(({ type }) => type === 'metrics')
    expect(metrics).toHaveLength(5)
    const spent = (await stage.admin.get(`/v1/runs/${created.id}`)).body.spent[0].epsilon
    expect(metrics.at(-1)?.data).toMatchObject({ step: 5, total_steps: 5, epsilon: spent })
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length)

    const checkpoints = []
    for await (const checkpoint of client.fineTuning.jobs.checkpoints.list(created.id, { limit: 1 }))
      checkpoints.push(checkpoint)
    expect(checkpoints.map(({ step_number }) => step_number)).toEqual([4, 2])
    const { body: page } = await stage.admin.get(`/v1/runs/${created.id}/checkpoints?limit=1`)
    expect([page.items.map((each: { round: number }) => each.round), page.next]).toEqual([[4], '4'])
    const { body: older } = await stage.admin.get(`/v1/runs/${created.id}/checkpoints?limit=1&cursor=${page.next}`)
    expect([older.items.map((each: { round: number }) => each.round), older.next]).toEqual([[2], null])
    const bytes = new Uint8Array(await (await fetch(page.items[0].url)).arrayBuffer())
    expect(hashHex(bytes)).toBe(page.items[0].sha256)
    expect(checkpoints[0]?.fine_tuned_model_checkpoint).toMatch(new RegExp(`^runs/${created.id}/checkpoints/4-`))
  })

  it('pauses, resumes and cancels', async () => {
    const { id } = await client.fineTuning.jobs.create(asked())
    expect(await client.fineTuning.jobs.pause(id)).toMatchObject({ status: 'paused', finished_at: null })
    expect(await client.fineTuning.jobs.resume(id)).toMatchObject({ status: 'running' })
    expect(await client.fineTuning.jobs.cancel(id)).toMatchObject({ status: 'cancelled' })
    await expect(client.fineTuning.jobs.pause(id)).rejects.toMatchObject({ status: 409, code: 'run_ended' })
  })

  it('lists jobs in pages, newest first', async () => {
    const made = []
    for (let n = 0; n < 3; n++) made.unshift((await client.fineTuning.jobs.create(asked())).id)
    const found = []
    for await (const job of client.fineTuning.jobs.list({ limit: 2 })) found.push(job.id)
    expect(found.slice(0, 3)).toEqual(made)
    for (const id of made) await client.fineTuning.jobs.cancel(id)
  })

  it('makes one job for one Idempotency-Key', async () => {
    const once = { headers: { 'Idempotency-Key': `job-${on}` } }
    const { id } = await client.fineTuning.jobs.create(asked(), once)
    expect((await client.fineTuning.jobs.create(asked(), once)).id).toBe(id)
    const other = asked({}, { budget: { epsilon: 3, delta: 1e-5 } })
    await expect(client.fineTuning.jobs.create(other, once)).rejects.toBeInstanceOf(ConflictError)
    await client.fineTuning.jobs.cancel(id)
  })

  it('tells what is wrong by code and field', async () => {
    const { fineTuning } = client
    await expect(fineTuning.jobs.retrieve('run-none')).rejects.toBeInstanceOf(NotFoundError)
    await expect(fineTuning.jobs.create(asked({ training_file: 'nowhere' }))).rejects.toMatchObject({
      status: 404,
      code: 'unknown_dataset',
    })
    const bad = fineTuning.jobs.create(asked({ hyperparameters: { n_epochs: 3 } }))
    await expect(bad).rejects.toBeInstanceOf(BadRequestError)
    await expect(bad).rejects.toMatchObject({ param: 'hyperparameters' })
    await expect(fineTuning.jobs.create(asked({ metadata: { a: 'b' } }))).rejects.toBeInstanceOf(BadRequestError)
    const auditor = (await stage.admin.post('/v1/tokens', { scope: 'auditor' })).body.token
    const reader = new OpenAI({ baseURL: `${stage.host.url}/v1`, apiKey: auditor, maxRetries: 0 })
    expect((await reader.fineTuning.jobs.list({ limit: 1 })).data).toHaveLength(1)
    await expect(reader.fineTuning.jobs.create(asked())).rejects.toBeInstanceOf(PermissionDeniedError)
    const { body } = await stage.admin.get('/v1/fine_tuning/jobs/run-none')
    const { error, ...problem } = body
    expect(problemSchema.parse(problem).code).toBe(error.code)
  })
})
