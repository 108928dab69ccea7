import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reportLength, stageOf } from '../../shared/zo/index.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

/** Samples by series, as a scraper reads them. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>()
  for (const line of text.trimEnd().split('\n')) {
    if (/^# (?:HELP|TYPE) [a-z_]+ \S/.test(line)) continue
    const [, series, value] = /^([a-z_]+(?:\{(?:[a-z]+="[a-z0-9_-]+",?)+\})?) (\S+)$/.exec(line) ?? []
    if (series === undefined) throw new Error(`no sample: ${line}`)
    expect(samples.has(series), series).toBe(false)
    samples.set(series, Number(value))
  }
  return samples
}

describe.each(PLACES)('metrics on %s', (on) => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())
  let stage: StagedHost
  let model: string
  beforeAll(async () => {
    stage = await hosts.start({ on })
    const datasets = [{ id: 'north' }, { id: 'south' }]
    model = await setStage(stage.admin, { datasets, files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) })
  })
  const scraped = async () => parse(await stage.admin.text('/metrics'))

  it('say how many workers are wanted, what runs have done, and what budgets have left', async () => {
    const idle = await scraped()
    expect(idle.get('sotto_runs_running')).toBe(0)
    expect(idle.get('sotto_leases_wanted{dataset="north"}')).toBe(0)
    expect(idle.get('sotto_dataset_runs{dataset="north"}')).toBe(0)
    expect(idle.get('sotto_dataset_epsilon_budget{dataset="south"}')).toBe(20)

    const datasets = ['north', 'south']
    const { body: run } = await stage.admin.post('/v1/runs', smallRequest({ model, datasets }))
    const wanted = async () => {
      const samples = await scraped()
      return datasets.map((id) => samples.get(`sotto_leases_wanted{dataset="${id}"}`))
    }
    await expect.poll(wanted).toEqual([1, 1])
    const runsOf = async (id: string) => (await scraped()).get(`sotto_dataset_runs{dataset="${id}"}`)
    const begun = await scraped()
    expect(begun.get('sotto_dataset_epsilon_reserved{dataset="north"}')).toBeGreaterThan(
      begun.get('sotto_dataset_epsilon_charged{dataset="north"}')!,
    )
    const workers = await Promise.all(datasets.map((id) => FakeWorker.enrol(stage.admin, id)))
    const length = reportLength(stageOf(run.spec.stages, 0).stage)
    for (const [at, worker] of workers.entries()) {
      const lease = (await worker.lease())!
      if (at === 0) expect(await wanted()).toEqual([0, 1])
      // A held lease is wanted no more, and its worker still is.
      expect(await runsOf('north')).toBe(1)
      await worker.send(lease, Array(length).fill(1))
    }
    await expect.poll(async () => (await scraped()).get(`sotto_run_rounds_closed{run="${run.id}"}`)).toBe(1)
    const later = await scraped()
    const { body } = await stage.admin.get(`/v1/runs/${run.id}`)
    expect(later.get(`sotto_run_rounds{run="${run.id}"}`)).toBe(5)
    for (const { dataset, epsilon, reports, bytes } of body.spent) {
      const of = (name: string) => later.get(`${name}{run="${run.id}",dataset="${dataset}"}`)
      expect([of('sotto_run_epsilon'), of('sotto_run_reports'), of('sotto_run_report_bytes')]).toEqual([
        ...[epsilon, reports, bytes],
      ])
    }
    await stage.admin.post(`/v1/runs/${run.id}/pause`, {})
    await expect.poll(() => runsOf('north')).toBe(0)
    await stage.admin.post(`/v1/runs/${run.id}/resume`, {})
    await expect.poll(() => runsOf('north')).toBe(1)
    await stage.admin.post(`/v1/runs/${run.id}/cancel`, {})
    const ended = await scraped()
    expect(ended.get('sotto_runs_running')).toBe(0)
    expect(ended.get('sotto_dataset_runs{dataset="north"}')).toBe(0)
    expect(ended.get('sotto_dataset_epsilon_reserved{dataset="north"}')).toBe(
      ended.get('sotto_dataset_epsilon_charged{dataset="north"}'),
    )
  })

  it('are for those who have a token', async () => {
    expect((await stage.admin.with('nobody').call('GET', '/metrics')).status).toBe(401)
  })
})
